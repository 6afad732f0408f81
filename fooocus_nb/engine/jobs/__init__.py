"""Jobs: one generation on an engine, from its submission to the images in the output folder."""
