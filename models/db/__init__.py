"""Open the database, keep its schema, and hold the leadership of one daemon."""
