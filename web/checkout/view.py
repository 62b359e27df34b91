"""The view of a payment on the checkout page: its scene, texts and numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import quote

from models.output import DROPPED
from payments.greenfield.facts import Mark
from payments.money import currency_exponent, format_btc, price_of_bitcoin_unit, sats_to_fiat, to_plain
from payments.network import transaction_url
from payments.status import Status
from web.checkout.status import PublicFacts, web_address
from web.html.languages import Language, bitcoin

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
        "expired_part": Tone.ATTENTION,
        "late": Tone.ATTENTION,
        "replaced": Tone.TROUBLE,
        "dropped": Tone.TROUBLE,
        "underpaid_dropped": Tone.TROUBLE,
        "expired_replaced": Tone.TROUBLE,
        "expired_dropped": Tone.TROUBLE,
        "marked_settled": Tone.GOOD,
        "marked_invalid": Tone.ATTENTION,
    }
)
"""The scenes and their looks. Each scene has a headline and a lead in every language."""

_WITHOUT_CONTACT = frozenset(
    {
        "new",
        "underpaid",
        "ending",
        "received",
        "confirming",
        "confirmed",
        "marked_settled",
        "expired_part",
    }
)
"""The scenes in which a customer does not need the shop."""


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A transaction on the page. `amount` is None where another row already has the amount.

    `url` is None where there is no explorer.
    """

    txid: str
    url: str | None
    amount: str | None

    @property
    def short(self) -> str:
        """The beginning and the end of the id."""
        return f"{self.txid[:8]}…{self.txid[-8:]}"


@dataclass(frozen=True, slots=True)
class View:
    """The page of one payment in one language at one time. The template escapes all texts."""

    facts: PublicFacts
    language: Language
    now: datetime
    explorer_url: str | None

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
        lead = self._say(f"{self.scene}.lead")
        is_done = self.scene in ("received", "confirming") and not self.facts.overpaid_sats
        return f"{lead} {self._say('page.nothing_to_do')}" if is_done else lead

    @property
    def notices(self) -> list[str]:
        """Further sentences for the customer."""
        notices = []
        if self.scene == "expired":
            notices.append(self._say("notice.sent_already"))
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
    def payable_fiat(self) -> str | None:
        """The payable amount in the shop's currency, at the price of the request, or None for bitcoin."""
        facts = self.facts
        if not facts.received_sats or self.fiat is None:
            return self.fiat
        rest = sats_to_fiat(facts.payable_sats, Decimal(facts.price), facts.currency)
        return self.language.amount(to_plain(rest), facts.currency)

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
        """True once the amount is covered, unless the shop has marked the invoice as invalid."""
        return self.facts.status.is_covered and self.facts.marked is not Mark.INVALID

    @property
    def is_folded(self) -> bool:
        """True if the way to pay is folded up, because the dropped transaction may still arrive."""
        return bool(self.facts.payable_sats) and self.facts.taken_back == DROPPED

    @property
    def transactions(self) -> list[TransactionRow]:
        """The transactions that pay the request, or the lost one where there is none."""
        found = self.facts.transactions
        amounts = {txid: bitcoin(sats) if len(found) > 1 else None for txid, sats in found.items()}
        rows = [self._row(txid, amount) for txid, amount in amounts.items()]
        return rows or ([self.lost] if self.lost else [])

    @property
    def lost(self) -> TransactionRow | None:
        """The replaced or dropped transaction, or None."""
        return self._row(self.facts.lost_txid, None) if self.facts.lost_txid else None

    @property
    def support_url(self) -> str | None:
        """The link to the shop's support, or None if the seller has none or the customer does not need it."""
        facts = self.facts
        if not facts.support or (self.scene in _WITHOUT_CONTACT and not facts.overpaid_sats):
            return None
        if "://" in facts.support:
            return web_address(facts.support)
        subject = quote(f"{self._say('label.payment')} {facts.reference}")
        return f"mailto:{quote(facts.support, safe='@')}?subject={subject}"

    @property
    def confirmed_at(self) -> str | None:
        """The time of the confirmation, such as "2026-11-23 12:00 UTC", or None."""
        return minute(self.facts.confirmed_at)

    @property
    def received_at(self) -> str | None:
        """The time from which the whole amount has been there, in the same form, or None."""
        return minute(self.facts.received_at)

    @property
    def address_groups(self) -> list[str]:
        """The address in short pieces, which a customer can compare with the wallet."""
        return _groups(self.facts.address)

    @property
    def reference_groups(self) -> list[str]:
        """The payment number in short pieces, which a customer can read out on the telephone."""
        prefix, dash, rest = self.facts.reference.partition("-")
        return [prefix + dash, *_groups(rest)]

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

    def look_up(self, row: TransactionRow) -> str:
        """Return the name of the link to a transaction, for a screen reader."""
        return self.language.say("action.look_up", txid=row.short)

    def _row(self, txid: str, amount: str | None) -> TransactionRow:
        return TransactionRow(txid, transaction_url(txid, self.facts.network, self.explorer_url), amount)

    def _say(self, key: str) -> str:
        return self.filled(self.language.words[key])

    def filled(self, text: str) -> str:
        """Return a text with the numbers of this payment filled in."""
        facts = self.facts
        return text.format(
            received=bitcoin(facts.received_sats),
            due=bitcoin(facts.due_sats),
            overpaid=bitcoin(facts.overpaid_sats),
            confirmations=self.confirmations_shown,
            required=facts.confirmations_required,
        )


def scene_of(facts: PublicFacts) -> str:
    """Return the scene for these facts. Money that has come takes precedence over a mark as paid."""
    if facts.marked is Mark.INVALID or (facts.marked and not facts.status.is_covered):
        return f"marked_{facts.marked}"
    match facts.status:
        case Status.NEW | Status.UNDERPAID if not facts.payable_sats:
            return "ending"
        case Status.NEW:
            return facts.taken_back or "new"
        case Status.UNDERPAID if facts.taken_back == DROPPED:
            return "underpaid_dropped"
        case Status.EXPIRED if facts.is_late:
            return "late"
        case Status.EXPIRED if facts.received_sats and facts.is_part:
            return "expired_part"
        case Status.EXPIRED if facts.received_sats:
            return "expired_partly"
        case Status.EXPIRED if facts.taken_back:
            return f"expired_{facts.taken_back}"
    return facts.status.value


def minute(time: datetime | None) -> str | None:
    """Return a time such as "2026-11-23 12:00 UTC", or None."""
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _groups(text: str) -> list[str]:
    return re.findall(".{1,4}", text)
