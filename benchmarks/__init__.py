"""What it costs, beside what else one could do: `python -m benchmarks` prints one table."""
