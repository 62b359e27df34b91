"""A shop that accepts bitcoin, with an order page and a webhook for payment events.

NODETILL_URL=https://pay.example.com NODETILL_KEY=nt_... WEBHOOK_SECRET=whsec_... python examples/shop.py

The shop needs the packages bottle and standardwebhooks. It stores its orders in shop.db, and uses port 8000.
"""

import json
import os
import re
import secrets
import sqlite3
import urllib.error
import urllib.request
from typing import Any

from bottle import Bottle, HTTPResponse, request
from standardwebhooks import Webhook, WebhookVerificationError

NODETILL, KEY = os.environ["NODETILL_URL"], os.environ["NODETILL_KEY"]
PORT = int(os.environ.get("PORT", "8000"))
ADDRESS = os.environ.get("SHOP_URL", f"http://127.0.0.1:{PORT}")
SHOP, GOODS, PRICE, CURRENCY = "Alpaca Direct", "Alpaca socks", "135.99", "EUR"
WORDS = {
    "new": "We are waiting for your payment.",
    "underpaid": "A part of the money is there. Please pay the rest.",
    "received": "Your payment is on its way.",
    "confirming": "Your payment is on its way.",
    "confirmed": "Paid. We are packing your socks!",
    "expired": "The price has expired. Please order again.",
    "partly": "A part of your money has arrived, but the price has expired. "
    "We are looking at it, so please do not pay again.",
    "late": "Your money has arrived late. We are looking at it, so please do not pay again.",
}

app = Bottle()
webhooks = Webhook(os.environ["WEBHOOK_SECRET"])
db = sqlite3.connect(os.environ.get("SHOP_DATABASE", "shop.db"))
db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, status TEXT, as_of TEXT)")
db.execute("CREATE TABLE IF NOT EXISTS received (webhook_id TEXT PRIMARY KEY)")


def show_goods() -> str:
    """Return the page. The form already has the order's number, so a form sent twice is one order."""
    return f"""<!DOCTYPE html><title>{GOODS}</title><h1>{GOODS}, {PRICE} {CURRENCY}</h1>
<form method="post" action="/orders">
<input type="hidden" name="order" value="{secrets.token_hex(8)}"><button>Pay with bitcoin</button></form>"""


def take_order() -> HTTPResponse:
    """Create the payment request, and redirect the customer to its checkout page."""
    order = request.forms.get("order", "")
    if not re.fullmatch("[0-9a-f]{16}", order):
        return HTTPResponse("no such order", 400)
    try:
        payment = request_payment(order)
    except ExpiredError:
        return HTTPResponse(WORDS["expired"], 410)
    except OSError:  # the base class of urllib's errors and of a time-out
        return HTTPResponse("We can't take payments right now. Please try again in a minute.", 503)
    with db:
        db.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, '')", [order, state_of(payment)])
    return HTTPResponse("", 303, {"Location": payment["checkout_url"]})


class ExpiredError(Exception):
    """The order's payment request expired, and no money came for it."""


def request_payment(order: str) -> Any:
    """Create and return the order's payment request.

    The order's number is the idempotency key, so a repeated call returns the same payment request.
    """
    body = {
        "amount_fiat": PRICE,
        "currency": CURRENCY,
        "label": SHOP,
        "note": f"{GOODS}, order {order}",
        "metadata": {"order": order},
        "redirect_url": f"{ADDRESS}/orders/{order}",
    }
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": order}
    call = urllib.request.Request(f"{NODETILL}/api/v1/payments", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 422 and json.load(error)["type"] == "urn:nodetill:problem:idempotency-key-expired":
            raise ExpiredError from error
        raise


def state_of(payment: Any) -> str:
    """Return the key of WORDS for a payment request. A customer who has paid late must not pay again."""
    if payment["status"] != "expired":
        return str(payment["status"])
    if payment["late"]:
        return "late"
    return "partly" if payment["received_sats"] else "expired"


def show_order(order: str) -> HTTPResponse:
    row = db.execute("SELECT status FROM orders WHERE id = ?", [order]).fetchone()
    return HTTPResponse(WORDS[row[0]]) if row else HTTPResponse("no such order", 404)


def receive_webhook() -> HTTPResponse:
    """Store the status of an event. Refuse a webhook without a valid, fresh signature. Ignore repeats."""
    try:
        event = webhooks.verify(request.body.read(), dict(request.headers))
    except WebhookVerificationError:
        return HTTPResponse("not signed by Nodetill", 400)
    if event["type"] == "test":  # the operator tries the webhook
        return HTTPResponse("", 204)
    order, status, as_of = event["data"]["metadata"].get("order"), state_of(event["data"]), event["timestamp"]
    with db:  # one transaction for both statements
        received = db.execute("INSERT OR IGNORE INTO received VALUES (?)", [request.headers["webhook-id"]])
        if received.rowcount:
            # Events come in their order, except a failed event that the operator sends again.
            change = "UPDATE orders SET status = ?, as_of = ? WHERE id = ? AND as_of <= ?"
            db.execute(change, [status, as_of, order, as_of])
            print(f"order {order}: {event['type']}", flush=True)
    return HTTPResponse("", 204)


app.route("/", "GET", show_goods)
app.route("/orders", "POST", take_order)
app.route("/orders/<order>", "GET", show_order)
app.route("/webhook", "POST", receive_webhook)

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=PORT, quiet=True)
