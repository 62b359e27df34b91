"""The door to the operator's pages: who is inside, and how often a wrong password was tried."""

from datetime import UTC, datetime, timedelta

import peewee

from models.db.connection import BytesField, MomentField, Table, is_sqlite

_ONLY_ROW = 1
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

LONGEST_PAUSE = timedelta(seconds=30)
FORGIVEN_AFTER = timedelta(hours=1)
"""After so long without a try the next wrong one counts as the first."""


class OperatorSalt(Table):
    """The one row of it: random bytes that go into the operator's key beside the password."""

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    salt = BytesField()


class OperatorSession(Table):
    """A login that lasts."""

    id = peewee.CharField(primary_key=True, max_length=22)
    expires_at = MomentField()


class LoginAttempt(Table):
    """How a browser's tries went; those that never logged in share one row."""

    browser = peewee.CharField(primary_key=True, max_length=22)
    failures = peewee.IntegerField()
    next_at = MomentField()

    def pause_left(self, now: datetime) -> timedelta | None:
        """How long until the next try. What is longer than any pause was written by a wrong clock."""
        wait: timedelta = self.next_at - now
        return wait if timedelta(0) < wait <= LONGEST_PAUSE else None


def operator_salt() -> bytes | None:
    """The salt; None before the first visit."""
    salt: bytes | None = OperatorSalt.select(OperatorSalt.salt).scalar()
    return salt


def store_operator_salt(salt: bytes) -> bytes:
    """The salt from now on: this one, unless another process was quicker."""
    OperatorSalt.insert(id=_ONLY_ROW, salt=salt).on_conflict_ignore().execute()
    stored = operator_salt()
    assert stored is not None
    return stored


def is_session(session_id: str, now: datetime) -> bool:
    """Whether this login lasts."""
    is_live = (OperatorSession.id == session_id) & (OperatorSession.expires_at > now)
    return bool(OperatorSession.select().where(is_live).exists())


def begin_session(session_id: str, now: datetime, expires_at: datetime) -> None:
    """Let it in; forget those that are over."""
    OperatorSession.delete().where(OperatorSession.expires_at <= now).execute()
    OperatorSession.insert(id=session_id, expires_at=expires_at).execute()


def end_session(session_id: str) -> None:
    """Logged out."""
    OperatorSession.delete().where(OperatorSession.id == session_id).execute()


def pause_left(browser: str, now: datetime) -> timedelta | None:
    """How long until the next try; None where there may be one now."""
    row: LoginAttempt | None = LoginAttempt.get_or_none(LoginAttempt.browser == browser)
    return None if row is None else row.pause_left(now)


def begin_attempt(browser: str, now: datetime) -> timedelta | None:
    """Take the one try that there is now, inside the caller's transaction; or how long until the next.

    It counts as failed until `forgive`: of many that try at the same time one is let through, whatever comes
    of it.
    """
    LoginAttempt.insert(browser=browser, failures=0, next_at=_LONG_AGO).on_conflict_ignore().execute()
    query = LoginAttempt.select().where(LoginAttempt.browser == browser)
    row: LoginAttempt = (query if is_sqlite() else query.for_update()).get()
    wait = row.pause_left(now)
    if wait is not None:
        return wait
    row.failures = 1 if now - row.next_at > FORGIVEN_AFTER else row.failures + 1
    row.next_at = now + pause_after(row.failures)
    row.save()
    return None


def forgive(browser: str) -> None:
    """The try was a good one."""
    LoginAttempt.delete().where(LoginAttempt.browser == browser).execute()


def pause_after(failures: int) -> timedelta:
    """1 s after the first, twice as long after each, 30 s at most."""
    return min(timedelta(seconds=2 ** min(failures - 1, 10)), LONGEST_PAUSE)
