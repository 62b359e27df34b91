"""The API key that the caller sent."""

import structlog

from models.api_key import revoke
from payments.greenfield.permissions import granted
from web.greenfield.errors import empty, ok
from web.http.request import Request
from web.http.responses import Response

log = structlog.get_logger(__name__)


def current(request: Request) -> Response:
    """GET /api/v1/api-keys/current: exactly the permissions of the key, each with the store.

    Plug-ins compare this list with the permissions that they asked for. The response repeats the key from the
    call, because the database stores only the key's hash.
    """
    holder = request.key_holder
    document = {
        "apiKey": holder.key,
        "label": holder.api_key.label or "",
        "permissions": [f"{policy}:{holder.seller.id}" for policy in granted(holder.api_key.permissions)],
    }
    return ok(document)


def revoke_current(request: Request) -> Response:
    """DELETE /api/v1/api-keys/current: revoke the key. 200 without a body."""
    key = request.key_holder.api_key
    with request.writers.transaction():
        is_revoked = revoke(key, request.now)
    if is_revoked:
        log.info("key revoked", key=key.reference, seller=request.seller.id, by="key")
    return empty()
