"""What the tests share: servers, nodes, customers, oracles. No tests."""
