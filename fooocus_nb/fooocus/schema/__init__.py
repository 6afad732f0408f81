"""The server's own description (`/config`) turned into named parameters and calls. No network."""
