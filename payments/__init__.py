"""The rules of payments. Pure code without a clock, a database, a network or a log."""
