"""Render pages: templates, languages and static files."""
