"""Checks of Nodetill itself: the settings, the database, the daemon and the messages."""

import os
import stat
from collections.abc import Generator, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path

import peewee
from dotenv import dotenv_values

from admin.doctor.findings import Finding, advice, from_problem, not_tried, ok, wrong
from config import Settings, likely_typos, variable_name
from config.addresses import http_url
from config.command import manage_command
from config.proxy import check_reachable
from config.types import InvalidValue
from models.address import held_count
from models.daemon_status import DaemonReport, daemon_report
from models.db.connection import DatabaseError, bind, database, disconnect, is_sqlite, one_line, snapshot
from models.db.schema import pending_migrations
from models.outbox import Message
from models.payment import PaymentRequest
from models.queries.wallets import free_addresses, wallet_figures
from models.seller import present_sellers
from models.webhook import STANDARD, Webhook, endpoints_of, first_standard_webhook
from payments.gap import gap_advice
from web.monitoring.health import figures, problems

LOOKED_BACK = 1000
"""The number of newest requests that decide which currencies need a price."""
LOW_SHARE = 0.1
REPORTED_FOR = timedelta(days=30)
"""An older failed message is no longer reported, because its shop may be gone for good."""


def settings_finding(environ: Mapping[str, str], directory: Path) -> Finding:
    """Return whether the settings have a likely typing error, or a `.env` that others can read."""
    env_file = directory / ".env"
    has_file = env_file.exists()
    secrets = _secrets_in(env_file) if has_file and stat.S_IMODE(env_file.stat().st_mode) & 0o077 else []
    if secrets:
        names = ", ".join(secrets)
        return advice("settings", f"other users can read {names} in {env_file}: chmod 600 {env_file}")
    typos = [f"{name} is no setting, did you mean {meant}" for name, meant in likely_typos(environ)]
    if typos:
        return advice("settings", f"{'; '.join(typos)}?")
    if not has_file:
        return ok("settings", f"from the environment; there is no .env in {directory}")
    return ok("settings", f"from the environment and {env_file}")


def database_findings(settings: Settings) -> Generator[Finding, None, bool]:
    """Yield whether the database can be read and written. Return whether it can be read. Create nothing."""
    url = settings.database_url.reveal()
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else None
    if path is not None and not path.exists():
        yield _of_absence(path)
        return False
    try:
        target = bind(url)
        target.connect()
        pending = pending_migrations(target)
    except DatabaseError as error:
        yield wrong("database", str(error))
        return False
    except peewee.DatabaseError as error:
        cure = "restore the backup" if path is not None else "start its server"
        yield wrong("database", f"cannot be opened ({one_line(error)}): correct DATABASE_URL, or {cure}")
        return False
    kind = f"SQLite, {path}" if path is not None else "PostgreSQL"
    if pending:
        yield advice(
            "database", f"{kind}: the daemon's next start creates the tables, or updates them ({pending[-1]})"
        )
        return False
    problem = _why_read_only()
    yield from_problem("database", problem, f"{kind}: up to date, and can be written")
    return True


def till_findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield the problems that /health finds, by part, and some that /health leaves out.

    The database must be readable.
    """
    with snapshot():
        seen = figures(now)
        found = list(problems(settings, now, seen))
        heartbeat_age, by_part = seen["daemon"]["heartbeat_age"], dict(found)
        yield from _of_daemon(heartbeat_age, [text for part, text in found if part == "daemon"])
        if heartbeat_age is None:
            yield from not_tried(["addresses"], "the daemon has never run; it fills the pool")
        else:
            yield _of_addresses(free_addresses(), settings)
            if "rates" in by_part:
                yield wrong("rates", by_part["rates"])
        yield _of_messages(seen["outbox"]["pending"] or 0, by_part.get("messages"), now)
        yield from _of_wallets()
        yield from _of_webhook_addresses(settings)


def recent_currencies() -> dict[str, str]:
    """Return the currencies of recent requests, each with a seller that used the currency."""
    newest = PaymentRequest.select().order_by(PaymentRequest.id.desc()).limit(LOOKED_BACK)
    return {row.currency: row.seller_id for row in newest if row.currency not in ("BTC", "SAT")}


def lost_messages() -> int:
    """Return the number of messages of the feed that the daemon has lost since its start."""
    counters: Mapping[str, Mapping[str, int]] = daemon_report().counters
    return counters.get("feed_messages_lost", {}).get("", 0)


def _secrets_in(env_file: Path) -> list[str]:
    """Return the settings of the file whose values may hold a password."""
    hidden = {variable_name(row) for row in fields(Settings) if row.metadata["hidden"]}
    values = dotenv_values(env_file, interpolate=False)
    return [name for name, value in values.items() if name in hidden and value and _is_secret(name, value)]


def _is_secret(name: str, value: str) -> bool:
    """Return whether the value may hold a password. These URLs have one only before an @."""
    return name not in ("DATABASE_URL", "BITCOIND_RPC_URL", "SMTP_URL", "PROXY") or "@" in value


def _of_absence(path: Path) -> Finding:
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return ok("database", f"there is none yet; the daemon makes it at its first start, {path}")
    return wrong(
        "database",
        f"{path} can't be made in {parent}: give it to the daemon's user, or correct DATABASE_URL",
    )


def _why_read_only() -> str | None:
    """Return why a row cannot be written, or None where it can. The row is not changed."""
    try:
        with database.atomic() as transaction:
            DaemonReport.update(id=DaemonReport.id).execute()
            transaction.rollback()
    except peewee.DatabaseError as error:
        disconnect()
        cure = "check the owner of the file and of its directory, and that the disk is not full"
        if not is_sqlite():
            cure = "check that the server is no standby, and that the role may write"
        return f"cannot be written now ({one_line(error)}): {cure}"
    return None


def _of_daemon(heartbeat_age: int | None, found: list[str]) -> Iterator[Finding]:
    if heartbeat_age is None:
        yield advice("daemon", found[0])
        return
    for text in found:
        yield wrong("daemon", text)
    if not found:
        yield ok("daemon", f"at work: its last heartbeat was {heartbeat_age} s ago")


def _of_addresses(free: Mapping[str, int], settings: Settings) -> Finding:
    """Return whether each wallet in use has enough free addresses. `free` has their number by wallet."""
    wanted, problem = settings.address_pool, None
    held = held_count()
    more = f"; {held} more are held, because the wallet does not have them" if held else ""
    low = [name for name, count in free.items() if not count or count < wanted * LOW_SHARE]
    if low:
        left = ", ".join(_of_pool(free[name], name, free) for name in low)
        problem = (
            f"{left} of {wanted} addresses are left{more}: the daemon gets new ones from bitcoind; "
            "see its log, and raise ADDRESS_POOL where shops need more at once"
        )
    counts = ", ".join(_of_pool(count, name, free) for name, count in free.items())
    return from_problem("addresses", problem, f"{counts} free ones of {wanted}{more}")


def _of_pool(count: int, name: str, free: Mapping[str, int]) -> str:
    return f"{count} ({name})" if len(free) > 1 else str(count)


def _of_wallets() -> Iterator[Finding]:
    """Yield the advice about each wallet whose unpaid addresses exceed a usual gap limit."""
    figures = wallet_figures()
    lines = [line for each in figures if (line := gap_advice(each.name, each.gap)) is not None]
    yield from (advice("wallets", line) for line in lines)
    if not lines:
        names = ", ".join(each.name for each in figures if each.is_used)
        yield ok("wallets", f"in use: {names}")


def _of_webhook_addresses(settings: Settings) -> Iterator[Finding]:
    """Yield the webhook addresses that were accepted once, but that no webhook reaches now."""
    for seller in present_sellers():
        for webhook in endpoints_of(seller.id):
            try:
                check_reachable(http_url().read(webhook.url or ""), settings.proxy)
            except InvalidValue as wrong_value:
                yield wrong("webhooks", f"{_named(webhook)} {wrong_value}; correct it: {_cure(webhook)}")


def _is_first(webhook: Webhook) -> bool:
    """Return whether `seller set` sets this endpoint."""
    first = first_standard_webhook(webhook.seller_id) if webhook.kind == STANDARD else None
    return first is not None and first.id == webhook.id


def _named(webhook: Webhook) -> str:
    owner = f"of seller {webhook.seller_id}"
    return f"the address {owner}" if _is_first(webhook) else f"the address {webhook.reference} {owner}"


def _cure(webhook: Webhook) -> str:
    if _is_first(webhook):
        return f"{manage_command()} seller set {webhook.seller_id} --webhook-url URL"
    return f"{manage_command()} webhook set {webhook.reference} --url URL"


def _of_messages(pending: int, problem: str | None, now: datetime) -> Finding:
    given_up = Message.select().where(Message.failed_at > now - REPORTED_FOR)
    count = given_up.count()
    if count:
        last, command = given_up.order_by(Message.failed_at.desc()).first(), manage_command()
        problem = (
            f"{count} could not be delivered, the last by {last.channel} to {last.recipient} "
            f"({last.last_error}): see {command} events list; after you "
            f"have removed the cause, run {command} events retry"
        )
    return from_problem(
        "messages", problem, f"all delivered, except {pending} on their way" if pending else "all delivered"
    )
