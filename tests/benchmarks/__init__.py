"""Benchmarks: `python -m tests.benchmarks`. Ratios within one run, in shuffled rounds, beside a row of pure noise."""
