"""Check everything that a working installation needs."""
