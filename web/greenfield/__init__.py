"""BTCPay's Greenfield API, so that shops with a plug-in for BTCPay Server use Nodetill unchanged."""
