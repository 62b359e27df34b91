"""A permission allows exactly what BTCPay's policy of the same name allows."""

import pytest

from payments.greenfield.permissions import (
    CREATE_INVOICES,
    MEANINGS,
    MODIFY_INVOICES,
    MODIFY_STORE,
    MODIFY_WEBHOOKS,
    POLICIES,
    PRESETS,
    VIEW_INVOICES,
    VIEW_STORE,
    UnknownPermission,
    allows,
    granted,
    in_words,
    read_permissions,
)

ALLOWED = {
    VIEW_INVOICES: {VIEW_INVOICES},
    CREATE_INVOICES: {CREATE_INVOICES},
    MODIFY_INVOICES: {MODIFY_INVOICES, VIEW_INVOICES, CREATE_INVOICES},
    VIEW_STORE: {VIEW_STORE, VIEW_INVOICES},
    MODIFY_WEBHOOKS: {MODIFY_WEBHOOKS},
    MODIFY_STORE: {*POLICIES},
}


def test_a_permission_includes_the_same_permissions_as_in_btcpay() -> None:
    assert {has: {each for each in POLICIES if allows([has], each)} for has in POLICIES} == ALLOWED


def test_a_key_without_a_list_may_do_everything_and_with_an_empty_list_nothing() -> None:
    for policy in POLICIES:
        assert allows(None, policy)
        assert not allows([], policy)
        assert not allows(["btcpay.store.canpay"], policy)
    assert (granted(None), granted([])) == (POLICIES, ())
    assert in_words(None) == ["Everything that this seller may do"]


def test_permissions_are_sorted_and_unique() -> None:
    """A name may omit the prefix."""
    names = ["webhooks.canmodifywebhooks", VIEW_INVOICES, "canviewinvoices"]
    assert read_permissions(names) == [VIEW_INVOICES, MODIFY_WEBHOOKS]
    assert granted([MODIFY_WEBHOOKS, VIEW_INVOICES]) == (VIEW_INVOICES, MODIFY_WEBHOOKS)
    assert in_words([CREATE_INVOICES, "other"]) == [MEANINGS[CREATE_INVOICES], "other"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "CanViewInvoices",
        f"{VIEW_INVOICES}:company1",
        "btcpay.store.",
        "btcpay.server.canviewusers",
        "\x00",
        "btcpay.store.cancreatenonapprovedpullpayments",
    ],
)
def test_an_unknown_name_is_refused_and_the_message_has_the_allowed_names(name: str) -> None:
    with pytest.raises(UnknownPermission) as error:
        read_permissions([VIEW_INVOICES, name])
    assert str(error.value) == f"{name!a} is no permission; allowed: {', '.join(POLICIES)}"


def test_the_presets_are_the_permissions_that_plug_ins_ask_for() -> None:
    """PrestaShop and Magento compare the lists, so an additional permission also fails."""
    magento = {VIEW_INVOICES, CREATE_INVOICES, MODIFY_WEBHOOKS, VIEW_STORE, MODIFY_INVOICES}
    assert PRESETS["shop"] == granted(PRESETS["shop"])
    assert {*PRESETS["shop"]} == magento
    assert PRESETS["prestashop"] == POLICIES
