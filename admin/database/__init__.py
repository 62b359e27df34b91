"""`manage.py database`: copies, backups and the web server's role."""
