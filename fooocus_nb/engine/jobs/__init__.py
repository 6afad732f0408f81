"""Job: one generation on an engine, from submitting it to its images in the output folder."""
