"""How it is with Nodetill itself: its settings, its database, its daemon, what waits to be told."""

import os
import stat
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import peewee

from admin.doctor.findings import Finding, advice, judged, not_tried, ok, wrong
from config import Settings, misspelt
from config.addresses import http_url
from config.types import InvalidValue
from models.address import held_count
from models.daemon_status import DaemonReport
from models.db.connection import DatabaseError, bind, database, disconnect, is_sqlite, one_line, snapshot
from models.db.schema import pending_migrations
from models.outbox import Message
from models.payment import PaymentRequest
from models.seller import Seller
from web.monitoring.health import figures, problems

LOOKED_BACK = 1000
"""So many requests, the newest, say which currencies are asked for."""
LOW_SHARE = 0.1
TOLD_FOR = timedelta(days=30)
"""So long a message that was given up is told of: a shop that has gone for good is none to be mended."""


def settings_finding(environ: Mapping[str, str], directory: Path) -> Finding:
    """What of the settings works, and may still not be what was meant."""
    slips = [f"{name} is no setting, did you mean {meant}" for name, meant in misspelt(environ)]
    if slips:
        return advice("settings", f"{'; '.join(slips)}?")
    env_file = directory / ".env"
    if not env_file.exists():
        return ok("settings", f"from the environment; there is no .env in {directory}")
    if stat.S_IMODE(env_file.stat().st_mode) & 0o077:
        return advice("settings", f"other users can read {env_file}, passwords and all: chmod 600 {env_file}")
    return ok("settings", f"from the environment and {env_file}")


def database_findings(settings: Settings) -> Generator[Finding, None, bool]:
    """Whether the database can be read and written; gives back whether it can be read. Makes nothing."""
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
    place = f"SQLite, {path}" if path is not None else "PostgreSQL"
    if pending:
        yield advice(
            "database", f"{place}: made at the daemon's next start, or brought up to date ({pending[-1]})"
        )
        return False
    problem = _why_read_only()
    yield judged("database", problem, f"{place}: up to date, and can be written")
    return True


def till_findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """What /health finds, part by part, and what it leaves out, of a database that can be read."""
    with snapshot():
        seen = figures(now)
        found = list(problems(settings, now, seen))
        heartbeat_age, told = seen["daemon"]["heartbeat_age"], dict(found)
        yield from _of_daemon(heartbeat_age, [text for part, text in found if part == "daemon"])
        if heartbeat_age is None:
            yield from not_tried(["addresses"], "the daemon has never run; it fills the pool")
        else:
            yield _of_addresses(seen["addresses"]["free"] or 0, settings, told.get("addresses"))
            if "rates" in told:
                yield wrong("rates", told["rates"])
        yield _of_messages(seen["outbox"]["pending"] or 0, told.get("messages"), now)
        yield from _of_webhook_addresses()


def asked_currencies() -> dict[str, str]:
    """The currencies that were asked for lately, each with a seller that did."""
    newest = PaymentRequest.select().order_by(PaymentRequest.id.desc()).limit(LOOKED_BACK)
    return {row.currency: row.seller_id for row in newest if row.currency not in ("BTC", "SAT")}


def _of_absence(path: Path) -> Finding:
    there = next(place for place in path.absolute().parents if place.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ok("database", f"there is none yet; the daemon makes it at its first start, {path}")
    return wrong(
        "database",
        f"{path} can't be made in {there}: give that directory to the daemon's user, or correct DATABASE_URL",
    )


def _why_read_only() -> str | None:
    """None where a row could be written; nothing is."""
    try:
        with database.atomic() as transaction:
            DaemonReport.update(id=DaemonReport.id).execute()
            transaction.rollback()
    except peewee.DatabaseError as error:
        disconnect()
        cure = "see who owns the file and its directory, and that the disk is not full"
        if not is_sqlite():
            cure = "see that the server is no standby, and that the role may write"
        return f"cannot be written now ({one_line(error)}): {cure}"
    return None


def _of_daemon(heartbeat_age: int | None, found: list[str]) -> Iterator[Finding]:
    if heartbeat_age is None:
        yield advice("daemon", found[0])
        return
    for text in found:
        yield wrong("daemon", text)
    if not found:
        yield ok("daemon", f"at work: its last sign of life was {heartbeat_age} s ago")


def _of_addresses(free: int, settings: Settings, problem: str | None) -> Finding:
    wanted = settings.address_pool
    if problem is None and free < wanted * LOW_SHARE:
        problem = (
            f"{free} of {wanted} addresses are left: the daemon gets new ones from bitcoind's wallet; "
            "see its log, and raise ADDRESS_POOL where shops ask for more at once"
        )
    held = held_count()
    more = f"; {held} more are held, because the wallet does not know them" if held else ""
    return judged("addresses", problem, f"{free} free ones of {wanted}{more}")


def _of_webhook_addresses() -> Iterator[Finding]:
    """Yield the addresses that an older version accepted, and at which nothing arrives."""
    for seller in Seller.select().where(Seller.removed_at.is_null(), Seller.webhook_url.is_null(False)):
        try:
            http_url().read(seller.webhook_url or "")
        except InvalidValue as wrong_value:
            cure = f"manage.py seller set {seller.id} --webhook-url URL"
            yield wrong("webhooks", f"the address of seller {seller.id} {wrong_value}; correct it: {cure}")


def _of_messages(pending: int, problem: str | None, now: datetime) -> Finding:
    given_up = Message.select().where(Message.failed_at > now - TOLD_FOR)
    count = given_up.count()
    if count:
        last = given_up.order_by(Message.failed_at.desc()).first()
        problem = (
            f"{count} could not be delivered, the last by {last.channel} to {last.recipient} "
            f"({last.last_error}): see manage.py events list; once mended, manage.py events retry"
        )
    return judged(
        "messages", problem, f"all delivered but {pending} on their way" if pending else "all delivered"
    )
