"""The prices of one bitcoin, fetched from public sources."""
