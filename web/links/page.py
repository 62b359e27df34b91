"""The public page of a payment link, and its QR code for paper."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qsl

from models.daemon_status import known_network
from models.db.connection import snapshot
from models.link import link_by_reference
from models.queries.links import LinkFacts, link_facts
from models.seller import seller_by_id
from payments.link_document import link_url
from web.checkout.page import qr_svg
from web.html.languages import Language, language_for, languages
from web.html.templates import RELOAD_SECONDS, page, template
from web.http.asgi import RAW_PATH
from web.http.database import network_of_problem
from web.http.request import Environ, Request
from web.http.responses import POLICY_WITH_FORMS, SVG, JsonResponse, Response, not_found
from web.http.wsgi import relative_root
from web.links.choice import WrongAmount
from web.links.earlier import earlier_payment
from web.links.view import LinkView, PublicLink, waiting_time

_PAGE = template("link.tpl")
_PROBLEM = template("link_problem.tpl")
_WORDS: Mapping[int, str] = MappingProxyType(
    {
        HTTPStatus.NOT_FOUND: "no_link",
        HTTPStatus.TOO_MANY_REQUESTS: "busy_link",
        HTTPStatus.SERVICE_UNAVAILABLE: "busy_link",
    }
)


def show(request: Request, reference: str) -> Response:
    """GET /l/{id}: the page, in the language of `lang` or of the browser. It makes no request."""
    language = language_for(request.header("Accept-Language"), request.page_parameters().get("lang"))
    return link_page(request, public_link(reference), language)


def qr(request: Request, reference: str) -> Response:
    """GET /l/{id}/qr.svg: a QR code with the address of the link's page."""
    link = public_link(reference).link
    # A shop may show the code on its own page.
    headers = {"Cross-Origin-Resource-Policy": "cross-origin"}
    url = link_url(link.reference, request.settings.public_url)
    return Response(HTTPStatus.OK, qr_svg(url), SVG, headers)


def public_link(reference: str) -> PublicLink:
    """Return the link with the public facts of its seller. Raise Problem 404."""
    link = link_by_reference(reference)
    seller = None if link is None else seller_by_id(link.seller_id)
    if link is None or seller is None:
        raise not_found()
    return PublicLink(link, seller.name or seller.id, seller.support, seller.removed_at is not None)


def link_page(
    request: Request, public: PublicLink, language: Language, error: WrongAmount | None = None
) -> Response:
    """Return the page of a link. Show `error` at the field for the amount."""
    with snapshot():
        facts: LinkFacts = link_facts(public.link)
        earlier = earlier_payment(public.link)
    return page(
        _PAGE,
        language,
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        headers={"Content-Security-Policy": POLICY_WITH_FORMS},
        network=known_network(),
        view=LinkView(public, facts, earlier, language, request.now, error),
        url=link_url(public.link.reference, request.settings.public_url),
        root=relative_root(request.environ[RAW_PATH]),
        languages=languages().values(),
    )


def link_problem_page(problem: JsonResponse, environ: Environ) -> Response:
    """Return a problem as a page in the payer's language. The page leads back to the link."""
    wanted = dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("lang")
    language = language_for(environ.get("HTTP_ACCEPT_LANGUAGE"), wanted)
    path: str = environ[RAW_PATH]
    seconds = int(problem.headers.get("Retry-After", RELOAD_SECONDS))
    return page(
        _PROBLEM,
        language,
        status=problem.status,
        headers=problem.headers,
        network=network_of_problem(problem.document["type"]),
        root=relative_root(path),
        words=_WORDS.get(problem.status, "fault"),
        wait=waiting_time(seconds, language),
        is_busy=_WORDS.get(problem.status) == "busy_link",
        link=path.removesuffix("/pay").rpartition("/")[2],
    )
