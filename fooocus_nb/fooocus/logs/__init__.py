"""What the log of a Fooocus says: stages of its start, levels of lines, causes of failures."""
