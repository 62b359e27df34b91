"""The first part of the page /docs, which explains the API by examples."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from web.api.schemas import EXAMPLE_REFERENCE
from web.description import examples
from web.description.meanings import (
    EVENT_MEANINGS,
    LINK_EVENT_MEANINGS,
    LINK_STATUS_MEANINGS,
    STATUS_MEANINGS,
)
from web.http.problem_types import PROBLEM_TYPES

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "first-call": "The first call",
        "checkout": "The checkout page",
        "webhooks": "Receive webhooks",
        "verify": "Verify a webhook",
        "statuses": "Statuses",
        "events": "Events",
        "links": "Payment links",
        "idempotency": "Idempotency keys",
        "problems": "Errors",
        "testing": "Test without money",
    }
)
"""The sections of the guide: their anchors and headings."""

_LANGUAGES = {"python": ("Python", "py"), "php": ("PHP", "php"), "javascript": ("JavaScript", "mjs")}
_VIEWS = Path(__file__).parent.parent / "views"


def guide(public_url: str) -> dict[str, Any]:
    """Return the values of the template guide.tpl."""
    return {
        "sections": SECTIONS,
        "create_call": _create_call(public_url),
        "created": _shown(examples.new_payment(public_url)),
        "read_call": _read_call(public_url),
        "webhook_headers": examples.webhook_headers(),
        "event": _shown(examples.webhook_event(public_url)),
        "verifiers": {key: (name, _verifier(suffix)) for key, (name, suffix) in _LANGUAGES.items()},
        "statuses": STATUS_MEANINGS,
        "events": EVENT_MEANINGS,
        "link_statuses": LINK_STATUS_MEANINGS,
        "link_events": LINK_EVENT_MEANINGS,
        "link_call": _link_call(public_url),
        "problem": _shown(examples.problem()),
        "problem_types": PROBLEM_TYPES,
    }


def _create_call(public_url: str) -> str:
    body = shlex.quote(_shown(examples.CREATE_BODY).replace("\n", "\n  "))
    return (
        f"curl {public_url}/api/v1/payments \\\n"
        '  -H "Authorization: Bearer $KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        '  -H "Idempotency-Key: order-4711" \\\n'
        f"  -d {body}"
    )


def _link_call(public_url: str) -> str:
    body = shlex.quote(_shown(examples.LINK_BODY).replace("\n", "\n  "))
    return (
        f"curl {public_url}/api/v1/links \\\n"
        '  -H "Authorization: Bearer $KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {body}"
    )


def _read_call(public_url: str) -> str:
    return f'curl {public_url}/api/v1/payments/{EXAMPLE_REFERENCE} \\\n  -H "Authorization: Bearer $KEY"'


def _shown(document: Mapping[str, Any]) -> str:
    return json.dumps(dict(document), indent=2, ensure_ascii=False)


def _verifier(suffix: str) -> str:
    return (_VIEWS / f"verify_webhook.{suffix}.txt").read_text(encoding="utf-8").rstrip()
