"""Read what the pages, the metrics and the operator need, across tables."""
