"""BTCPay's `speedPolicy`, which stands for a number of confirmations."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class SpeedPolicy(StrEnum):
    HIGH = "HighSpeed"
    MEDIUM = "MediumSpeed"
    LOW_MEDIUM = "LowMediumSpeed"
    LOW = "LowSpeed"


CONFIRMATIONS: Mapping[SpeedPolicy, int] = MappingProxyType(
    {SpeedPolicy.HIGH: 0, SpeedPolicy.MEDIUM: 1, SpeedPolicy.LOW_MEDIUM: 2, SpeedPolicy.LOW: 6}
)


def policy_of(confirmations: int) -> SpeedPolicy:
    """Return the slowest policy that requires at most this number of confirmations."""
    return max(
        (policy for policy in SpeedPolicy if CONFIRMATIONS[policy] <= confirmations),
        key=lambda policy: CONFIRMATIONS[policy],
    )
