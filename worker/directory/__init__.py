"""The directory: verbs on people, groups and access. They write rows in the caller's transaction and never commit."""
