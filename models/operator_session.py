"""The operator's sessions, and the failed login attempts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import peewee

from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    execute,
    from_microseconds,
    is_sqlite,
)

_ONLY_ROW = 1
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

MAX_PAUSE = timedelta(seconds=30)
FORGIVEN_AFTER = timedelta(hours=1)
"""The time without an attempt after which the next failed attempt counts as the first."""

MAX_CLIENTS_A_MINUTE = 1000
CROWD_PAUSE = timedelta(minutes=1)
MAX_LISTED_ADDRESSES = 1000
OTHER_ADDRESSES = "other addresses"


class OperatorSalt(Table):
    """A table with one row. The salt and the password together make the operator's key."""

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    salt = BytesField()


class OperatorSession(Table):
    """A session of the operator in one browser."""

    id = peewee.CharField(primary_key=True, max_length=22)
    expires_at = UtcDateTimeField()


class LoginAttempt(Table):
    """The login attempts of one client. It is a network address, or a browser that has logged in before."""

    client = peewee.CharField(primary_key=True, max_length=64)
    failures = peewee.IntegerField()
    next_at = UtcDateTimeField(index=True)

    def retry_after(self, now: datetime) -> timedelta | None:
        """Return the time until the next attempt, or None. Ignore a time that a wrong clock has stored."""
        wait: timedelta = self.next_at - now
        return wait if timedelta(0) < wait <= MAX_PAUSE else None


class FailedLogin(Table):
    """Wrong passwords from one address. `reported_at` is the time of the login that reported them."""

    id = peewee.BigAutoField()
    address = peewee.CharField(max_length=64)
    tries = peewee.IntegerField()
    last_at = UtcDateTimeField()
    reported_at = UtcDateTimeField(null=True)


FailedLogin.add_index(
    FailedLogin.index(
        FailedLogin.address,
        name="failed_login_unreported",
        unique=True,
        where=FailedLogin.reported_at.is_null(),
    )
)


@dataclass(frozen=True, slots=True)
class FailedTries:
    """The number of wrong passwords from one address."""

    address: str
    tries: int
    last_at: datetime


def operator_salt() -> bytes | None:
    """Return the salt, or None before it is stored."""
    salt: bytes | None = OperatorSalt.select(OperatorSalt.salt).scalar()
    return salt


def store_operator_salt(salt: bytes) -> bytes:
    """Store the salt unless another process has stored one. Return the stored salt."""
    OperatorSalt.insert(id=_ONLY_ROW, salt=salt).on_conflict_ignore().execute()
    stored = operator_salt()
    assert stored is not None
    return stored


def session_exists(session_id: str, now: datetime) -> bool:
    """Return whether this session exists and has not expired."""
    is_live = (OperatorSession.id == session_id) & (OperatorSession.expires_at > now)
    return bool(OperatorSession.select().where(is_live).exists())


def begin_session(session_id: str, now: datetime, expires_at: datetime) -> None:
    """Store a session, delete the expired ones, and report the wrong passwords since the last login."""
    OperatorSession.delete().where(OperatorSession.expires_at <= now).execute()
    OperatorSession.insert(id=session_id, expires_at=expires_at).execute()
    FailedLogin.delete().where(FailedLogin.reported_at.is_null(False)).execute()
    FailedLogin.update(reported_at=now).execute()


def end_session(session_id: str) -> None:
    OperatorSession.delete().where(OperatorSession.id == session_id).execute()


def end_all_sessions() -> int:
    """Log the operator out in every browser. Return the number of ended sessions."""
    return int(OperatorSession.delete().execute())


def retry_after(client: str, now: datetime) -> timedelta | None:
    """Return the time until this client's next attempt, or None if it may try now."""
    row: LoginAttempt | None = LoginAttempt.get_or_none(LoginAttempt.client == client)
    return None if row is None else row.retry_after(now)


def is_crowded(now: datetime) -> bool:
    """Return whether too many different clients have tried to log in within a minute."""
    is_recent = (LoginAttempt.next_at > now - CROWD_PAUSE) & (LoginAttempt.next_at <= now + MAX_PAUSE)
    recent = LoginAttempt.select(LoginAttempt.client).where(is_recent).limit(MAX_CLIENTS_A_MINUTE)
    return len(recent) >= MAX_CLIENTS_A_MINUTE


def reserve_attempt(client: str, now: datetime) -> timedelta | None:
    """Reserve this client's next attempt. Return None if it may proceed, else the time to wait.

    Must run inside a transaction. The attempt counts as failed until `clear_failures`. So only one of many
    simultaneous attempts proceeds.
    """
    LoginAttempt.delete().where(LoginAttempt.next_at < now - FORGIVEN_AFTER).execute()
    LoginAttempt.insert(client=client, failures=0, next_at=_LONG_AGO).on_conflict_ignore().execute()
    query = LoginAttempt.select().where(LoginAttempt.client == client)
    row: LoginAttempt = (query if is_sqlite() else query.for_update()).get()
    wait = row.retry_after(now)
    if wait is not None:
        return wait
    row.failures += 1
    row.next_at = now + pause_after(row.failures)
    row.save()
    return None


def clear_failures(client: str) -> None:
    """Delete this client's failed attempts after a successful login."""
    LoginAttempt.delete().where(LoginAttempt.client == client).execute()


def record_failed_login(address: str, now: datetime) -> None:
    """Store a wrong password for the operator's page. Must run inside a transaction."""
    is_unreported = FailedLogin.reported_at.is_null()
    is_its = is_unreported & (FailedLogin.address == address)
    if not FailedLogin.select().where(is_its).exists():
        if FailedLogin.select().where(is_unreported).count() >= MAX_LISTED_ADDRESSES:
            is_its = is_unreported & (FailedLogin.address == (address := OTHER_ADDRESSES))
        FailedLogin.insert(address=address, tries=0, last_at=now).on_conflict_ignore().execute()
    FailedLogin.update(tries=FailedLogin.tries + 1, last_at=now).where(is_its).execute()


def failed_logins() -> list[FailedTries]:
    """Return the wrong passwords since the login before the last one, the newest address first."""
    query = """SELECT address, sum(tries), max(last_at) AS newest_at FROM failed_login
        GROUP BY address ORDER BY newest_at DESC, address"""
    found = execute(query).fetchall()
    return [
        FailedTries(address, int(tries), from_microseconds(newest_at)) for address, tries, newest_at in found
    ]


def pause_after(failures: int) -> timedelta:
    """Return the pause after so many failures. It begins at 1 s, doubles each time, and ends at 30 s."""
    return min(timedelta(seconds=2 ** min(failures - 1, 10)), MAX_PAUSE)
