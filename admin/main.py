"""The group of the operator's commands, which manage.py and the program nodetill share."""

import click

from admin.audit.command import audit
from admin.backup import backup, retire_pool
from admin.chain import chain
from admin.cli import Commands
from admin.database import database
from admin.doctor.command import doctor
from admin.events import events
from admin.payments import payment
from admin.sellers import seller
from admin.wallet import wallet
from admin.web_role import grant_web


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
    manage.py chain follow                     follow a chain with less work
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
database.add_command(grant_web)
for command in (seller, payment, events, wallet, doctor, audit, chain, database):
    manage.add_command(command)
