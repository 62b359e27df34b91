"""`manage.py seller`: sellers, their keys and their first endpoint."""
