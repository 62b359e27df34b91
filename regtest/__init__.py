"""A whole installation on regtest, for the demo, the tests and the benchmarks."""
