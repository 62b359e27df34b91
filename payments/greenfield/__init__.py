"""The rules of BTCPay's Greenfield API. Pure, as all of payments/ is."""
