"""Compare the database with what bitcoind holds."""
