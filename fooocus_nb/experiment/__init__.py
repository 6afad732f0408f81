"""Experiments: sweeps, runs, and what is known of every image."""
