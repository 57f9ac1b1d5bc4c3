"""Pages for people who got a mail: set a password, accept an invitation, ask for a link. They need no token of the API."""
