"""Record what the chain and the mempool hold of our payments, and decide their statuses."""
