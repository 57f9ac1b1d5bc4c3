"""HR feeds: what a source says about people becomes a plan, and an accepted plan becomes jobs."""
