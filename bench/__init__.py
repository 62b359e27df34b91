"""Benchmarks of what must hold, each figure beside others of the same run."""
