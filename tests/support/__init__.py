"""Code that the tests share: servers, nodes, customers, oracles. It has no tests."""
