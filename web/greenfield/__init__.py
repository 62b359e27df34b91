"""BTCPay's Greenfield API: shops whose plug-in speaks to a BTCPay Server use Nodetill unchanged."""
