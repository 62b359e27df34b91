"""The customer's checkout page."""
