"""Payment links in the API: create, list, read and close them."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

import peewee
from pydantic import PlainValidator

from config import Settings
from models.daemon_status import known_network
from models.db.connection import get_row, snapshot
from models.link import LINK_REFERENCE, Link, link_by_idempotency_key, link_by_reference
from models.queries.link_search import LinkSearch, newest_links
from models.queries.links import link_facts
from web.api.forms import Form, read_form
from web.api.idempotency import body_digest, idempotency_key, key_reused
from web.api.link_forms import LinkForm
from web.api.link_schemas import LinkList, PaymentLink
from web.api.new_link import end_link, log_link, make_link
from web.api.payment_list import DEFAULT_LIMIT, MAX_LIMIT, described, read_limit
from web.auth.access import check_seller
from web.http.etag import with_etag
from web.http.request import Request
from web.http.responses import FieldError, JsonResponse, invalid, json_response, not_found


def _cursor(text: str) -> str:
    if not LINK_REFERENCE.fullmatch(text):
        raise ValueError("is not a cursor of this list")
    return text


class LinkFilters(Form):
    """The page of a list of links."""

    limit: Annotated[
        int,
        PlainValidator(read_limit),
        described("The maximum number of links", type="integer", minimum=1, maximum=MAX_LIMIT),
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        PlainValidator(_cursor),
        described("`next_cursor` of the previous page", pattern=f"^{LINK_REFERENCE.pattern}$"),
    ] = None


def create(request: Request) -> JsonResponse:
    """POST /api/v1/links: 201 with the new link, or 200 with the earlier link of the same key."""
    key = idempotency_key(request)
    body = request.body()
    form = read_form(LinkForm, body)
    if form.seller_id is not None:
        check_seller(request.seller, form.seller_id)
    digest = body_digest(body, request.seller.id) if key else None

    known = _known_link(request, key, digest)
    if known is not None:
        return _response(HTTPStatus.OK, known, request)
    make = partial(
        make_link, form, request.seller.id, request.settings, request.now, request.writers.transaction
    )
    try:
        link = make(idempotency_key=key, idempotency_digest=digest)
    except peewee.IntegrityError:
        # Two calls used one key at the same time, and the database accepted only one of them.
        known = _known_link(request, key, digest)
        if known is None:
            raise
        return _response(HTTPStatus.OK, known, request)
    log_link("link created", link, by="seller")
    return _response(HTTPStatus.CREATED, link, request)


def _known_link(request: Request, key: str | None, digest: str | None) -> Link | None:
    """Return the earlier link of this key. Raise Problem 422 if its body was different."""
    link = None if key is None else link_by_idempotency_key(request.seller.id, key)
    if link is not None and link.idempotency_digest != digest:
        raise key_reused(f"the link {link.reference}, whose body was different", {"link_id": link.reference})
    return link


def _response(status: HTTPStatus, link: Link, request: Request) -> JsonResponse:
    with snapshot():
        document = document_of_link(link, request.settings, request.now)
    prefix = urlsplit(request.settings.public_url).path
    return json_response(status, document, {"Location": f"{prefix}/api/v1/links/{link.reference}"})


def list_links(request: Request) -> JsonResponse:
    """GET /api/v1/links: a page of the seller's links, newest first."""
    filters = read_form(LinkFilters, request.parameters())
    with snapshot():
        page, cursor = links_page(filters, LinkSearch(seller_id=request.seller.id), request.now)
        documents = documents_of_links(page, request.settings, request.now)
    return json_response(HTTPStatus.OK, LinkList(data=documents, next_cursor=cursor))


def show(request: Request, reference: str) -> JsonResponse:
    """GET /api/v1/links/{id}: the link, or 304 if the caller already has it."""
    with snapshot():
        document = document_of_link(own_link(request, reference), request.settings, request.now)
    return with_etag(request, document)


def close(request: Request, reference: str) -> JsonResponse:
    """POST /api/v1/links/{id}/close: 200 with the closed link, also if it was already closed."""
    link = own_link(request, reference)
    if end_link(link, request.now, request.writers.transaction):
        log_link("link closed", link, by="seller")
    with snapshot():
        return json_response(
            HTTPStatus.OK, document_of_link(get_row(Link, link.id), request.settings, request.now)
        )


def own_link(request: Request, reference: str) -> Link:
    """Return the caller's link with this id. Raise Problem 404."""
    link = link_by_reference(reference, request.seller.id)
    if link is None:
        raise not_found()
    return link


def links_page(filters: LinkFilters, search: LinkSearch, now: datetime) -> tuple[list[Link], str | None]:
    """Return a page of the matching links, newest first, and the cursor of the next page or None.

    Raise Problem 422 for an invalid cursor.
    """
    last = None
    if filters.cursor is not None:
        last = link_by_reference(filters.cursor, search.seller_id)
        if last is None:
            raise invalid([FieldError("cursor", "is not a cursor of this list")])
    found = newest_links(search, now, filters.limit + 1, last)
    page = found[: filters.limit]
    return page, page[-1].reference if len(found) > len(page) else None


def document_of_link(link: Link, settings: Settings, now: datetime) -> PaymentLink:
    """Return the document of a link. Must run in the snapshot that read the link."""
    return documents_of_links([link], settings, now)[0]


def documents_of_links(links: Sequence[Link], settings: Settings, now: datetime) -> list[PaymentLink]:
    """Return the documents in the given order. Must run in the snapshot that read the links."""
    network, public_url = known_network(), settings.public_url
    return [link_facts(link).document(now, network=network, public_url=public_url) for link in links]
