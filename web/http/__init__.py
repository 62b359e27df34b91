"""Serve HTTP: requests, responses, the server and its database connections."""
