"""Experiments: runs of images that know how they were made, and what is done with them."""
