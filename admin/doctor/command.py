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
from admin.doctor.external import RateDiagnosis, clock_finding, mail_finding
from admin.doctor.feed import FeedDiagnosis
from admin.doctor.files import files_finding, password_findings
from admin.doctor.findings import Finding, State, not_tried
from admin.doctor.node import NodeDiagnosis
from admin.doctor.nodetill import asked_currencies, database_findings, settings_finding, till_findings
from admin.terminal import GREEN, RED, YELLOW, coloured, printable, wrapped
from config import Settings
from models.db.connection import disconnect

COLOURS = {State.OK: GREEN, State.ADVICE: YELLOW, State.WRONG: RED, State.NOT_TRIED: YELLOW}
TILL_PARTS = ("daemon", "addresses", "messages")
STATE_WIDTH, PART_WIDTH = 9, 16


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check the installation, and print how to correct it.

    The doctor prints one line for each check: ok, advice, wrong or not tried. Advice means that a part works,
    but could work better. A wrong part's line has the correction. The exit status is 1 if a part is wrong.
    The doctor may run beside the daemon, and before the daemon's first start. It sends no email, claims no
    address, and moves no coin.

    \b
    manage.py doctor                  takes five seconds, to listen to bitcoind
    manage.py doctor --json           for a monitor
    manage.py doctor | grep -v ^ok    only the lines that need attention
    """
    settings = read_settings()
    findings = []
    try:
        for finding in examine(settings):
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


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield each finding as soon as its check is done."""
    with closing(FeedDiagnosis(settings)) as feed, closing(NodeDiagnosis(settings)) as bitcoind:
        yield settings_finding(os.environ, Path.cwd())
        yield files_finding(settings, os.environ, Path.cwd())
        yield from password_findings(settings)
        has_database = yield from database_findings(settings)
        if has_database:
            yield from till_findings(settings, _now())
        else:
            yield from not_tried(TILL_PARTS, "there is no database to read")
        yield from bitcoind.findings(has_database=has_database)
        yield mail_finding(settings)
        rates = RateDiagnosis(settings, _now)
        yield from rates.findings(asked_currencies() if has_database else {})
        yield clock_finding(_now(), bitcoind.date(), bitcoind.median_time(), rates.clock_differences)
        yield from feed.findings(bitcoind.node)


def _line(finding: Finding) -> str:
    state = coloured(f"{finding.state.value:<{STATE_WIDTH}}", COLOURS[finding.state])
    text = wrapped(printable(finding.text), STATE_WIDTH + PART_WIDTH + 4)
    return f"{state}  {finding.part:<{PART_WIDTH}}  {text}"


def _summary(findings: list[Finding]) -> str:
    faults, untried = _count(findings, State.WRONG), _count(findings, State.NOT_TRIED)
    result = f"{faults} failed" if faults else "all is well"
    more = f", {untried} skipped" if untried else ""
    first = next((f" Start with: {each.part}." for each in findings if each.state is State.WRONG), "")
    return f"\n{len(findings)} checks: {result}{more}.{first}"


def _document(findings: list[Finding]) -> dict[str, Any]:
    return {
        "is_well": not _count(findings, State.WRONG),
        "findings": [{"part": each.part, "state": each.state.value, "text": each.text} for each in findings],
    }


def _count(findings: list[Finding], state: State) -> int:
    return sum(finding.state is state for finding in findings)


def _now() -> datetime:
    return datetime.now(UTC)
