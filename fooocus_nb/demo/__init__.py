"""A stand-in engine for machines with no GPU. It draws images without AI.

Only ever started as a child process, with ``python -m fooocus_nb.demo`` and Fooocus's own flags: it
speaks the same wire, prints the same kind of log and writes the same files.
"""
