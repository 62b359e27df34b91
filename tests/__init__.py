"""Tests: one file a module; those in functional/ run against a real bitcoind."""
