"""What a call is answered with where that is no JSON: a page, a picture, a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from web.http.answer import COMMON_HEADERS

HTML = "text/html; charset=utf-8"
SVG = "image/svg+xml"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

# All that a page of ours needs, from here alone: no inline script or style, nothing of a third party's.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
POLICY_WITH_FORMS = PAGE_POLICY.replace("form-action 'none'", "form-action 'self'")


@dataclass(frozen=True, slots=True)
class Content:
    """A status, the bytes that go with it, and headers beside the common ones.

    What is too large to be held comes piece by piece, made in the thread that sends it.
    """

    status: int
    body: bytes | Iterator[bytes]
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()

    @property
    def all_headers(self) -> dict[str, str]:
        """Its own headers go before the common ones."""
        return {**COMMON_HEADERS, "Content-Type": self.content_type, **self.headers}
