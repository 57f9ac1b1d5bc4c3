"""The SCIM 2.0 door: identity systems such as Okta and Entra see the directory and change it by jobs (RFC 7643, 7644)."""
