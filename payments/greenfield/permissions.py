"""The permissions of API keys, by the names of BTCPay's policies.

A key stores the names of its permissions. A key without such a list may do everything for its seller.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

PREFIX = "btcpay.store."

VIEW_INVOICES = f"{PREFIX}canviewinvoices"
CREATE_INVOICES = f"{PREFIX}cancreateinvoice"
MODIFY_INVOICES = f"{PREFIX}canmodifyinvoices"
VIEW_STORE = f"{PREFIX}canviewstoresettings"
MODIFY_STORE = f"{PREFIX}canmodifystoresettings"
MODIFY_WEBHOOKS = f"{PREFIX}webhooks.canmodifywebhooks"

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        VIEW_INVOICES: "See the payment requests of this seller",
        CREATE_INVOICES: "Create payment requests",
        MODIFY_INVOICES: "See, create and change payment requests: accept late money, cancel, mark as paid",
        VIEW_STORE: "See the settings and the payment requests of this seller",
        MODIFY_STORE: "Change the settings of this seller, and do all else that it may do",
        MODIFY_WEBHOOKS: "Add, change and remove webhooks",
    }
)
"""Every permission, with its meaning for the operator. Lists of permissions have this order."""

POLICIES = tuple(MEANINGS)

# BTCPayServer.Client/Permissions.cs of BTCPay Server, PolicyMap.
_IMPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        MODIFY_INVOICES: frozenset({VIEW_INVOICES, CREATE_INVOICES}),
        VIEW_STORE: frozenset({VIEW_INVOICES}),
        MODIFY_STORE: frozenset(POLICIES),
    }
)

_OF_A_PLUG_IN = (VIEW_INVOICES, CREATE_INVOICES, MODIFY_INVOICES, VIEW_STORE, MODIFY_WEBHOOKS)
PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shop": _OF_A_PLUG_IN,
        # The plug-in of PrestaShop refuses a key with fewer or more permissions.
        "prestashop": tuple(each for each in POLICIES if each in (*_OF_A_PLUG_IN, MODIFY_STORE)),
    }
)
"""The permissions that plug-ins ask for, by the name of the preset."""


class UnknownPermission(ValueError):
    """No permission has this name. The message has the name and the allowed names."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:80]!a} is no permission; allowed: {', '.join(POLICIES)}")


def allows(permissions: Collection[str] | None, policy: str) -> bool:
    """Return whether a key with these permissions may do what the policy permits."""
    return (
        permissions is None
        or policy in permissions
        or any(policy in _IMPLIED.get(each, ()) for each in permissions)
    )


def granted(permissions: Iterable[str] | None) -> tuple[str, ...]:
    """Return the stored permissions in the order of POLICIES, or all of them for None."""
    return POLICIES if permissions is None else tuple(each for each in POLICIES if each in {*permissions})


def read_permissions(names: Iterable[str]) -> list[str]:
    """Return these permissions in the order of POLICIES, each once. A name may omit PREFIX.

    Raise UnknownPermission.
    """
    chosen = {_read(name) for name in names}
    return [each for each in POLICIES if each in chosen]


def in_words(permissions: Collection[str] | None) -> list[str]:
    """Return the meaning of each permission, for the operator."""
    if permissions is None:
        return ["Everything that this seller may do"]
    return [MEANINGS.get(each, each) for each in permissions]


def _read(name: str) -> str:
    for policy in (name, f"{PREFIX}{name}"):
        if policy in MEANINGS:
            return policy
    raise UnknownPermission(name)
