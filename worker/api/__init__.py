"""The HTTP API: jobs, people, feeds, health and figures, for other systems."""
