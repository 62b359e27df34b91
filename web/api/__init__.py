"""The JSON API of the sellers, and its description."""
