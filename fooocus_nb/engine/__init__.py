"""Engine: one Fooocus, started, watched, queued for and stopped; and what it is made of."""
