"""The options of an invoice: `checkout`, `receipt` and `additionalSearchTerms` of the body that creates it.

The database stores the options as the shop sent them (`payment_request.checkout`). A response adds the
defaults. Unknown members are ignored. A member of a wrong type is an error with its path.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from payments.greenfield.facts import InvoiceFacts
from payments.greenfield.payment_methods import ON_CHAIN
from payments.greenfield.speed import CONFIRMATIONS, SpeedPolicy, policy_of

MAX_URL_CHARACTERS = 2048
MAX_LANGUAGE_CHARACTERS = 64
MAX_SEARCH_TERMS, MAX_TERM_CHARACTERS = 50, 500
MIN_EXPIRATION_MINUTES, MAX_EXPIRATION_SECONDS = Decimal("0.5"), 86_400
MAX_MONITORING_SECONDS = 366 * 86_400
_SAME = timedelta(milliseconds=1)
RECEIPT, SEARCH_TERMS = "receipt", "additionalSearchTerms"

# The names that clients send for on-chain bitcoin, in capitals and with hyphens.
_ON_CHAIN_NAMES = frozenset(
    {"BTC", "BTC-CHAIN", "BTC-ONCHAIN", "BTC-ON-CHAIN", "BTC-BITCOINLIKE", "BTC-BTCLIKE"}
)
_SWITCHES = ("redirectAutomatically", "lazyPaymentMethods", "requiresRefundEmail")
_RECEIPT_SWITCHES = ("enabled", "showQR", "showPayments")
_WEB_ADDRESS = re.compile(r"https?://[^/?#]", re.IGNORECASE)

Faults = list[tuple[str, str]]
"""Pairs of a member's path, such as `checkout.speedPolicy`, and a sentence."""

Options = dict[str, Any]
"""The members of `checkout`, and also `receipt` and `additionalSearchTerms`. Each may be missing."""


class OptionsError(ValueError):
    """At least one option is refused. `faults` has all of them."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("; ".join(f"{path} {sentence}" for path, sentence in faults))
        self.faults = faults


class _InvalidOption(ValueError):
    """A value is refused, or its member at the path `part`. The message is the sentence for the shop."""

    def __init__(self, sentence: str, part: str = "") -> None:
        super().__init__(sentence)
        self.part = part


def read_options(body: Mapping[str, Any]) -> Options:
    """Return the options in the body that creates an invoice, as they are stored. Raise OptionsError."""
    faults: Faults = []
    found = _members(body.get("checkout"), "checkout", _CHECKOUT, faults)
    receipt = _members(body.get(RECEIPT), RECEIPT, dict.fromkeys(_RECEIPT_SWITCHES, _switch), faults)
    terms = _read(body.get(SEARCH_TERMS), SEARCH_TERMS, _search_terms, faults)
    if faults:
        raise OptionsError(faults)
    return found | ({RECEIPT: receipt} if receipt else {}) | ({SEARCH_TERMS: terms} if terms else {})


def confirmations_asked(options: Mapping[str, Any]) -> int | None:
    """Return the confirmations that the shop asks for, or None for the operator's default."""
    policy = options.get("speedPolicy")
    return None if policy is None else CONFIRMATIONS[SpeedPolicy(policy)]


def lifetime_seconds(options: Mapping[str, Any], default: int) -> float:
    """Return the seconds for which the price holds, at most a day."""
    minutes = options.get("expirationMinutes")
    return default if minutes is None else min(minutes * 60, MAX_EXPIRATION_SECONDS)


def monitoring_seconds(options: Mapping[str, Any], default: int) -> float:
    """Return the seconds after the expiry for which the request stays open, never less than the default."""
    minutes = options.get("monitoringMinutes") or 0
    return max(default, min(minutes * 60, MAX_MONITORING_SECONDS))


def tolerance_percent(options: Mapping[str, Any]) -> Decimal | None:
    """Return the percentage of the amount that may be missing, or None for the operator's default."""
    percent = options.get("paymentTolerance")
    return None if percent is None else Decimal(str(percent))


def checkout_document(facts: InvoiceFacts) -> dict[str, Any]:
    """Return `checkout` of an invoice as JSON values, with the terms of its request."""
    sent = facts.checkout or {}
    terms = facts.terms
    tolerance = sent.get("paymentTolerance")
    return {
        "speedPolicy": policy_of(terms.confirmations_required).value,
        "paymentMethods": [ON_CHAIN],
        "defaultPaymentMethod": ON_CHAIN if sent.get("defaultPaymentMethod") else None,
        "lazyPaymentMethods": bool(sent.get("lazyPaymentMethods")),
        "expirationMinutes": _minutes(terms.expires_at - facts.created_at, sent.get("expirationMinutes")),
        "monitoringMinutes": _minutes(
            terms.monitored_until - terms.expires_at, sent.get("monitoringMinutes")
        ),
        "paymentTolerance": _tolerance_percent(facts) if tolerance is None else float(tolerance),
        "redirectURL": redirect_url(facts),
        "redirectAutomatically": bool(sent.get("redirectAutomatically")),
        "defaultLanguage": sent.get("defaultLanguage"),
        "requiresRefundEmail": sent.get("requiresRefundEmail"),
    }


def receipt_document(facts: InvoiceFacts) -> dict[str, Any]:
    """Return `receipt` of an invoice as JSON values. Null stands for the store's default."""
    sent = (facts.checkout or {}).get(RECEIPT, {})
    return {name: sent.get(name) for name in _RECEIPT_SWITCHES}


def redirect_url(facts: InvoiceFacts) -> str | None:
    """Return `redirectURL` as the shop sent it, with its placeholders, or None."""
    url = (facts.checkout or {}).get("redirectURL")
    return facts.redirect_url if url is None else str(url)


def is_on_chain(name: str) -> bool:
    """Return whether any version of BTCPay uses this name for on-chain bitcoin."""
    return name.strip().upper().replace("_", "-") in _ON_CHAIN_NAMES


def _members(
    value: Any, path: str, readers: Mapping[str, Callable[[Any], Any]], faults: Faults
) -> dict[str, Any]:
    """Return the known members that are not null. Add a fault for each refused member."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        faults.append((path, "must be an object"))
        return {}
    found = {
        name: _read(value[name], f"{path}.{name}", reader, faults)
        for name, reader in readers.items()
        if name in value
    }
    return {name: member for name, member in found.items() if member is not None}


def _read(value: Any, path: str, reader: Callable[[Any], Any], faults: Faults) -> Any:
    """Return the value that the reader returns. Null and empty text mean the default, which is None."""
    if value is None or value == "":
        return None
    try:
        return reader(value)
    except _InvalidOption as error:
        faults.append((f"{path}{error.part}", str(error)))
        return None


def _speed(value: Any) -> str:
    by_name = {policy.value.lower(): policy.value for policy in SpeedPolicy}
    policy = by_name.get(value.strip().lower()) if isinstance(value, str) else None
    if policy is None:
        raise _InvalidOption(f"must be one of {', '.join(SpeedPolicy)}")
    return policy


def _text(value: Any, max_characters: int) -> str:
    if not isinstance(value, str) or len(value) > max_characters:
        raise _InvalidOption(f"must be text of at most {max_characters} characters")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _InvalidOption("must be true or false")
    return value


def _number(value: Any, minimum: Decimal, maximum: Decimal | None = None) -> float:
    limit = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not is_number or not minimum <= value or (maximum is not None and value > maximum):
        raise _InvalidOption(f"must be a number {limit}")
    # The maximum time is shorter than 10**9 minutes, so a larger number has the same effect.
    number = float(min(value, 10**9))
    return int(number) if number.is_integer() else number


def _methods(value: Any) -> list[str] | None:
    """Check that a list of payment methods includes on-chain bitcoin. An empty list means the default."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _InvalidOption("must be a list of names")
    if value and not any(is_on_chain(name) for name in value):
        raise _InvalidOption(f"must be {ON_CHAIN}, the only payment method here", "[0]")
    return [ON_CHAIN] if value else None


def _address(value: Any) -> str:
    text = _text(value, MAX_URL_CHARACTERS)
    if not _WEB_ADDRESS.match(text) or not text.isprintable():
        raise _InvalidOption("must be an http or https URL on one line, such as https://shop.example/thanks")
    return text


def _search_terms(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_SEARCH_TERMS:
        raise _InvalidOption(f"must be a list of at most {MAX_SEARCH_TERMS} texts")
    return [_text(term, MAX_TERM_CHARACTERS) for term in value]


_CHECKOUT: Mapping[str, Callable[[Any], Any]] = {
    "speedPolicy": _speed,
    "paymentMethods": _methods,
    "defaultPaymentMethod": lambda value: _text(value, MAX_TERM_CHARACTERS),
    "expirationMinutes": lambda value: _number(value, MIN_EXPIRATION_MINUTES),
    "monitoringMinutes": lambda value: _number(value, Decimal(0)),
    "paymentTolerance": lambda value: _number(value, Decimal(0), Decimal(100)),
    "redirectURL": _address,
    "defaultLanguage": lambda value: _text(value, MAX_LANGUAGE_CHARACTERS),
    **dict.fromkeys(_SWITCHES, _switch),
}


def _minutes(time: timedelta, sent: float | None) -> float:
    """Return the minutes that the shop sent if the request has the same time, and otherwise whole minutes.

    Clients in .NET refuse fractions, and send none. The times of the invoice are always exact.
    """
    if sent is not None and abs(time - timedelta(minutes=sent)) < _SAME:
        return sent
    return max(round(time / timedelta(minutes=1)), 0)


def _tolerance_percent(facts: InvoiceFacts) -> float:
    """Return the request's tolerance, which is in satoshis, as a percentage with two decimals."""
    return round(100 * facts.terms.tolerance_sats / facts.terms.amount_sats, 2)
