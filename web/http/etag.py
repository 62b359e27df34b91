"""ETags: a caller that has an answer as it is gets 304 in its place."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from web.http.request import Request
from web.http.responses import Answer, encoded

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def revalidated(call: Request, document: Mapping[str, Any]) -> Answer:
    """200 with the document, or 304 where the caller has it."""
    tag = tag_of(document)
    # It may be kept for asking again, which is what an ETag is for; never used without.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    status = HTTPStatus.NOT_MODIFIED if _has_tag(call.header("If-None-Match"), tag) else HTTPStatus.OK
    return Answer(status, document, headers)


def tag_of(document: Mapping[str, Any]) -> str:
    """The ETag of a document: the same content has the same."""
    return f'"{hashlib.sha256(encoded(document)).hexdigest()[:32]}"'


def _has_tag(if_none_match: str | None, tag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)
