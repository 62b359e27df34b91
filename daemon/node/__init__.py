"""Talk to bitcoind: its feed, its RPC and its REST interface."""
