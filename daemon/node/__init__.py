"""The connections to bitcoind: its ZMQ feed, its JSON-RPC and its REST interface."""
