"""The queries across tables, for the pages, the metrics and the operator."""
