"""The public pages of payment links."""
