"""What every HTTP door shares: who may come in, how much and how fast, and how a refusal is worded."""
