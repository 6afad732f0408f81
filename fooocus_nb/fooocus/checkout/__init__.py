"""A Fooocus folder on disk: its interpreter, command line, config.txt, downloads and models."""
