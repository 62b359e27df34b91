"""The server as BTCPay's clients see it: its version, and whether it follows the chain."""

from datetime import timedelta

from models.daemon_status import DaemonReport, daemon_report
from payments.greenfield.payment_methods import ON_CHAIN
from version import VERSION
from web.greenfield.errors import ok
from web.http.request import Request
from web.http.responses import Content
from web.monitoring.health import BLOCKS_BEHIND, SILENCE_SECONDS

BTCPAY_VERSION = "2.3.1"
"""The version of BTCPay Server with this API. Plug-ins demand 1.7.6 or later, and choose calls by it."""

_OUTAGE = timedelta(minutes=5)


def health(call: Request) -> Content:
    """GET /api/v1/health: whether payments are seen at the moment."""
    return ok({"synchronized": is_synchronized(daemon_report(), call)})


def info(call: Request) -> Content:
    """GET /api/v1/server/info. Nothing here asks bitcoind, because shops call this on each of their pages."""
    report = daemon_report()
    height = report.assessed_height
    node_height = height if report.node_height is None else report.node_height
    synchronized = is_synchronized(report, call)
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


def is_synchronized(report: DaemonReport, call: Request) -> bool:
    """Return whether the daemon runs and has read the node's chain, except for the newest blocks.

    Shops hide the way to pay without it. So a restart of bitcoind, in which the daemon does not have the
    node's height, does not change the result before the last complete look at the node is too old.
    """
    heartbeat_at, looked_at = report.heartbeat_at, report.complete_look_at
    if heartbeat_at is None or call.now - heartbeat_at > timedelta(seconds=SILENCE_SECONDS):
        return False
    if report.node_height is not None:
        return bool(report.node_height - report.assessed_height <= BLOCKS_BEHIND)
    longest = timedelta(seconds=call.settings.reconcile_interval) + _OUTAGE
    return looked_at is not None and call.now - looked_at <= longest
