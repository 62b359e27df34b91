"""The operations on webhooks of BTCPay's Greenfield API, for the API's description."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field

from web.description.greenfield.replies import (
    DONE,
    IN_STORE,
    STORE,
    STORE_PATH,
    TOO_LARGE,
    TOO_MANY,
    Id,
    error,
    operation,
)
from web.description.greenfield.schemas import StoreWebhook, WebhookDelivery
from web.description.operation import Operation, Parameter
from web.description.replies import json_reply
from web.greenfield.forms import WebhookForm

_WEBHOOK_PATH = f"{STORE_PATH}/webhooks/{{webhook}}"
_DELIVERY_PATH = f"{_WEBHOOK_PATH}/deliveries/{{delivery}}"
_WEBHOOK = Parameter("webhook", "path", Id, "`id` of the webhook")
_DELIVERY = Parameter("delivery", "path", Id, "`id` of the delivery")

_NO_WEBHOOK = {HTTPStatus.NOT_FOUND: error("The store has no such webhook")}
_NO_DELIVERY = {HTTPStatus.NOT_FOUND: error("The store has no such webhook, or the webhook no such delivery")}

WEBHOOK_OPERATIONS: tuple[Operation, ...] = (
    operation(
        "POST",
        f"{STORE_PATH}/webhooks",
        "createWebhook",
        "Add a webhook",
        "Needs `webhooks.canmodifywebhooks`. The address must be public.",
        json_reply("The webhook, with its secret", StoreWebhook),
        {**IN_STORE, **TOO_LARGE},
        STORE,
        body=WebhookForm,
    ),
    operation(
        "GET",
        f"{STORE_PATH}/webhooks",
        "listWebhooks",
        "List webhooks",
        "Needs `webhooks.canmodifywebhooks`.",
        json_reply("The webhooks, the oldest first", list[StoreWebhook]),
        IN_STORE,
        STORE,
    ),
    operation(
        "GET",
        _WEBHOOK_PATH,
        "getWebhook",
        "Read a webhook",
        "Needs `webhooks.canmodifywebhooks`.",
        json_reply("The webhook", StoreWebhook),
        {**IN_STORE, **_NO_WEBHOOK},
        STORE,
        _WEBHOOK,
    ),
    operation(
        "PUT",
        _WEBHOOK_PATH,
        "updateWebhook",
        "Change a webhook",
        "Needs `webhooks.canmodifywebhooks`. Without `secret`, the old secret stays. Any other missing "
        "member gets its default.",
        json_reply("The webhook", StoreWebhook),
        {**IN_STORE, **_NO_WEBHOOK, **TOO_LARGE},
        STORE,
        _WEBHOOK,
        body=WebhookForm,
    ),
    operation(
        "DELETE",
        _WEBHOOK_PATH,
        "removeWebhook",
        "Remove a webhook",
        "Needs `webhooks.canmodifywebhooks`. Nodetill sends no more events to it.",
        DONE,
        {**IN_STORE, **_NO_WEBHOOK},
        STORE,
        _WEBHOOK,
    ),
    operation(
        "GET",
        f"{_WEBHOOK_PATH}/deliveries",
        "listDeliveries",
        "List deliveries",
        "Needs `webhooks.canmodifywebhooks`. Nodetill deletes the deliveries of a delivered event when the "
        "delivery and the close of the invoice are both more than 30 days old.",
        json_reply("The deliveries, the newest first", list[WebhookDelivery]),
        {**IN_STORE, **_NO_WEBHOOK},
        STORE,
        _WEBHOOK,
        Parameter("count", "query", Annotated[int, Field(ge=0)], "The maximum number of deliveries"),
    ),
    operation(
        "GET",
        _DELIVERY_PATH,
        "getDelivery",
        "Read a delivery",
        "Needs `webhooks.canmodifywebhooks`.",
        json_reply("The delivery", WebhookDelivery),
        {**IN_STORE, **_NO_DELIVERY},
        STORE,
        _WEBHOOK,
        _DELIVERY,
    ),
    operation(
        "GET",
        f"{_DELIVERY_PATH}/request",
        "getDeliveryRequest",
        "Read the body that was sent",
        "Needs `webhooks.canmodifywebhooks`.",
        json_reply("The body of the delivery", dict[str, Any]),
        {**IN_STORE, **_NO_DELIVERY},
        STORE,
        _WEBHOOK,
        _DELIVERY,
    ),
    operation(
        "POST",
        f"{_DELIVERY_PATH}/redeliver",
        "redeliver",
        "Send an event again",
        "Needs `webhooks.canmodifywebhooks`. Only the ids of the delivery in the body change.",
        json_reply("The id of the new delivery", str),
        {**IN_STORE, **_NO_DELIVERY, **TOO_MANY},
        STORE,
        _WEBHOOK,
        _DELIVERY,
    ),
)
