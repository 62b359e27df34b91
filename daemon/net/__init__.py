"""Make HTTP requests to other machines within a deadline."""
