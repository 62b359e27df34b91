#!/usr/bin/env python3
"""The operator's command: sellers, payments, the wallet, the audit, and the demo."""

import os

import click

from admin.audit import audit
from admin.database import database
from admin.demo import demo
from admin.payments import payment
from admin.sellers import seller
from admin.wallet import wallet


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def manage() -> None:
    """Look after Nodetill.

    \b
    manage.py wallet create                      the wallet that gives the addresses
    manage.py seller add company1 --name Alpacas a shop, and its key
    manage.py payment list --status confirmed    what came in
    manage.py audit                              is all that is stored as bitcoind has it?
    manage.py database copy --to URL             move from SQLite to PostgreSQL
    manage.py demo                               all of it on regtest, with play money

    Settings come from the environment, or from .env in the working directory.
    """


for command in (seller, payment, wallet, audit, database, demo):
    manage.add_command(command)

if __name__ == "__main__":
    # What it creates is the operator's alone.
    os.umask(0o077)
    manage(prog_name="manage.py")
