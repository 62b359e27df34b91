"""Protection against forms that another site makes a browser send (CSRF).

The browser's headers name the origin of a request, so no form needs a token. The rules are those of
https://words.filippo.io/csrf/ and of Go's http.CrossOriginProtection, but stricter for old browsers.
In addition, the cookies are SameSite=Strict.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from web.http.request import Request
from web.http.responses import Problem

_OUR_SITES = {"same-origin", "none"}
_BROWSERS = ("Mozilla/", "Opera/")


def check_same_origin(request: Request) -> None:
    """Raise Problem 403 unless one of our pages, or a program that is no browser, made the call.

    A browser sends Sec-Fetch-Site over a trustworthy connection, and Origin otherwise. A browser that sends
    neither is older than 2020 and may not support SameSite, so this function refuses it.
    """
    site, origin = request.header("Sec-Fetch-Site"), request.header("Origin")
    if site is not None:
        is_ours = site in _OUR_SITES
    elif origin is not None:
        is_ours = _is_our_origin(origin, request)
    else:
        is_ours = not (request.header("User-Agent") or "").startswith(_BROWSERS)
    if not is_ours:
        raise _foreign_form()


def _is_our_origin(origin: str, request: Request) -> bool:
    """Return whether the origin is PUBLIC_URL's or the request's Host.

    Host counts too, because the server behind a proxy may have another port, or no TLS.
    """
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return netloc != "" and netloc in (request.header("Host"), urlsplit(request.settings.public_url).netloc)


def _foreign_form() -> Problem:
    detail = (
        "this form did not come from a page of Nodetill; load the page in a current browser, then try again"
    )
    return Problem(HTTPStatus.FORBIDDEN, "foreign-form", detail)
