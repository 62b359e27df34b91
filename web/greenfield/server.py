"""The status of the server for BTCPay's clients: its version, and whether it follows the chain."""

from datetime import timedelta

from models.daemon_status import DaemonReport, daemon_report
from payments.greenfield.payment_methods import ON_CHAIN
from version import VERSION
from web.greenfield.errors import ok
from web.http.request import Request
from web.http.responses import Response
from web.monitoring.health import BLOCKS_BEHIND, SILENCE_SECONDS

BTCPAY_VERSION = "2.3.1"
"""The version of BTCPay Server that has this API. Plug-ins require 1.7.6, and select calls by version."""

_OUTAGE = timedelta(minutes=5)


def health(request: Request) -> Response:
    """GET /api/v1/health: whether the daemon can see payments now."""
    return ok({"synchronized": is_synchronized(daemon_report(), request)})


def info(request: Request) -> Response:
    """GET /api/v1/server/info, without a call of bitcoind, because shops request it for each page."""
    report = daemon_report()
    height = report.assessed_height
    node_height = height if report.node_height is None else report.node_height
    synchronized = is_synchronized(report, request)
    node = {
        "headers": node_height,
        "blocks": node_height,
        "verificationProgress": 1.0 if synchronized else 0.0,
    }
    status = {
        "paymentMethodId": ON_CHAIN,
        "chainHeight": node_height,
        "syncHeight": height,
        "available": report.node_height is not None,
        "nodeInformation": node,
    }
    document = {
        "version": f"{BTCPAY_VERSION}+nodetill.{VERSION}",
        "onion": None,
        "supportedPaymentMethods": [ON_CHAIN],
        "fullySynched": synchronized,
        "syncStatus": [status],
    }
    return ok(document)


def is_synchronized(report: DaemonReport, request: Request) -> bool:
    """Return whether the daemon runs and has read the node's chain, except for the newest blocks.

    If the result is false, shops hide the payment option. During a restart of bitcoind the daemon does not
    have the node's height, so the result stays true until the daemon's last complete look at the node is too
    old.
    """
    heartbeat_at, looked_at = report.heartbeat_at, report.complete_look_at
    if heartbeat_at is None or request.now - heartbeat_at > timedelta(seconds=SILENCE_SECONDS):
        return False
    if report.node_height is not None:
        return bool(report.node_height - report.assessed_height <= BLOCKS_BEHIND)
    longest = timedelta(seconds=request.settings.reconcile_interval) + _OUTAGE
    return looked_at is not None and request.now - looked_at <= longest
