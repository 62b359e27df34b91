"""ETags. A caller that already has the current document gets 304."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from web.http.request import Request
from web.http.responses import JsonResponse, encoded, json_response

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def with_etag(request: Request, document: Mapping[str, Any]) -> JsonResponse:
    """Return 200 with the document, or 304 if the caller has it."""
    tag = tag_of(document)
    # The client may store the document, but must revalidate it before each use.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    status = HTTPStatus.NOT_MODIFIED if _has_tag(request.header("If-None-Match"), tag) else HTTPStatus.OK
    return json_response(status, document, headers)


def tag_of(document: Mapping[str, Any]) -> str:
    """Return the ETag of a document. Equal documents have equal ETags."""
    return f'"{hashlib.sha256(encoded(document)).hexdigest()[:32]}"'


def _has_tag(if_none_match: str | None, tag: str) -> bool:
    """Compare weakly (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)
