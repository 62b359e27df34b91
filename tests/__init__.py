"""Tests. unit/ needs no node and no browser; functional/ runs Nodetill against a real bitcoind."""
