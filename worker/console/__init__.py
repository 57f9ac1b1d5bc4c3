"""The console: pages on which people see what Muster does, and steer it, without a terminal."""
