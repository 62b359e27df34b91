"""`manage.py payment`: payment requests."""
