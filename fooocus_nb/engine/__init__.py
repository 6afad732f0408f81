"""Engines: each one Fooocus process and client, with the parts that it is made of."""
