"""Fetch the prices of one bitcoin from the sources."""
