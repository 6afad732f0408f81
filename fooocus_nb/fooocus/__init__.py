"""All that we know of Fooocus: its installation, its wire, its parameters, its files."""
