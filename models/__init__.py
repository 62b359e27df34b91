"""The peewee tables and their queries. No rules live here: those are in payments/."""
