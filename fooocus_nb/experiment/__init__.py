"""Reproducible experiments: runs, sweeps, looking at them."""
