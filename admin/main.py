"""The operator's commands, which manage.py and the program nodetill share."""

import click

from admin.audit.command import audit
from admin.chain import chain
from admin.cli import Commands
from admin.database.backup import backup, retire_pool
from admin.database.command import database
from admin.database.web_role import grant_web
from admin.doctor.command import doctor
from admin.events import events
from admin.keys import key
from admin.links import link
from admin.payment.command import payment
from admin.seller.command import seller
from admin.seller.rotate_key import rotate_key
from admin.settings import settings
from admin.wallet.command import wallet
from admin.wallet.descriptors import add, default, labels, list_
from admin.webhook.command import webhook
from version import VERSION


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="Nodetill %(version)s")
def manage() -> None:
    """Operate Nodetill.

    \b
    manage.py doctor                           # find errors of the set-up
    manage.py settings                         # list settings and their sources
    manage.py wallet create                    # create a wallet in bitcoind
    manage.py wallet add shop KEY --default    # use a descriptor or a public key
    manage.py seller add company1              # add a shop, and print its key
    manage.py webhook list                     # list who receives events
    manage.py key add company1 --preset shop   # add a key for a shop's plug-in
    manage.py link list                        # list payment links
    manage.py payment list --status confirmed  # list confirmed payments
    manage.py events retry                     # deliver failed messages again
    manage.py audit                            # compare database and bitcoind
    manage.py chain follow                     # follow a chain with less work
    manage.py database backup till.db          # copy while the servers work
    manage.py database copy --to URL           # move from SQLite to PostgreSQL
    manage.py demo                             # try Nodetill with play money

    Settings come from the environment, or from .env in the working directory. With --json a command prints
    one JSON document. After an error the document is {"error": "..."}.

    Exit status: 0 done; 1 not done, or the doctor or the audit found something; 2 wrong usage;
    78 wrong settings.
    """


seller.add_command(rotate_key)
database.add_command(backup)
database.add_command(retire_pool)
database.add_command(grant_web)
for command in (add, list_, default, labels):
    wallet.add_command(command)
for command in (
    seller,
    link,
    key,
    webhook,
    payment,
    events,
    wallet,
    doctor,
    audit,
    chain,
    database,
    settings,
):
    manage.add_command(command)
