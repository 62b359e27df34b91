"""Health checks for a monitor, a load balancer and the operator."""

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any

from config import Settings
from config.command import manage_command
from models.block import stored_tip
from models.daemon_status import DaemonReport, daemon_report
from models.db.connection import snapshot
from models.outbox import EMAIL, Message
from models.queries.request_counts import CURRENCY_USE, used_since
from models.queries.wallets import free_addresses
from models.rate import Rate
from payments.document import timestamp
from payments.money import currency_codes
from web.api.pricing import prices_now
from web.api.schemas import Health, HealthFindings
from web.auth.access import is_monitor, may_see_details
from web.http.request import Environ, Request
from web.http.responses import JsonResponse, json_response

SILENCE_SECONDS = 30
BLOCKS_BEHIND = 2
EMAIL_WAIT_SECONDS = 900


Problems = list[tuple[str, str]]
"""For each problem: the affected part of Nodetill, and a line with the problem and its cure."""


def health(request: Request) -> JsonResponse:
    """GET /health: 200, or 503 with the problems. Ages are in seconds.

    The lines may name hosts, wallets and blocks, so the public receives only the names of affected parts.
    """
    found, findings = _look(request)
    return _response(found, findings, is_full=may_see_details(request))


def look(request: Request) -> tuple[list[str], HealthFindings]:
    """Return a line for each problem, and the figures."""
    found, findings = _look(request)
    return [line for _, line in found], findings


def unreadable(environ: Environ, settings: Settings) -> JsonResponse:
    """Return the response for a database that is not available."""
    findings = HealthFindings(
        chain={"height": None, "node_height": None, "behind": None, "last_block_at": None},
        daemon={"heartbeat_age": None},
        outbox={"pending": None, "oldest_age": None},
        rates={"age": None},
        addresses={"free": None},
    )
    found = [("database", "the database is not available; read the log of run_web.py")]
    return _response(found, findings, is_full=is_monitor(environ, settings))


def _look(request: Request) -> tuple[Problems, HealthFindings]:
    with snapshot():
        findings = figures(request.now)
        return list(problems(request.settings, request.now, findings)), findings


def _response(found: Problems, findings: HealthFindings, *, is_full: bool) -> JsonResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
    lines = [line for _, line in found] if is_full else list(dict.fromkeys(part for part, _ in found))
    return json_response(status, Health(status="failing" if found else "ok", problems=lines, **findings))


def figures(now: datetime) -> HealthFindings:
    """Return the figures on which the health depends. Must run inside a snapshot."""
    report = daemon_report()
    tip = stored_tip()
    newest_rate = Rate.select(Rate.fetched_at).order_by(Rate.fetched_at.desc()).limit(1).scalar()
    return HealthFindings(
        chain={
            "height": report.assessed_height,
            "node_height": report.node_height,
            "behind": _behind(report),
            "last_block_at": timestamp(tip.mined_at) if tip else None,
        },
        daemon={"heartbeat_age": _age(report.heartbeat_at, now)},
        outbox={
            "pending": _waiting().count(),
            "oldest_age": _age(_oldest(_waiting()), now),
        },
        rates={"age": _age(newest_rate, now)},
        addresses={"free": sum(free_addresses().values())},
    )


def problems(settings: Settings, now: datetime, findings: HealthFindings) -> Iterator[tuple[str, str]]:
    """Yield each problem: the affected part of Nodetill, and a line with the problem and its cure.

    `findings` is the result of `figures`.
    """
    silence = findings["daemon"]["heartbeat_age"]
    if silence is None:
        yield "daemon", "the daemon has never run on this database; start run_daemon.py"
    elif silence > SILENCE_SECONDS:
        yield (
            "daemon",
            f"the daemon has been silent for {silence} s; check that run_daemon.py runs, and read its log",
        )
    else:
        for problem in daemon_report().problems:
            yield "daemon", problem
    behind = findings["chain"]["behind"]
    if behind is not None and behind > BLOCKS_BEHIND:
        yield (
            "daemon",
            f"{behind} blocks behind the node; statuses are out of date until the daemon has caught up",
        )
    yield from _of_addresses()
    yield from _of_prices(settings, now)
    waited = _age(_oldest(_waiting().where(Message.channel == EMAIL)), now)
    if waited is not None and waited > EMAIL_WAIT_SECONDS:
        yield "messages", f"an email has waited for {waited} s; check SMTP_URL, and read the daemon's log"


def _of_addresses() -> Iterator[tuple[str, str]]:
    """Report each wallet in use that has no free address, as requests of its sellers are refused."""
    free = free_addresses()
    for name in (name for name, count in free.items() if not count):
        whose = f" in wallet {name}" if len(free) > 1 else ""
        refused = "requests of its sellers" if len(free) > 1 else "new requests"
        yield (
            "addresses",
            f"no free addresses{whose}: {refused} are refused; run {manage_command()} doctor to find out why",
        )


def _of_prices(settings: Settings, now: datetime) -> Iterator[tuple[str, str]]:
    """Report currencies that shops use and that have no fresh price, as their requests are refused."""
    priced = {price.currency for price in prices_now(settings, now)}
    cure = "see RATE_SOURCES, and the daemon's log for its sources"
    if not priced:
        yield "rates", f"no currency has a fresh price: {cure}"
        return
    unpriced = currency_codes() - priced - {"BTC", "SAT"}
    if used := used_since(unpriced, now - CURRENCY_USE):
        yield "rates", f"there is no fresh price for {', '.join(sorted(used))}: {cure}"


def _behind(report: DaemonReport) -> int | None:
    if report.node_height is None:
        return None
    return max(report.node_height - report.assessed_height, 0)


def _waiting() -> Any:
    return Message.select().where(Message.next_attempt_at.is_null(False))


def _oldest(messages: Any) -> datetime | None:
    oldest = messages.order_by(Message.id).first()
    return oldest.created_at if oldest else None


def _age(since: datetime | None, now: datetime) -> int | None:
    return None if since is None else max(int((now - since).total_seconds()), 0)
