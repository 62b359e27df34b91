"""Nodetill's version. CHANGELOG.md has the changes of each version."""

VERSION = "0.1.0-dev"
