"""A shop's request for an API key, from the query of BTCPay's page /api-keys/authorize."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from models.api_key import MAX_LABEL_CHARACTERS
from payments.greenfield.permissions import MEANINGS
from web.operator.key_target import KeyTarget, read_key_target

_PERMISSIONS = re.compile(r"permissions(\[[0-9]*\])?")
_MAX_NAME_CHARACTERS = 60
_MAX_PERMISSIONS = 50


@dataclass(frozen=True, slots=True)
class Authorization:
    """A shop's request for a key.

    `permissions` are the permissions that Nodetill offers, in the order of the request. `refused` has the
    names of all other permissions. `sellers` are the sellers that the permissions name. `target` is None if
    the shop gave no address, or if Nodetill refuses the address. Then `fault` has the reason. `may_choose`
    means that the operator may leave out permissions.
    """

    application: str
    target: KeyTarget | None
    fault: str | None
    permissions: tuple[str, ...]
    refused: tuple[str, ...]
    sellers: tuple[str, ...]
    may_choose: bool

    @classmethod
    def read(cls, parameters: Iterable[tuple[str, str]]) -> Self:
        """Return the request from the names and values of a query. Ignore the case of names."""
        pairs = [(name.lower(), value.strip()) for name, value in parameters]
        first = dict(reversed(pairs))
        asked = [value for name, value in pairs if _PERMISSIONS.fullmatch(name) and value][:_MAX_PERMISSIONS]
        policies = list(dict.fromkeys(value.partition(":")[0] for value in asked))
        target, fault = _target(first.get("redirect", ""))
        return cls(
            application=_one_line(first.get("applicationname", ""), _MAX_NAME_CHARACTERS),
            target=target,
            fault=fault,
            permissions=tuple(each for each in policies if each in MEANINGS),
            refused=tuple(_one_line(each, _MAX_NAME_CHARACTERS) for each in policies if each not in MEANINGS),
            sellers=tuple(dict.fromkeys(seller for each in asked if (seller := each.partition(":")[2]))),
            may_choose=first.get("strict", "").lower() == "false",
        )

    @property
    def obstacle(self) -> str | None:
        """Return the reason why nobody can approve this request, as a sentence, or None."""
        if self.fault:
            return f"The address that should receive the key (redirect) {self.fault}."
        return None if self.permissions else "The plug-in asks for no permission that Nodetill offers."

    @property
    def wants_refunds(self) -> bool:
        """Return whether the shop asks for a permission to refund, which Nodetill does not offer."""
        return any("pullpayment" in each for each in self.refused)

    @property
    def label(self) -> str:
        """Return the label of the key, with the application and the host that receives the key."""
        application = self.application or "Plug-in"
        label = application if self.target is None else f"{application} at {self.target.host}"
        return label[:MAX_LABEL_CHARACTERS]


def _target(redirect: str) -> tuple[KeyTarget | None, str | None]:
    if not redirect:
        return None, None
    try:
        return read_key_target(redirect), None
    except ValueError as error:
        return None, str(error)


def _one_line(text: str, most: int) -> str:
    """Return the text on one line, without invisible characters such as changes of direction."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(line.split())[:most]
