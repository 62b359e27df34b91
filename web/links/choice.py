"""The amount that a payer chooses on the page of a link."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from config import Settings
from models.link import Link
from models.queries.links import link_facts
from payments.link import min_amount
from payments.money import MAX_MONEY_SATS, AmountError, fiat_to_sats, read_amount, to_plain
from payments.typed_amount import read_typed_amount
from web.api.pricing import price_now
from web.html.languages import Language


class WrongAmount(Exception):
    """The link does not allow the chosen amount. The message is for the payer, who typed `typed`."""

    def __init__(self, message: str, typed: str) -> None:
        super().__init__(message)
        self.typed = typed


def read_choice(
    link: Link, form: Mapping[str, str], language: Language, settings: Settings, now: datetime
) -> Decimal | None:
    """Return the chosen amount, or None if the payer does not choose the amount of this link.

    The form has `choice`, the amount of a button, or `amount`, which the payer typed. Raise WrongAmount, or
    Problem 503 without a fresh price.
    """
    if link.amount is not None or link_facts(link).balance.remaining is not None:
        return None
    choice, typed = form.get("choice", ""), form.get("amount", "").strip()
    example = language.amount(to_plain(Decimal(link.suggested[0]) if link.suggested else Decimal(10)), "")
    try:
        amount = (
            read_amount(choice, link.currency)
            if choice
            else read_typed_amount(typed, link.currency, language.decimal_mark)
        )
    except AmountError:
        raise WrongAmount(language.say("link.amount_wrong", example=example.strip()), typed) from None
    price = price_now(link.currency, settings, now).price
    least = max(min_amount(link.currency, price), Decimal(link.minimum or 0))
    if amount < least:
        text = language.say("link.amount_least", least=language.amount(to_plain(least), link.currency))
        raise WrongAmount(text, typed or choice)
    most = None if link.maximum is None else Decimal(link.maximum)
    if (most is not None and amount > most) or fiat_to_sats(amount, price) > MAX_MONEY_SATS:
        limit = "" if most is None else language.amount(to_plain(most), link.currency)
        text = language.say("link.amount_most", most=limit) if limit else language.say("link.amount_too_much")
        raise WrongAmount(text, typed or choice)
    return amount
