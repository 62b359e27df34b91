"""The process that serves HTTP. It has no bitcoind password and writes no status."""
