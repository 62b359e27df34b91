"""Calls of BTCPay's API that would spend money. Nodetill has no private key, so it refuses them."""

from http import HTTPStatus
from typing import NoReturn

from web.http.request import Request
from web.http.responses import Problem

_POLICY = "btcpay.store.cancreatenonapprovedpullpayments"


def refund(_call: Request, **_parts: str) -> NoReturn:
    """POST …/refund and …/pull-payments: 403. Plug-ins then ask the merchant to refund by hand."""
    detail = "Nodetill makes no refunds and no payouts, because it cannot spend; send the money by hand"
    members = {"missing_permission": _POLICY}
    raise Problem(HTTPStatus.FORBIDDEN, "missing-permission", detail, members=members)
