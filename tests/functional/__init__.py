"""Nodetill's own programs against a real bitcoind: what a merchant, an operator and a customer see."""
