"""A seller's API keys on the operator's page: list them, make one, revoke one."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import peewee
import structlog

from models.api_key import (
    BY_PAGE,
    MAX_LABEL_CHARACTERS,
    REFERENCE,
    ApiKey,
    add_key,
    is_label,
    key_by_reference,
    keys_of,
    new_key_reference,
    revoke,
)
from models.seller import Seller
from payments.greenfield.permissions import (
    MEANINGS,
    PREFIX,
    PRESETS,
    UnknownPermission,
    in_words,
    read_permissions,
)
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid, not_found
from web.operator.decisions import Notice
from web.operator.layout import operator_page, see_other
from web.operator.sellers import seller_that_sells

log = structlog.get_logger(__name__)

_NEW_KEY = template("operator_key_made.tpl")
_MAX_STOPPED = 50

EVERYTHING, CHOSEN = "everything", "chosen"
CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "shop": "All that the plug-in of a shop needs",
        "prestashop": "All that the plug-in of PrestaShop needs",
        EVERYTHING: "Everything that this seller may do",
        CHOSEN: "Only this:",
    }
)
"""The choices of permissions in the form, with their labels."""


def section_of(request: Request, seller: Seller) -> dict[str, Any]:
    """Return the values for the template operator_keys.tpl."""
    found = keys_of(seller.id)
    is_stopped = seller.removed_at is not None
    working = [] if is_stopped else [key for key in found if key.works(request.now)]
    stopped = [key for key in reversed(found) if key not in working]
    return {
        "keys": working,
        "stopped": stopped[:_MAX_STOPPED],
        "choices": CHOICES,
        "meanings": MEANINGS,
        "in_words": in_words,
        "new_key_id": new_key_reference(),
        "most_label": MAX_LABEL_CHARACTERS,
    }


def notice_of(request: Request, seller: Seller) -> Notice | None:
    """Return the line about the key that was just revoked, or None."""
    key = key_by_reference(request.page_parameters().get("revoked", ""))
    if key is None or key.seller_id != seller.id or key.revoked_at is None:
        return None
    return Notice(f"The key {key.reference} is revoked. It never works again.")


def create(request: Request, seller_id: str) -> Response:
    """POST /operator/sellers/{id}/keys: store a new key. Only this response shows it."""
    seller = seller_that_sells(seller_id)
    form = request.session.form
    label = form.get("label", "").strip()
    if not is_label(label):
        message = f"must be one line of at most {MAX_LABEL_CHARACTERS} characters without control characters"
        raise invalid([FieldError("label", message)])
    permissions = _permissions(form)
    # The form has the id of the new key, so a form that is sent twice makes one key.
    reference = form.get("key_id", "")
    if not REFERENCE.fullmatch(reference):
        raise invalid([FieldError("key_id", "is no id of a key; load the page again, then try again")])
    try:
        with request.writers.transaction():
            key, api_key = add_key(
                seller.id, request.now, label=label, permissions=permissions, by=BY_PAGE, reference=reference
            )
    except peewee.IntegrityError as error:
        raise _sent_twice(reference) from error
    log_new_key(key)
    return operator_page(
        _NEW_KEY,
        request,
        seller=seller,
        key=key,
        api_key=api_key,
        public_url=request.settings.public_url,
        in_words=in_words,
    )


def stop(request: Request, seller_id: str, key_id: str) -> Response:
    """POST /operator/sellers/{id}/keys/{key_id}/revoke. Revoking a revoked key is no fault."""
    key = key_by_reference(key_id)
    if key is None or key.seller_id != seller_id:
        raise not_found()
    if key.revoked_at is None:
        with request.writers.transaction():
            is_revoked = revoke(key, request.now)
        if is_revoked:
            log.info("key revoked", key=key.reference, seller=seller_id, by="operator")
    return see_other(f"operator/sellers/{seller_id}?revoked={key.reference}", request)


def log_new_key(key: ApiKey) -> None:
    """Log a new key of the operator's page. Call this after its transaction is committed."""
    allowed = "all" if key.permissions is None else ",".join(key.permissions)
    log.info("key added", key=key.reference, seller=key.seller_id, permissions=allowed, by="operator")


def _permissions(form: Mapping[str, str]) -> list[str] | None:
    """Return the chosen permissions, or None for all. Raise Problem 422."""
    choice = form.get("allow", "")
    ticked = [name for name in form if name.startswith(PREFIX)]
    if choice not in CHOICES:
        raise invalid([FieldError("allow", f"must be one of {', '.join(CHOICES)}")])
    if choice != CHOSEN and ticked:
        chosen = f"“{CHOICES[CHOSEN]}”"
        message = f"is not {chosen}, but permissions are ticked; choose {chosen}, or tick none"
        raise invalid([FieldError("allow", message)])
    if choice == CHOSEN and not ticked:
        raise invalid([FieldError("allow", "needs a permission; tick at least one")])
    if choice == EVERYTHING:
        return None
    try:
        return read_permissions(PRESETS.get(choice, ticked))
    except UnknownPermission as error:
        raise invalid([FieldError("allow", str(error))]) from error


def _sent_twice(reference: str) -> Problem:
    detail = (
        f"this form was sent twice, so the key {reference} exists already, and nothing can show it again; "
        "if you have not saved it, revoke it and make another key"
    )
    return Problem(HTTPStatus.CONFLICT, "sent-twice", detail)
