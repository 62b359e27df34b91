"""The HTTP side. It knows no bitcoind password and writes no status."""
