"""Call a store with pygreenfield, which was generated from the description of BTCPay 1.6. Print JSON.

The arguments are the base address, the key and the store. The program runs in an environment of its own.
"""

import json
import sys
from typing import Any

from pygreenfield import (
    ApiClient,
    APIKeysApi,
    Configuration,
    HealthApi,
    InvoicesApi,
    ServerInfoApi,
    StorePaymentMethodsApi,
    StoresApi,
    WebhooksApi,
)

base, key, store = sys.argv[1:]
configuration = Configuration()
configuration.host = base
configuration.api_key["Authorization"] = key
configuration.api_key_prefix["Authorization"] = "token"
client = ApiClient(configuration)


def plain(answer: Any) -> Any:
    """Return a response as JSON values."""
    return client.sanitize_for_serialization(answer)


invoices, webhooks = InvoicesApi(client), WebhooksApi(client)
body = {
    "amount": "135.99",
    "currency": "EUR",
    "metadata": {"orderId": "4711"},
    "checkout": {"speedPolicy": "MediumSpeed", "redirectURL": "https://shop.example/{InvoiceId}"},
}
created = invoices.invoices_create_invoice(body, store)
hook = {
    "url": "https://shop.example/|x",
    "secret": "own",
    "authorizedEvents": {"everything": False, "specificEvents": ["InvoiceSettled"]},
}
webhooks.api_v1_stores_store_id_webhooks_post(hook, store)
[listed] = json.loads(webhooks.webhokks_get_webhooks(store, _preload_content=False).data)
sent = webhooks.api_v1_stores_store_id_webhooks_webhook_id_deliveries_get(store, listed["id"])
found = {
    "health": plain(HealthApi(client).health_get_health()),
    "server": plain(ServerInfoApi(client).server_info_get_server_info()),
    "key": plain(APIKeysApi(client).api_v1_api_keys_current_get()),
    "stores": plain(StoresApi(client).stores_get_stores()),
    "store": plain(StoresApi(client).stores_get_store(store)),
    "methods": plain(StorePaymentMethodsApi(client).store_payment_methods_get_store_payment_methods(store)),
    "created": plain(created),
    "read": plain(invoices.invoices_get_invoice(store, created.id)),
    "listed": plain(invoices.invoices_get_invoices(store, order_id=["4711"])),
    "payments": plain(invoices.invoices_get_invoice_payment_methods(store, created.id)),
    "webhook": plain(webhooks.webhokks_get_webhook(store, listed["id"])),
    "marked": plain(invoices.invoices_mark_invoice_status({"status": "Invalid"}, store, created.id)),
    "updated": plain(invoices.invoices_update_invoice({"metadata": {"orderId": "4712"}}, store, created.id)),
    "deliveries": plain(sent),
}
invoices.invoices_archive_invoice(store, created.id)
found["unarchived"] = plain(invoices.invoices_unarchive_invoice(store, created.id))
webhooks.api_v1_stores_store_id_webhooks_webhook_id_delete(store, listed["id"])
json.dump(found, sys.stdout)
