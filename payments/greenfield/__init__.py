"""BTCPay's Greenfield API in terms of payment requests: pure translations."""
