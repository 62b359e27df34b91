"""The module that peewee reaches SQLite with: pysqlite3, or Python's own where that is not installed."""

try:
    import pysqlite3 as sqlite3
except ImportError:  # ARM has no wheel of it.
    import sqlite3

__all__ = ["sqlite3"]
