"""BTCPay's `speedPolicy`, which is a number of confirmations."""

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
"""The confirmations that a policy asks for."""


def policy_of(confirmations: int) -> SpeedPolicy:
    """Return the slowest policy that asks for no more confirmations than these."""
    return max(
        (policy for policy in SpeedPolicy if CONFIRMATIONS[policy] <= confirmations),
        key=lambda policy: CONFIRMATIONS[policy],
    )
