"""Call a store with the HTTP client of btcpay-mcp. Print JSON.

The arguments are the base address, the key and the store. The program runs in an environment of its own.
"""

import importlib.util
import json
import sys
from pathlib import Path

# The package's own __init__ imports a server that needs further packages.
package = importlib.util.find_spec("btcpay_mcp")
assert package is not None
assert package.origin is not None
path = Path(package.origin).with_name("client.py")
spec = importlib.util.spec_from_file_location("btcpay_mcp_client", path)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

base, key, store = sys.argv[1:]
client = module.BTCPayClient(base + "/", key, store)
created = client.create_invoice("0.001", "BTC", order_id="4713", item_desc="Socks")
found = {
    "server": client.get_server_info(),
    "stores": client.list_stores(),
    "store": client.get_store_info(),
    "methods": client.get_store_payment_methods(),
    "created": created,
    "read": client.get_invoice(created["id"]),
    "listed": client.list_invoices(),
    "payments": client.get_invoice_payment_methods(created["id"]),
    "webhook": client.create_webhook("https://shop.example/mcp"),
    "webhooks": client.list_webhooks(),
}
try:
    client.refund_invoice(created["id"])
except Exception as error:  # noqa: BLE001  # The client raises its own kind.
    found["refund"] = str(error)
json.dump(found, sys.stdout)
