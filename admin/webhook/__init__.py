"""`manage.py webhook`: the endpoints of the sellers."""
