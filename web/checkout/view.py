"""The view of a payment on the checkout page: its scene, texts and numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from payments.money import currency_exponent, format_btc, price_of_bitcoin_unit, to_plain
from payments.status import Status
from web.checkout.status import PublicFacts
from web.html.languages import Language

_BAR_WIDTH = 240
_GAP = 3


class Tone(StrEnum):
    """The look of a scene."""

    WAITING = "waiting"
    ATTENTION = "attention"
    TROUBLE = "trouble"
    GOOD = "good"
    OVER = "over"


SCENES: Mapping[str, Tone] = MappingProxyType(
    {
        "new": Tone.WAITING,
        "underpaid": Tone.ATTENTION,
        "ending": Tone.WAITING,
        "received": Tone.GOOD,
        "confirming": Tone.GOOD,
        "confirmed": Tone.GOOD,
        "expired": Tone.OVER,
        "expired_partly": Tone.ATTENTION,
        "late": Tone.ATTENTION,
        "replaced": Tone.TROUBLE,
        "dropped": Tone.TROUBLE,
        "expired_replaced": Tone.TROUBLE,
        "expired_dropped": Tone.TROUBLE,
    }
)
"""The scenes and their looks. Each scene has a headline and a lead in every language."""


@dataclass(frozen=True, slots=True)
class View:
    """The page of one payment in one language at one time. The template escapes all texts."""

    facts: PublicFacts
    language: Language
    now: datetime
    transaction_url: str | None

    @property
    def scene(self) -> str:
        """One of SCENES."""
        return scene_of(self.facts)

    @property
    def tone(self) -> Tone:
        return SCENES[self.scene]

    @property
    def headline(self) -> str:
        """The headline of the scene."""
        return self._say(f"{self.scene}.headline")

    @property
    def lead(self) -> str:
        """The sentence below the headline: the situation and the next step."""
        return self._say(f"{self.scene}.lead")

    @property
    def notices(self) -> list[str]:
        """Further sentences for the customer."""
        notices = []
        if self.facts.taken_back and self.facts.taken_back not in self.scene:
            notices.append(self._say(f"notice.{self.facts.taken_back}"))
        if self.facts.overpaid_sats:
            notices.append(self._say("notice.overpaid"))
        return notices

    @property
    def fiat(self) -> str | None:
        """The amount in the shop's currency, or None if that currency is bitcoin."""
        facts = self.facts
        is_bitcoin = facts.currency == "BTC"
        return None if is_bitcoin else self.language.amount(facts.amount_fiat, facts.currency)

    @property
    def rate(self) -> str | None:
        """The price of one bitcoin with the currency's decimals, or None if the currency is bitcoin."""
        facts = self.facts
        if price_of_bitcoin_unit(facts.currency) is not None:
            return None
        price = round(Decimal(facts.price), currency_exponent(facts.currency))
        return self.language.amount(to_plain(price), facts.currency)

    @property
    def is_settled(self) -> bool:
        """True once the amount is covered."""
        return self.facts.status.is_covered

    @property
    def has_way_back(self) -> bool:
        """True if the page links to the shop. It does not while the customer has to pay."""
        return self.facts.redirect_url is not None and not self.facts.payable_sats

    @property
    def address_groups(self) -> list[str]:
        """The address in short pieces, which a customer can compare with the wallet."""
        return re.findall(".{1,4}", self.facts.address)

    @property
    def confirmations_shown(self) -> int:
        """The number of confirmations, but at most the required number."""
        return min(self.facts.confirmations, self.facts.confirmations_required)

    @property
    def bar(self) -> list[tuple[str, str, str]]:
        """The pieces of the progress bar, one for each confirmation: x, width, and "done" or "open"."""
        count = self.facts.confirmations_required
        step = (_BAR_WIDTH + _GAP) / count if count else 0
        gap = _GAP if count <= 24 else 0
        states = ["done" if number < self.confirmations_shown else "open" for number in range(count)]
        return [(f"{i * step:.2f}", f"{step - gap:.2f}", state) for i, state in enumerate(states)]

    @property
    def time_left(self) -> str:
        """The time until the price expires, such as "14:59" or "1:00:00"."""
        seconds = max(int((self.facts.expires_at - self.now).total_seconds()), 0)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    def format_btc(self, amount_sats: int) -> str:
        """Format an amount with its unit. All languages use the format that wallets accept."""
        return bitcoin(amount_sats)

    def plain_btc(self, amount_sats: int) -> str:
        """Format an amount without its unit, for a wallet."""
        return format_btc(amount_sats)

    def label(self, key: str) -> str:
        """Return a text of the page."""
        return self._say(key)

    def _say(self, key: str) -> str:
        facts = self.facts
        return self.language.say(
            key,
            received=bitcoin(facts.received_sats),
            due=bitcoin(facts.due_sats),
            overpaid=bitcoin(facts.overpaid_sats),
            confirmations=self.confirmations_shown,
            required=facts.confirmations_required,
        )


def scene_of(facts: PublicFacts) -> str:
    """Return the one of SCENES that fits these facts."""
    match facts.status:
        case Status.NEW | Status.UNDERPAID if not facts.payable_sats:
            return "ending"
        case Status.NEW:
            return facts.taken_back or "new"
        case Status.EXPIRED if facts.is_late:
            return "late"
        case Status.EXPIRED if facts.received_sats:
            return "expired_partly"
        case Status.EXPIRED if facts.taken_back:
            return f"expired_{facts.taken_back}"
    return facts.status.value


def bitcoin(amount_sats: int) -> str:
    """Format an amount with its unit and a no-break space."""
    return f"{format_btc(amount_sats)}\N{NO-BREAK SPACE}BTC"
