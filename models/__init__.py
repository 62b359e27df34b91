"""The peewee tables and their queries. The rules of payments are in payments/."""
