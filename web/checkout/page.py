"""The checkout: its page, the status that the page polls, and the QR code."""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlencode

import segno

from web.checkout.status import PublicFacts
from web.checkout.view import View
from web.html.languages import language_for, languages
from web.html.templates import page, template
from web.http.asgi import RAW_PATH
from web.http.etag import tag_of, with_etag
from web.http.request import Request
from web.http.responses import SVG, JsonResponse, Problem, Response, not_found
from web.http.wsgi import relative_root

UNFOLD = "again"
"""The parameter that unfolds the way to pay again. Without a script, each reload would fold it up."""

_PAGE = template("checkout.tpl")
MAX_QR_CODES = 512


def show(request: Request, reference: str) -> Response:
    """GET /pay/{id}: the page, in the language of `lang` or of the browser."""
    return render(request, reference)


def render(
    request: Request,
    reference: str,
    *,
    scripts: Sequence[str] = ("checkout.js",),
    kept: Mapping[str, str] | None = None,
    is_modal: bool = False,
    may_return: bool = False,
) -> Response:
    """Return the checkout page of a request. Raise Problem 404.

    Links to the same page in another language keep the parameters `kept`. With `may_return` the page
    redirects a customer who has paid to the shop, if the shop wants this.
    """
    facts = facts_or_404(request, reference)
    parameters = request.page_parameters()
    language = language_for(request.header("Accept-Language"), parameters.get("lang"), facts.default_language)
    return page(
        _PAGE,
        language,
        network=facts.network,
        root=relative_root(request.environ[RAW_PATH]),
        scripts=scripts,
        kept=f"{urlencode(kept)}&" if kept else "",
        is_modal=is_modal,
        back=facts.return_url if may_return else None,
        view=View(facts, language, request.now, request.settings.explorer_url),
        facts=facts,
        is_unfolded=UNFOLD in parameters,
        tag=tag_of(facts.document),
        now=request.now.isoformat(timespec="milliseconds"),
        languages=languages().values(),
    )


def status(request: Request, reference: str) -> JsonResponse:
    """GET /pay/{id}/status: the fields that the page needs, or 304 if nothing has changed."""
    return with_etag(request, facts_or_404(request, reference).document)


def qr(request: Request, reference: str) -> Response:
    """GET /pay/{id}/qr.svg: the BIP21 URI of the amount that is payable now.

    Raise Problem 410 if no amount is payable, so that no code on a shop's page leads to a second payment.
    """
    uri = facts_or_404(request, reference).qr_uri
    if uri is None:
        raise Problem(HTTPStatus.GONE, "nothing-to-pay", "this request has no payable amount any more")
    # A shop may show the code on its own page.
    headers = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(HTTPStatus.OK, qr_svg(uri), SVG, headers)


def facts_or_404(request: Request, reference: str) -> PublicFacts:
    """Return the facts of a request. Raise Problem 404."""
    facts = PublicFacts.read(reference, request.now)
    if facts is None:
        raise not_found()
    return facts


@lru_cache(MAX_QR_CODES)
def qr_svg(uri: str) -> bytes:
    """Draw a QR code. The result is cached, because drawing is the slowest part of the checkout."""
    code = segno.make(uri, error="m", micro=False)
    picture = io.BytesIO()
    # Cameras need dark on light, so the picture has its own light background.
    code.save(picture, kind="svg", xmldecl=False, omitsize=True, light="#fff", border=4)
    # Keep the edges of the modules sharp at each size.
    return picture.getvalue().replace(b"<svg ", b'<svg shape-rendering="crispEdges" ', 1)
