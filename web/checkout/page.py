"""The customer's side of a payment: its page, what the page asks after, and its QR code."""

import io
from functools import lru_cache
from http import HTTPStatus

import segno

from models.queries.checkout import checkout_of
from web.api.forms import REFERENCE
from web.checkout.status import PublicFacts
from web.checkout.view import View
from web.html.languages import language_for, languages
from web.html.templates import page, template
from web.http.etag import revalidated, tag_of
from web.http.request import Request
from web.http.responses import SVG, Answer, Content, Problem, not_found

_PAGE = template("checkout.tpl")
MAX_QR_CODES = 512


def show(call: Request, reference: str) -> Content:
    """GET /pay/{id}: the page, in the language that `lang` names or the browser prefers."""
    facts = _facts(call, reference)
    language = language_for(call.header("Accept-Language"), call.page_parameters().get("lang"))
    explorer = call.settings.explorer_url
    transaction_url = explorer.replace("{txid}", facts.txid) if facts.txid else None
    return page(
        _PAGE,
        language,
        view=View(facts, language, call.now, transaction_url),
        facts=facts,
        tag=tag_of(facts.document),
        now=call.now.isoformat(timespec="milliseconds"),
        languages=languages().values(),
    )


def status(call: Request, reference: str) -> Answer:
    """GET /pay/{id}/status: what the page needs and no more, or 304 where the page has it."""
    return revalidated(call, _facts(call, reference).document)


def qr(call: Request, reference: str) -> Content:
    """GET /pay/{id}/qr.svg: the BIP21 URI of what is to be paid now.

    410 where nothing is: a code that is scanned out of a shop's page must not make anybody pay twice.
    """
    uri = _facts(call, reference).qr_uri
    if uri is None:
        raise Problem(HTTPStatus.GONE, "nothing-to-pay", "nothing is to be paid to this request any more")
    # A shop may show the code on its own page.
    headers = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return Content(HTTPStatus.OK, qr_svg(uri), SVG, headers)


def _facts(call: Request, reference: str) -> PublicFacts:
    """Raises Problem 404."""
    payment = checkout_of(reference) if REFERENCE.fullmatch(reference) else None
    if payment is None:
        raise not_found()
    return PublicFacts.read(payment, call.now)


@lru_cache(MAX_QR_CODES)
def qr_svg(uri: str) -> bytes:
    """Draw a QR code. To draw one takes longer than all else that the checkout does, so it is kept."""
    code = segno.make(uri, error="m", micro=False)
    picture = io.BytesIO()
    # With a light ground of its own: a camera wants dark on light, whatever the page's colours.
    code.save(picture, kind="svg", xmldecl=False, omitsize=True, light="#fff", border=4)
    # Modules with sharp edges, whatever size it is shown at.
    return picture.getvalue().replace(b"<svg ", b'<svg shape-rendering="crispEdges" ', 1)
