"""What a payment is. Pure: no clock, no database, no network, no log."""
