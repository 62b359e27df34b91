"""Style sheets, scripts and images of the pages.

The name of each file contains the hash of its content, so clients may cache the file for ever.
"""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from web.http.request import Request
from web.http.responses import SVG, Response, not_found

_DIRECTORY = Path(__file__).parent.parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": SVG}
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}
_HASH_CHARACTERS = 12
_TEXT = "text/plain; charset=utf-8"
_A_DAY = {"Cache-Control": "public, max-age=86400"}


def serve(_call: Request, name: str) -> Response:
    """GET /static/{name}. Raise Problem 404, also for a file of another version."""
    if name not in _FILES:
        raise not_found()
    return _FILES[name]


def modal(_call: Request) -> Response:
    """GET /modal/btcpay.js: the script that a shop's page loads. Its name never changes."""
    headers = {
        "Cache-Control": "public, max-age=3600",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }
    return Response(HTTPStatus.OK, _FILES[HASHED["btcpay.js"]].body, _TYPES[".js"], headers)


def robots(_call: Request) -> Response:
    """GET /robots.txt: search engines must read nothing, because a checkout page belongs to its customer."""
    return Response(HTTPStatus.OK, b"User-agent: *\nDisallow: /\n", _TEXT, _A_DAY)


def favicon(_call: Request) -> Response:
    """GET /favicon.ico, which a browser requests for a document that names no icon, such as JSON."""
    return Response(HTTPStatus.OK, _FILES[HASHED["mark.svg"]].body, SVG, _A_DAY)


def _named(path: Path) -> tuple[str, Response]:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:_HASH_CHARACTERS]
    response = Response(HTTPStatus.OK, body, _TYPES[path.suffix], _HEADERS)
    return f"{path.stem}.{digest}{path.suffix}", response


_PATHS = sorted(path for path in _DIRECTORY.iterdir() if path.suffix in _TYPES)
_FILES: Mapping[str, Response] = MappingProxyType(dict(_named(path) for path in _PATHS))

HASHED: Mapping[str, str] = MappingProxyType(dict(zip((path.name for path in _PATHS), _FILES, strict=True)))
"""The served name of each file: checkout.css is checkout.0123456789ab.css."""
