"""Tests of single parts, without a node and without a browser."""
