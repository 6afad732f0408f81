"""The options of a generation, as the magics and the shell take them: one table for both."""
