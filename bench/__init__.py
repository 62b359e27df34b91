"""Benchmarks, each figure beside others of the same run."""
