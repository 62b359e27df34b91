"""The description of BTCPay's Greenfield API."""
