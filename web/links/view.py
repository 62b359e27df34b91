"""The content of a payment link's public page: its scene, texts and amounts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote

from models.link import Link
from models.payment import PaymentRequest
from models.queries.links import LinkFacts
from payments.link import LinkStatus
from payments.money import to_plain
from web.checkout.status import web_address
from web.checkout.view import Tone, minute
from web.html.languages import Language, bitcoin
from web.links.choice import WrongAmount
from web.links.earlier import EarlierPayment

_SECONDS_IN_WORDS = 120

_TONES = {
    "paid": Tone.GOOD,
    "processing": Tone.GOOD,
    "late": Tone.ATTENTION,
    "closed": Tone.OVER,
}


@dataclass(frozen=True, slots=True)
class PublicLink:
    """A link with the public facts of its seller. `payee` is the seller's name."""

    link: Link
    payee: str
    support: str | None
    is_seller_removed: bool

    @property
    def is_closed(self) -> bool:
        """Return whether the link makes no more requests."""
        return self.link.closed_at is not None or self.is_seller_removed


@dataclass(frozen=True, slots=True)
class PartRow:
    """A request of a single-use link to which money came. `number` is a short form of `reference`.

    `txid` is None while no transaction pays it. `received_at` is the time from which its whole amount has
    been there, or None.
    """

    reference: str
    number: str
    worth: str
    txid: str | None
    received_at: str | None


@dataclass(frozen=True, slots=True)
class LinkView:
    """The page of one link in one language at one time. The template escapes all texts.

    `earlier` is a payment that the payer has to look at before another one, or None.
    """

    public: PublicLink
    facts: LinkFacts
    earlier: EarlierPayment | None
    language: Language
    now: datetime
    error: WrongAmount | None = None

    @property
    def link(self) -> Link:
        return self.public.link

    @property
    def status(self) -> LinkStatus:
        return self.facts.status(self.now)

    @property
    def scene(self) -> str | None:
        """Return the name of the scene, which has a headline and a lead, or None for an open link."""
        if self.status in (LinkStatus.PAID, LinkStatus.PROCESSING):
            return self.status.value
        if self.is_under_review:
            return "late"
        return "closed" if self.status is LinkStatus.CLOSED else None

    @property
    def tone(self) -> Tone:
        return _TONES[self.scene or "closed"]

    @property
    def headline(self) -> str:
        return self.language.say(f"link.{self.scene}_headline")

    @property
    def lead(self) -> str:
        return self.language.say(f"link.{self.scene}_lead", late=bitcoin(self.facts.late_sats))

    @property
    def is_under_review(self) -> bool:
        """Return whether money of a single-use link came too late and waits for the seller's decision."""
        return not self.link.is_reusable and bool(self.facts.late_sats)

    @property
    def is_payable(self) -> bool:
        """Return whether "Pay" leads to a request that can be paid."""
        return self.status in (LinkStatus.OPEN, LinkStatus.OVERDUE) and not self.is_under_review

    @property
    def is_chosen_by_payer(self) -> bool:
        return self.is_payable and self.link.amount is None and self.facts.balance.remaining is None

    @property
    def is_overdue(self) -> bool:
        return self.status is LinkStatus.OVERDUE

    @property
    def amount(self) -> str | None:
        """Return the amount of the link, or None if the payer chooses it."""
        return self._money(self.link.amount)

    @property
    def paid(self) -> str | None:
        """Return the money that came for a single-use link, or None. A reusable link's money is private."""
        return None if self.link.is_reusable else self._money(self.facts.balance.paid or None)

    @property
    def remaining(self) -> str | None:
        """Return the amount that remains of a single-use link after a part is paid, or None."""
        return self._money(self.facts.balance.remaining) if self.paid and self.is_payable else None

    @property
    def late(self) -> str | None:
        """Return the money that came too late, in bitcoin, or None."""
        return bitcoin(self.facts.late_sats) if self.is_under_review else None

    @property
    def due(self) -> str | None:
        """Return the due date in UTC, such as 2026-12-24, or None."""
        due_at: datetime | None = self.link.due_at
        return None if due_at is None else f"{due_at.astimezone(UTC):%Y-%m-%d}"

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Return the suggested amounts, each as a plain number and as text."""
        return [(each, self.language.amount(each, self.link.currency)) for each in self.link.suggested]

    @property
    def bounds(self) -> str | None:
        """Return the sentence with the minimum and maximum amounts, or None."""
        least, most = (
            None if each is None else self.language.amount(each, self.link.currency)
            for each in (self.link.minimum, self.link.maximum)
        )
        if least and most:
            return self.language.say("link.between", least=least, most=most)
        if least:
            return self.language.say("link.from", least=least)
        return self.language.say("link.up_to", most=most) if most else None

    @property
    def parts(self) -> list[PartRow]:
        """Return the requests to which money came, oldest first. A reusable link's requests are private."""
        rows = () if self.link.is_reusable else self.facts.payments[::-1]
        return [
            PartRow(row.reference, _short(row.reference), self._worth(row), row.txid, minute(row.received_at))
            for row in rows
        ]

    @property
    def paid_at(self) -> str | None:
        """Return the time from which a single-use link has been paid, or None."""
        return None if self.link.is_reusable else minute(self.link.paid_at)

    @property
    def is_repeated(self) -> bool:
        """Return True if an earlier payment may still bring the money that this page requests."""
        return self.is_payable and self.earlier is not None

    @property
    def is_folded(self) -> bool:
        """Return True if "Pay" is folded up, because a dropped transaction may still arrive."""
        return self.is_payable and self.earlier is not None and self.earlier.is_dropped

    @property
    def earlier_number(self) -> str:
        """Return the short number of the earlier payment, or an empty text."""
        return _short(self.earlier.reference) if self.earlier else ""

    @property
    def support_url(self) -> str | None:
        """Return the link to the shop's support, or None."""
        support = self.public.support
        if not support or not (self.is_repeated or self.scene in ("late", "closed")):
            return None
        if "://" in support:
            return web_address(support)
        return f"mailto:{quote(support, safe='@')}?subject={quote(self.link.title)}"

    def say(self, key: str) -> str:
        return self.language.say(key)

    def _worth(self, row: PaymentRequest) -> str:
        worth = row.link_part.worth
        return self._money(worth) or "" if worth else bitcoin(row.received_sats)

    def _money(self, amount: Decimal | None) -> str | None:
        return None if amount is None else self.language.amount(to_plain(amount), self.link.currency)


def waiting_time(seconds: int, language: Language) -> str:
    """Return the sentence on when to try again."""
    if seconds <= _SECONDS_IN_WORDS:
        return language.say("busy_link.seconds", seconds=max(-(-seconds // 5) * 5, 5))
    return language.say("busy_link.minutes", minutes=-(-seconds // 60))


def _short(reference: str) -> str:
    """Return the beginning of a payment number."""
    return f"{reference[:11]}…"
