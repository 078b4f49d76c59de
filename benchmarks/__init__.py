"""minigan beside what else one could use: the same work, side by side, in one run. `python -m benchmarks --help`."""
