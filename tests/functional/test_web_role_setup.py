"""The web server with its own PostgreSQL role starts, or names the missing right; the grant command."""

import json
import secrets
from pathlib import Path
from shutil import copytree

import psycopg
import pytest

from models.db import schema
from models.db.connection import DatabaseError, database, disconnect
from models.db.schema import open_database
from models.db.web_role import refuse_missing_rights
from regtest.child import free_ports
from regtest.client import Client
from regtest.installation import environment
from regtest.process import Process
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from tests.support.web_role import WEB, RoleDatabase, manage_as, new_role_database
from tests.support.web_server import KEY


def test_a_real_server_works_and_the_daemon_refuses_the_role(
    role_database: RoleDatabase, tmp_path: Path
) -> None:
    """run_web.py serves requests with the role's URL. run_daemon.py exits with one line."""
    port = free_ports(1)[0]
    environ = environment({"DATABASE_URL": role_database.web, "WEB_PORT": str(port)})
    with Process("run_web.py", environ, tmp_path):
        client = Client(f"http://127.0.0.1:{port}", KEY)
        wait_until(lambda: client.try_get("/health"), what="a web server")
        body = {"seller_id": "company1", "amount_fiat": "20000", "currency": "SAT"}
        assert client.post("/api/v1/payments", body).status == 201
        assert not any("permission denied" in line for line in client_log(tmp_path, "run_web"))
    daemon = Process("run_daemon.py", environ, tmp_path).start()
    assert daemon.wait() == 1
    (line,) = daemon.lines()
    assert line == (
        f"nodetill: the role {WEB} may not write payments, as the web server's may not: "
        "in DATABASE_URL, use the role that owns the tables for the daemon"
    )


def client_log(directory: Path, name: str) -> list[str]:
    return (directory / f"{name}.log").read_text().splitlines()


def test_the_web_server_exits_if_the_daemon_has_created_no_tables(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """The exit has one line. systemd restarts the web server until the tables exist."""
    made = new_role_database(postgres)
    environ = environment({"DATABASE_URL": made.web})
    web = Process("run_web.py", environ, tmp_path).start()
    assert web.wait() == 1
    (line,) = web.lines()
    assert line.startswith("nodetill: the database is not up to date, and the role that DATABASE_URL names")
    assert line.endswith("start the daemon first, whose role owns them")


def test_without_rights_the_web_server_names_the_command(postgres: PostgresServer, tmp_path: Path) -> None:
    """The web server exits with one line, and without a traceback."""
    made = new_role_database(postgres)
    open_database(made.owner)
    disconnect()
    web = Process("run_web.py", environment({"DATABASE_URL": made.web}), tmp_path).start()
    assert web.wait() == 1
    (line,) = web.lines()
    assert line == (
        "nodetill: permission denied for table schema_migration: "
        "as the daemon's role, run manage.py database grant-web with this role's name"
    )


@pytest.mark.parametrize(
    "taken", ["UPDATE (claimed_at) ON address", "INSERT ON daemon_command", "SELECT ON rate"]
)
def test_a_missing_right_is_named(role_database: RoleDatabase, taken: str) -> None:
    """The web server refuses to start, because calls that need the right would fail."""
    with role_database.as_owner() as owner:
        owner.execute(f'REVOKE {taken} FROM "{WEB}"')
    open_database(role_database.web)
    right, _, table = taken.partition(" ")[0], *taken.rpartition(" ")[1:]
    with pytest.raises(DatabaseError, match=f"may not {right} in {table}: as the daemon's role"):
        refuse_missing_rights()


def test_an_upgrade_renews_the_rights(
    role_database: RoleDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that creates a table again removes its rights. The daemon's start grants them again."""
    copytree(schema.MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "9999_anew.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE rate_anew (LIKE rate INCLUDING ALL)')\n"
        "    db.execute_sql('DROP TABLE rate')\n"
        "    db.execute_sql('ALTER TABLE rate_anew RENAME TO rate')\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(DatabaseError, match="start the daemon first"):
        open_database(role_database.web)
    disconnect()
    open_database(role_database.owner)
    disconnect()
    open_database(role_database.web)
    refuse_missing_rights()
    assert database.execute_sql("SELECT count(*) FROM rate").fetchone() == (0,)


def test_the_grant_command_can_run_again(role_database: RoleDatabase) -> None:
    """The command revokes rights that were granted by hand."""
    with role_database.as_owner() as owner:
        owner.execute(f'GRANT UPDATE (status) ON payment_request TO "{WEB}"')
    done = manage_as(role_database.owner, "database", "grant-web", WEB, "--json")
    assert json.loads(done.output) == {"granted": WEB, "roles": [WEB]}
    with role_database.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute("UPDATE payment_request SET status = 'confirmed'")


def test_a_grant_that_limits_nothing_is_refused(
    postgres: PostgresServer, role_database: RoleDatabase, tmp_path: Path
) -> None:
    """One line gives the reason, because such a grant would protect nothing."""
    with psycopg.connect(postgres.new_database(), autocommit=True) as admin:
        owner = role_database.owner.rpartition("//")[2].partition("@")[0]
        member = f"member_{secrets.token_hex(4)}"
        admin.execute(f"CREATE ROLE {member} IN ROLE {owner}")
    superuser = role_database.owner.replace(owner, "nodetill:unused")
    for url, role, words in (
        (role_database.owner, "nobody-at-all", "PostgreSQL has no role nobody-at-all: create it first"),
        (role_database.owner, "nodetill", "is a superuser or has BYPASSRLS"),
        (role_database.owner, member, f"the role {member} may"),
        (role_database.owner, owner, f"the role {owner} may"),
        (role_database.web, WEB, "use the daemon's DATABASE_URL"),
        (f"sqlite:///{tmp_path / 'nodetill.db'}", WEB, "SQLite has no roles"),
    ):
        refused = manage_as(url, "database", "grant-web", role)
        assert refused.exit_code == 1, (role, refused.output)
        assert words in refused.output, refused.output
    with psycopg.connect(superuser, autocommit=True) as admin:
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    refused = manage_as(role_database.owner, "database", "grant-web", WEB)
    assert "may create tables in the schema public" in refused.output
    with psycopg.connect(superuser, autocommit=True) as admin:
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        admin.execute("GRANT UPDATE (state) ON output TO PUBLIC")
    refused = manage_as(role_database.owner, "database", "grant-web", WEB)
    assert f"the role {WEB} may UPDATE in output by other means" in refused.output
