"""The connection to the database, its schema, and the leadership of one daemon."""
