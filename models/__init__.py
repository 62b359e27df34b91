"""Store the peewee tables and their queries. The rules are in payments/."""
