"""A PostgreSQL database with the web server's own role."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from click.testing import CliRunner, Result

from manage import manage
from models.db.connection import disconnect
from models.db.schema import open_database
from models.webhook import Webhook
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_output, new_payment, new_webhook, webhook_message
from tests.support.web_server import NOW, stock

WEB = "nodetill-web"
"""The system user and the PostgreSQL role of the web server on Debian (docs/install.md)."""


@dataclass(frozen=True)
class RoleDatabase:
    """A database that an ordinary role owns, and the URL for each role."""

    owner: str
    web: str

    def as_web(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.web, autocommit=True)

    def as_owner(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.owner, autocommit=True)


def manage_as(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(manage, arguments, env={"DATABASE_URL": url})


def new_role_database(server: PostgresServer) -> RoleDatabase:
    """Create a database without tables. The web server's role exists, and has no rights yet."""
    admin = server.new_database()
    owner = f"owner_{secrets.token_hex(4)}"
    name = admin.rpartition("/")[2]
    with psycopg.connect(admin, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (WEB,)).fetchone():
            connection.execute(f'CREATE ROLE "{WEB}" LOGIN')
        connection.execute(f"CREATE ROLE {owner} LOGIN")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    return RoleDatabase(
        admin.replace("nodetill:unused", owner),
        admin.replace("nodetill:unused", WEB),
    )


@contextmanager
def stocked_role_database(server: PostgresServer) -> Iterator[RoleDatabase]:
    made = new_role_database(server)
    open_database(made.owner)
    stock(20)
    disconnect()
    assert manage_as(made.owner, "database", "grant-web", WEB).exit_code == 0
    yield made
    disconnect()


def late_payment(number: int) -> tuple[str, str]:
    """Store an expired request with late money, and a webhook about it that was given up.

    Return the references of the request and of its event.
    """
    row = new_payment(
        number,
        reference=f"PR-{number:022d}",
        seller="company1",
        status="expired",
        is_late=True,
        received_sats=222_416,
        expires_at=NOW - timedelta(hours=1),
    )
    new_output(row, txid=f"{number:064x}", amount_sats=222_416)
    event = new_event(row, type="payment.late", reference=f"evt_{number:032x}")
    webhook = Webhook.get_or_none() or new_webhook()
    webhook_message(event, webhook, next_attempt_at=None, failed_at=NOW)
    return row.reference, event.reference
