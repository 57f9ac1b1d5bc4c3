"""Outgoing webhooks: endpoints that hear what happened, signed, tried for three days, and kept off private addresses."""
