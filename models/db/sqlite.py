"""The SQLite module that peewee uses: pysqlite3, or Python's own if pysqlite3 is not installed."""

try:
    import pysqlite3 as sqlite3
except ImportError:  # ARM has no wheel of pysqlite3.
    import sqlite3

__all__ = ["sqlite3"]
