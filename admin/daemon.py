"""A warning to the operator when no daemon runs the commands that are queued."""

from datetime import datetime, timedelta

import click

from models.daemon_status import daemon_report

SILENT_AFTER = timedelta(seconds=30)


def daemon_silence(now: datetime) -> str | None:
    """Return a clause about the daemon's last heartbeat, or None while the daemon is at work."""
    heartbeat_at = daemon_report().heartbeat_at
    if heartbeat_at is None:
        return "the daemon has never run on this database"
    if now - heartbeat_at <= SILENT_AFTER:
        return None
    return f"the daemon's last heartbeat was at {heartbeat_at:%Y-%m-%dT%H:%M:%SZ}"


def warn_of(silence: str | None) -> None:
    """Print the warning on standard error, unless `silence` is None."""
    if silence is not None:
        click.echo(f"nodetill: {silence}: nothing happens until the daemon runs", err=True)
