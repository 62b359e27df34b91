"""The JSON API of the sellers."""
