"""The page on which the operator gives an API key to a shop's plug-in, like BTCPay's /api-keys/authorize.

The operator approves the request on the page. The form repeats this request, and a token binds it to the
operator's session. Nodetill sends the key by POST, and only to the address that the page has shown.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

import peewee
import structlog

from config.command import manage_command
from models.api_key import BY_PAGE, ApiKey, add_key
from models.db.connection import snapshot
from models.seller import MAX_NAME_CHARACTERS, SELLER_ID, Seller, present_sellers
from payments.greenfield.permissions import MEANINGS
from web.auth.cookies import signer_of
from web.html.templates import template
from web.http.request import Request, query_pairs
from web.http.responses import POLICY_WITH_FORMS, Problem, Response
from web.operator.authorization import Authorization
from web.operator.keys import log_new_key
from web.operator.layout import operator_page
from web.operator.sellers import read_contact

log = structlog.get_logger(__name__)

_PAGE = template("operator_authorize.tpl")
_HANDOVER = template("operator_handover.tpl")
_APPROVAL = "approval"
NEW_SELLER = "+"
"""The value of the choice "A new seller". No seller has this id."""
GRANT = "grant:"
"""The beginning of the name of a field that grants a permission."""


def show(request: Request) -> Response:
    """GET /api-keys/authorize: the shop's request, and the form that approves it."""
    return _form(request, request.environ.get("QUERY_STRING", ""))


def approve(request: Request) -> Response:
    """POST /api-keys/authorize: make the key, and return the page that sends it to the shop.

    Return the form again with 422 for a wrong input. Raise Problem 403 for a form of another session.
    """
    form = request.session.form
    query = form.get("query", "")
    if not _is_approval(request, query, form.get("token", "")):
        raise Problem(HTTPStatus.FORBIDDEN, "foreign-form", "this form is too old; begin again in your shop")
    wanted = Authorization.read(query_pairs(query))
    permissions = _granted(wanted, form)
    if fault := _fault(wanted, permissions, form):
        return _form(request, query, fault)
    is_new = form["seller"] == NEW_SELLER
    seller_id = form["new_seller"].strip() if is_new else form["seller"]
    name, support = read_contact(form) if is_new else ("", None)
    try:
        with request.writers.transaction():
            if is_new:
                Seller.insert(id=seller_id, name=name, support=support, created_at=request.now).execute()
            key, text = add_key(
                seller_id, request.now, label=wanted.label, permissions=permissions, by=BY_PAGE
            )
    except peewee.IntegrityError:
        # Another call with the same form has made the seller at the same moment.
        return _form(request, query, _taken(seller_id))
    if is_new:
        log.info("seller added", seller=seller_id, by="operator")
    log_new_key(key)
    if wanted.target is not None:
        log.info("key sent to shop", key=key.reference, seller=seller_id, host=wanted.target.host)
    return _handover(request, wanted, key, text)


def _form(request: Request, query: str, fault: str | None = None) -> Response:
    wanted = Authorization.read(query_pairs(query))
    form = request.session.form
    with snapshot():
        sellers = present_sellers()
        return operator_page(
            _PAGE,
            request,
            status=HTTPStatus.UNPROCESSABLE_ENTITY if fault or wanted.obstacle else HTTPStatus.OK,
            wanted=wanted,
            fault=fault or wanted.obstacle,
            meanings=MEANINGS,
            granted=_granted(wanted, form) if form else wanted.permissions,
            sellers=sellers,
            chosen=form.get("seller") or _first_choice(wanted, sellers),
            new_seller=form.get("new_seller", "" if sellers else "shop"),
            new_name=form.get("name", ""),
            new_support=form.get("support", ""),
            most_name=MAX_NAME_CHARACTERS,
            query=query,
            token=signer_of(request).sign(_APPROVAL, _digest(request, query)),
            address=request.settings.public_url,
            command=manage_command(),
        )


def _handover(request: Request, wanted: Authorization, key: ApiKey, text: str) -> Response:
    """Return the page that sends the key to the shop, or that shows the key if the shop gave no address."""
    page = operator_page(
        _HANDOVER,
        request,
        target=wanted.target,
        seller_id=key.seller_id,
        api_key=text,
        # PHP reads a list only from names with brackets.
        permissions=[f"{each}:{key.seller_id}" for each in key.permissions],
        address=request.settings.public_url,
    )
    if wanted.target is None:
        return page
    policy = POLICY_WITH_FORMS.replace("form-action 'self'", f"form-action {wanted.target.source}")
    # With "same-origin" a browser would send "Origin: null" to the shop, which some shops refuse.
    ours = {"Content-Security-Policy": policy, "Referrer-Policy": "strict-origin"}
    return replace(page, headers={**page.headers, **ours})


def _is_approval(request: Request, query: str, token: str) -> bool:
    """Return whether a page of this session has shown exactly this request."""
    approved = signer_of(request).unsign(_APPROVAL, token)
    return approved is not None and hmac.compare_digest(approved, _digest(request, query))


def _digest(request: Request, query: str) -> str:
    return hashlib.sha256(f"{request.session.id} {query}".encode()).hexdigest()


def _granted(wanted: Authorization, form: Mapping[str, str]) -> tuple[str, ...]:
    if not wanted.may_choose:
        return wanted.permissions
    return tuple(each for each in wanted.permissions if f"{GRANT}{each}" in form)


def _fault(wanted: Authorization, permissions: Sequence[str], form: Mapping[str, str]) -> str | None:
    """Return the fault of this form with its cure, or None."""
    if wanted.obstacle or not permissions:
        return wanted.obstacle or "Choose at least one permission."
    seller_id, new = form.get("seller", ""), form.get("new_seller", "").strip()
    if seller_id != NEW_SELLER:
        is_seller = any(seller_id == each.id for each in present_sellers())
        return None if is_seller else "Choose the seller for the payments of this shop."
    if not SELLER_ID.fullmatch(new):
        return "The id of a new seller has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit."
    if Seller.select(Seller.id).where(Seller.id == new).exists():
        return _taken(new)
    try:
        read_contact(form)
    except Problem as problem:
        return f"{problem.detail[:1].upper()}{problem.detail[1:]}."
    return None


def _taken(seller_id: str) -> str:
    return f"The seller {seller_id} exists already, or was removed. Choose another id."


def _first_choice(wanted: Authorization, sellers: Sequence[Seller]) -> str | None:
    """Return the id of the preselected seller, or None if the operator must choose."""
    ids = [each.id for each in sellers]
    named = [each for each in wanted.sellers if each in ids]
    if len(named) == 1:
        return named[0]
    if not ids:
        return NEW_SELLER
    return ids[0] if len(ids) == 1 else None
