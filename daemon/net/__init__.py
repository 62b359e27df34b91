"""Network connections to other machines, each with a deadline."""
