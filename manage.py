#!/usr/bin/env python3
"""The operator's command: sellers, payments, events, the wallet, the doctor, the audit, and the demo."""

import packages  # noqa: F401 (a missing package is one sentence from here on)

# isort: split
import os
import sys

import click

from admin.audit.command import audit
from admin.backup import backup, retire_pool
from admin.cli import Commands
from admin.completion import PROGRAM, VARIABLE, completion
from admin.database import database
from admin.doctor.command import doctor
from admin.events import events
from admin.payments import payment
from admin.sellers import seller
from admin.wallet import wallet
from regtest.demo import demo


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def manage() -> None:
    """Look after Nodetill.

    \b
    manage.py doctor                           what is set up wrong, and the cure
    manage.py wallet create                    the wallet that gives the addresses
    manage.py seller add company1              a shop, and its key
    manage.py payment list --status confirmed  what came in
    manage.py events retry                     try again what was not delivered
    manage.py audit                            is all stored as bitcoind has it?
    manage.py database backup till.db          a copy, while the servers work
    manage.py database copy --to URL           move from SQLite to PostgreSQL
    manage.py demo                             all of it, with play money

    Settings come from the environment, or from .env in the working directory. With --json a command prints
    one JSON document, {"error": "..."} where it can't be done.

    Exit status: 0 done; 1 not done, or the doctor or the audit found something; 2 wrong usage;
    78 wrong settings.
    """


database.add_command(backup)
database.add_command(retire_pool)
for command in (seller, payment, events, wallet, doctor, audit, database, demo, completion):
    manage.add_command(command)

if __name__ == "__main__":
    # What it creates is the operator's alone.
    os.umask(0o077)
    # Where the terminal has no such letter, a seller's name must not end the command.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    manage(prog_name=PROGRAM, complete_var=VARIABLE)
