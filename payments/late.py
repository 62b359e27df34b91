"""Late money: how late it came, and its worth at a newer price. All figures are exact before one rounding."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from payments.money import EXACT, currency_exponent, exact_fiat, price_of_bitcoin_unit
from payments.status import ReceivedOutput, Terms, covered_since


@dataclass(frozen=True, slots=True)
class LateMoney:
    """The late money of a request. `price` is the newer price of one bitcoin, or None if it is unknown."""

    late_by: timedelta
    received_sats: int
    asked: Decimal
    currency: str
    price: Decimal | None

    @property
    def worth(self) -> Decimal | None:
        """Return the worth of the received money, rounded half to even to the currency's decimals."""
        exact = self._exact_worth
        return None if exact is None else _rounded(exact, currency_exponent(self.currency))

    @property
    def difference_percent(self) -> Decimal | None:
        """Return the worth compared with the amount of the request, in percent with one decimal."""
        exact = self._exact_worth
        return None if exact is None else _rounded((exact / Fraction(self.asked) - 1) * 100, 1)

    @property
    def _exact_worth(self) -> Fraction | None:
        return None if self.price is None else Fraction(exact_fiat(self.received_sats, self.price))

    def sentences(self, when: str = "today") -> str:
        """Return the figures as text. `when` is the time of the price."""
        came = f"Came {duration(self.late_by)} late."
        if price_of_bitcoin_unit(self.currency) is not None:
            return came
        worth, percent = self.worth, self.difference_percent
        if worth is None or percent is None:
            return f"{came} Its worth {when} is unknown, because there is no fresh price for {self.currency}."
        asked = f"asked for: {self._written(self.asked)}, {_compared(percent)}"
        return f"{came} Worth {self._written(worth)} {when} ({asked})."

    def _written(self, amount: Decimal) -> str:
        return f"{amount:,f} {self.currency}"


def late_money(
    terms: Terms,
    outputs: Iterable[ReceivedOutput],
    asked: Decimal,
    currency: str,
    price: Decimal | None,
) -> LateMoney | None:
    """Return the late money of a request, or None if live outputs do not cover it after its expiry."""
    live = [output for output in outputs if output.is_live]
    complete_at = covered_since(live, terms.needed_sats)
    if complete_at is None or complete_at <= terms.expires_at:
        return None
    received_sats = sum(output.amount_sats for output in live)
    return LateMoney(complete_at - terms.expires_at, received_sats, asked, currency, price)


def duration(span: timedelta) -> str:
    """Return a duration in its two largest units, such as "3 h 5 min"."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, f"day{'s' * (days != 1)}"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    # Seconds do not matter beside minutes.
    shown = parts[first : min(first + 2, 3)] or parts[3:]
    return " ".join(f"{count} {unit}" for count, unit in shown if count or unit == "s")


def _compared(percent: Decimal) -> str:
    if not percent:
        return "the same"
    return f"{abs(percent):,f} % {'more' if percent > 0 else 'less'}"


def _rounded(number: Fraction, decimals: int) -> Decimal:
    """Round half to even."""
    return EXACT.scaleb(Decimal(round(number * 10**decimals)), -decimals)
