"""Record our payments in the chain and the mempool, and decide their statuses."""
