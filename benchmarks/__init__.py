"""The speed claims of Muster, to be run on any machine: `python -m benchmarks`."""
