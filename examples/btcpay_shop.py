"""A shop that uses BTCPay's Greenfield API, so it works with BTCPay Server and with Nodetill.

NODETILL_URL=https://pay.example.com python examples/btcpay_shop.py

The shop needs the packages bottle and pygreenfield, a client of BTCPay's Greenfield API. It stores its orders
in btcpay_shop.db, and uses port 8000. Open /admin first. After you approve the shop on Nodetill's page, your
browser sends an API key to the shop, and the shop adds its webhook.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
from typing import Any

import pygreenfield
from bottle import Bottle, HTTPResponse, request
from pygreenfield.rest import ApiException
from urllib3.exceptions import HTTPError

NODETILL = os.environ["NODETILL_URL"].rstrip("/")
PORT = int(os.environ.get("PORT", "8000"))
ADDRESS = os.environ.get("SHOP_URL", f"http://127.0.0.1:{PORT}")
GOODS, PRICE, CURRENCY = "Alpaca socks", "135.99", "EUR"
PERMISSIONS = (
    "btcpay.store.canviewinvoices",
    "btcpay.store.cancreateinvoice",
    "btcpay.store.webhooks.canmodifywebhooks",
)
WORDS = {
    "New": "We are waiting for your payment.",
    "Processing": "Your payment is on its way.",
    "Settled": "Paid. We are packing your socks!",
    "Expired": "The price has expired. If you have paid, we are looking at it. Else please order again.",
    "Invalid": "Your payment did not reach us. Please write to us.",
}

app = Bottle()
db = sqlite3.connect(os.environ.get("SHOP_DATABASE", "btcpay_shop.db"))
db.execute("CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT)")
db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, invoice_id TEXT, status TEXT, link TEXT)")


def setting(name: str) -> str:
    row = db.execute("SELECT value FROM setting WHERE name = ?", [name]).fetchone()
    return str(row[0]) if row else ""


def store(**settings: str) -> None:
    with db:
        db.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings.items())


def client(api_key: str) -> pygreenfield.ApiClient:
    """Return a client of Nodetill with this key."""
    configuration = pygreenfield.Configuration()
    configuration.host = NODETILL
    configuration.api_key["Authorization"] = api_key
    configuration.api_key_prefix["Authorization"] = "token"
    return pygreenfield.ApiClient(configuration)


def show_admin() -> str:
    """Return the page with the button that connects the shop. A real shop protects this page with a login."""
    store(nonce=secrets.token_hex(16))
    query = [("permissions", each) for each in PERMISSIONS]
    query += [("applicationName", "Socks shop"), ("strict", "true"), ("selectiveStores", "true")]
    query += [("redirect", f"{ADDRESS}/connected?nonce={setting('nonce')}")]
    state = f"Connected as {setting('store_id')}." if setting("api_key") else "Not connected yet."
    return f"""<!DOCTYPE html><title>Admin</title><p>{state}</p>
<form action="{NODETILL}/api-keys/authorize">
{"".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in query)}
<button>Connect to Nodetill</button></form>"""


def connect() -> HTTPResponse:
    """Store the key that the operator's browser sends, and add the webhook."""
    if not setting("nonce") or not hmac.compare_digest(request.query.get("nonce", ""), setting("nonce")):
        return HTTPResponse("begin again on the page /admin", 403)
    permissions = sorted(request.forms.getall("permissions[]"))
    stores = {permission.partition(":")[2] for permission in permissions}
    if len(stores) != 1 or {each.partition(":")[0] for each in permissions} != {*PERMISSIONS}:
        return HTTPResponse("the permissions of the key are not those that this shop needs", 400)
    store(nonce="", api_key=request.forms["apiKey"], store_id=stores.pop(), secret=secrets.token_hex(16))
    webhook = {"url": f"{ADDRESS}/webhook", "secret": setting("secret")}
    webhooks = pygreenfield.WebhooksApi(client(setting("api_key")))
    webhooks.api_v1_stores_store_id_webhooks_post(webhook, setting("store_id"))
    return HTTPResponse("", 303, {"Location": f"{ADDRESS}/admin"})


def show_goods() -> str:
    """Return the page. The form already has the order's number, so a form sent twice is one order."""
    return f"""<!DOCTYPE html><title>{GOODS}</title><h1>{GOODS}, {PRICE} {CURRENCY}</h1>
<form method="post" action="/orders">
<input type="hidden" name="order" value="{secrets.token_hex(8)}"><button>Pay with bitcoin</button></form>"""


def take_order() -> HTTPResponse:
    """Create the invoice, and redirect the customer to its page."""
    order = request.forms.get("order", "")
    if not re.fullmatch("[0-9a-f]{16}", order):
        return HTTPResponse("no such order", 400)
    row = db.execute("SELECT link FROM orders WHERE id = ?", [order]).fetchone()
    if row is None:
        try:
            invoice = create_invoice(order)
        except (ApiException, HTTPError):
            return HTTPResponse("We can't take payments right now. Please try again in a minute.", 503)
        row = [invoice.checkout_link]
        with db:
            db.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", [order, invoice.id, invoice.status, *row])
    return HTTPResponse("", 303, {"Location": row[0]})


def create_invoice(order: str) -> Any:
    body = {
        "amount": PRICE,
        "currency": CURRENCY,
        "metadata": {"orderId": order, "itemDesc": GOODS},
        "checkout": {"redirectURL": f"{ADDRESS}/orders/{{OrderId}}", "redirectAutomatically": True},
    }
    invoices = pygreenfield.InvoicesApi(client(setting("api_key")))
    return invoices.invoices_create_invoice(body, setting("store_id"))


def show_order(order: str) -> HTTPResponse:
    row = db.execute("SELECT status FROM orders WHERE id = ?", [order]).fetchone()
    return HTTPResponse(WORDS[row[0]]) if row else HTTPResponse("no such order", 404)


def receive_webhook() -> HTTPResponse:
    """Request the invoice of an event, and store its status. Refuse a webhook without a valid signature.

    The shop uses the invoice's status and not the event, so a repeated or old event does no harm.
    """
    body, secret = request.body.read(), setting("secret")
    expected = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    signature = request.headers.get("BTCPay-Sig", "")
    if not secret or not hmac.compare_digest(signature.encode(), expected.encode()):
        return HTTPResponse("not signed by Nodetill", 400)
    event = json.loads(body)
    row = db.execute("SELECT id FROM orders WHERE invoice_id = ?", [event["invoiceId"]]).fetchone()
    if row is None:  # a test webhook, or an invoice of another shop of the same seller
        return HTTPResponse("")
    invoices = pygreenfield.InvoicesApi(client(setting("api_key")))
    invoice = invoices.invoices_get_invoice(setting("store_id"), event["invoiceId"])
    with db:
        db.execute("UPDATE orders SET status = ? WHERE id = ?", [invoice.status, row[0]])
    print(f"order {row[0]}: {event['type']}, so {invoice.status}", flush=True)
    return HTTPResponse("")


app.route("/admin", "GET", show_admin)
app.route("/connected", "POST", connect)
app.route("/", "GET", show_goods)
app.route("/orders", "POST", take_order)
app.route("/orders/<order>", "GET", show_order)
app.route("/webhook", "POST", receive_webhook)

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=PORT, quiet=True)
