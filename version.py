"""Nodetill's version, as CHANGELOG.md counts them."""

VERSION = "0.1.0-dev"
