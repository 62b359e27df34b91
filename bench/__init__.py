"""Benchmarks: each figure beside what is physically needed for it, from the same run."""
