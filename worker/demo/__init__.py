"""The demonstration: a small organisation, its HR feed with the dirt that real feeds have, and a walk through it."""
