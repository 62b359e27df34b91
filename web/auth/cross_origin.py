"""Refuse forms that another site makes a browser send (CSRF).

The browser itself says where a request comes from, so no form carries a token. The rules are those of
https://words.filippo.io/csrf/ and of Go's http.CrossOriginProtection, but stricter for old browsers.
The cookies are SameSite=Strict besides.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from web.http.request import Request
from web.http.responses import Problem, refused

_OUR_SITES = {"same-origin", "none"}
_BROWSERS = ("Mozilla/", "Opera/")


def check_same_origin(call: Request) -> None:
    """Raises Problem 403 unless a page of ours, or a program that is no browser, made the call.

    A browser sends Sec-Fetch-Site where it trusts the connection, and Origin elsewhere. A browser that sends
    neither is refused: it is older than 2020, and may know no SameSite either.
    """
    site, origin = call.header("Sec-Fetch-Site"), call.header("Origin")
    if site is not None:
        is_ours = site in _OUR_SITES
    elif origin is not None:
        is_ours = _is_our_origin(origin, call)
    else:
        is_ours = not (call.header("User-Agent") or "").startswith(_BROWSERS)
    if not is_ours:
        raise _foreign_form()


def _is_our_origin(origin: str, call: Request) -> bool:
    """The name that was called is ours, too: a proxy may have another port, or no TLS, behind it."""
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return netloc != "" and netloc in (call.header("Host"), urlsplit(call.settings.public_url).netloc)


def _foreign_form() -> Problem:
    detail = (
        "this form did not come from a page of Nodetill: load the page in a current browser, then try again"
    )
    return refused(HTTPStatus.FORBIDDEN, detail)
