"""`manage.py doctor`: check the settings, the database, bitcoind and the other services."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import peewee

from admin.cli import CommandError, json_option, print_json, read_settings
from admin.doctor.external import RateDiagnosis, clock_finding, mail_finding, proxy_finding
from admin.doctor.feed import FeedDiagnosis
from admin.doctor.files import files_finding, password_finding
from admin.doctor.findings import Finding, State, not_tried
from admin.doctor.first_day import email_finding, public_url_finding, seller_finding
from admin.doctor.node import NodeDiagnosis
from admin.doctor.nodetill import (
    database_findings,
    lost_messages,
    recent_currencies,
    settings_finding,
    till_findings,
)
from admin.doctor.trials import email_trial, webhook_trial
from admin.seller.choice import seller_id_type
from admin.terminal import GREEN, RED, YELLOW, coloured, printable, wrapped
from config import Settings
from models.db.connection import disconnect

COLOURS = {State.OK: GREEN, State.ADVICE: YELLOW, State.WRONG: RED, State.NOT_TRIED: YELLOW}
TILL_PARTS = ("daemon", "addresses", "messages", "sellers")
CAUSES = ("database", "bitcoind", "proxy")
"""Where one of these parts is wrong, other checks fail for this reason, or cannot be tried."""
STATE_WIDTH, PART_WIDTH = 9, 16


@click.command()
@click.option("--send-mail", is_flag=True, help="Also send a test email to OPERATOR_EMAIL.")
@click.option(
    "--test-webhook",
    "seller_id",
    metavar="SELLER",
    type=seller_id_type,
    help="Also send a signed test webhook, and print the shop's answer.",
)
@json_option
def doctor(send_mail: bool, seller_id: str | None, as_json: bool) -> None:
    """Check the installation, and print how to correct it.

    The doctor prints one line for each check: ok, advice, wrong or not tried. Advice means that a part works,
    but could work better. A wrong part's line has the correction. The exit status is 1 if a part is wrong.
    The doctor may run beside the daemon, and before the daemon's first start. It claims no address, moves no
    coin, and sends only the test messages that you order.

    \b
    manage.py doctor                          # takes five seconds
    manage.py doctor --json                   # for a monitor
    manage.py doctor | grep -v ^ok            # only what needs attention
    manage.py doctor --send-mail              # does your mailbox get emails?
    manage.py doctor --test-webhook company1  # does the shop accept webhooks?
    """
    settings = read_settings()
    findings = []
    try:
        for finding in examine(settings, send_mail=send_mail, seller_id=seller_id):
            findings.append(finding)
            if not as_json:
                click.echo(_line(finding))
    except peewee.DatabaseError as error:
        raise CommandError(f"the database cannot be read any more ({error}); try again") from error
    finally:
        disconnect()
    if as_json:
        print_json(_document(findings))
    else:
        click.echo(_summary(findings))
    raise SystemExit(1 if _count(findings, State.WRONG) else 0)


def examine(settings: Settings, *, send_mail: bool, seller_id: str | None) -> Iterator[Finding]:
    """Yield each finding as soon as its check is done. `seller_id` gets a test webhook."""
    with (
        closing(NodeDiagnosis(settings)) as bitcoind,
        closing(FeedDiagnosis(settings, bitcoind.node)) as feed,
    ):
        yield settings_finding(os.environ, Path.cwd())
        yield files_finding(settings, os.environ, Path.cwd())
        yield password_finding(settings)
        yield public_url_finding(settings)
        has_database = yield from database_findings(settings)
        if has_database:
            yield from till_findings(settings, _now())
            yield seller_finding()
        else:
            yield from not_tried(TILL_PARTS, "there is no database to read")
        yield from bitcoind.findings(has_database=has_database)
        yield from proxy_finding(settings)
        yield email_finding(settings)
        yield mail_finding(settings)
        if send_mail:
            yield email_trial(settings, _now())
        if seller_id is not None:
            yield from _of_webhook(settings, seller_id, has_database=has_database)
        rates = RateDiagnosis(settings, _now)
        yield from rates.findings(recent_currencies() if has_database else {})
        yield clock_finding(_now(), bitcoind.date(), bitcoind.median_time(), rates.clock_differences)
        yield from feed.findings(bitcoind.node, lost_messages() if has_database else 0)


def _of_webhook(settings: Settings, seller_id: str, *, has_database: bool) -> Iterator[Finding]:
    if has_database:
        yield webhook_trial(settings, seller_id, _now())
    else:
        yield from not_tried(["test webhook"], "there is no database to read")


def _line(finding: Finding) -> str:
    state = coloured(f"{finding.state.value:<{STATE_WIDTH}}", COLOURS[finding.state])
    text = wrapped(printable(finding.text), STATE_WIDTH + PART_WIDTH + 4)
    return f"{state}  {finding.part:<{PART_WIDTH}}  {text}"


def _summary(findings: list[Finding]) -> str:
    failed, advised, skipped = (
        _count(findings, state) for state in (State.WRONG, State.ADVICE, State.NOT_TRIED)
    )
    results = [f"{failed} failed" if failed else "none failed" if advised else "all is well"]
    if advised:
        results.append(f"{advised} {'has' if advised == 1 else 'have'} advice")
    if skipped:
        results.append(f"{skipped} skipped")
    start = f" Start with: {_first_cause(findings)}." if failed else ""
    return f"\n{len(findings)} checks: {', '.join(results)}.{start}"


def _first_cause(findings: list[Finding]) -> str:
    failed = [finding.part for finding in findings if finding.state is State.WRONG]
    return next((part for part in CAUSES if part in failed), failed[0])


def _document(findings: list[Finding]) -> dict[str, Any]:
    return {
        "is_well": not _count(findings, State.WRONG),
        "findings": [{"part": each.part, "state": each.state.value, "text": each.text} for each in findings],
    }


def _count(findings: list[Finding], state: State) -> int:
    return sum(finding.state is state for finding in findings)


def _now() -> datetime:
    return datetime.now(UTC)
