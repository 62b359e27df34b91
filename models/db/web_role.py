"""A PostgreSQL role for the web server, with the least rights that it needs.

The tables belong to the daemon's role. The web server's role reads most of them. The role writes new
requests, the time at which an address is claimed, commands for the daemon, and the operator's logins,
acknowledgements, decisions, API keys, and the name and support address of a seller. The role writes no
outputs, events, messages or statuses. PostgreSQL refuses all other writes, even if an attacker runs code in
the web process.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import psycopg

from models.db.connection import DatabaseError, database, is_sqlite

READ, INSERT, UPDATE, DELETE = "SELECT", "INSERT", "UPDATE", "DELETE"
WHOLE_ROW = ()
"""Used instead of columns for a right on the whole table."""

Rights = Mapping[str, Sequence[str]]

_READ_ALONE: Rights = {READ: WHOLE_ROW}
_TERMS = (
    "reference seller_id amount_fiat currency price price_at price_source amount_sats tolerance_sats "
    "address_id confirmations_required created_at expires_at monitored_until late_accepted_until note label "
    "redirect_url metadata idempotency_key idempotency_digest reassess_at reassess_at_height order_id "
    "checkout link_id link_amount_fiat"
).split()
_LINK_TERMS = (
    "reference seller_id title description order_id note amount_fiat currency minimum maximum suggested "
    "due_at is_reusable confirmations expires_in redirect_url thanks created_at "
    "idempotency_key idempotency_digest"
).split()
_STARTING_VALUES = {
    "status": "'new'",
    "due_sats": "amount_sats",
    "received_sats": "0",
    "overpaid_sats": "0",
    "notified_sats": "0",
    "revision": "0",
    "is_late": "FALSE",
}
"""The daemon's columns of a request, with the values of a new request."""

_ENDPOINT = "url btcpay_secret set_by event_types is_enabled automatic_redelivery removed_at".split()

WEB_RIGHTS: Mapping[str, Rights] = MappingProxyType(
    {
        "seller": {
            READ: ("id name email support created_at removed_at wallet_id").split(),
            INSERT: "id name email support created_at".split(),
            UPDATE: ["name", "support"],
        },
        "api_key": {
            READ: WHOLE_ROW,
            INSERT: "reference seller_id key_hash label permissions created_at created_by".split(),
            UPDATE: ["last_used_at", "revoked_at"],
        },
        # The web server cannot read the secrets of standard endpoints, because they could be used to forge
        # webhooks. It reads those of btcpay endpoints, because the operator's page shows them again.
        "webhook": {
            READ: [*_ENDPOINT, "id", "reference", "seller_id", "kind", "created_at"],
            INSERT: [*_ENDPOINT, "reference", "seller_id", "kind", "signing_secret", "created_at"],
            UPDATE: _ENDPOINT,
        },
        "delivery": _READ_ALONE,
        "address": {READ: WHOLE_ROW, UPDATE: ["claimed_at"]},
        # The web server needs no descriptor, which names all addresses, also those of the future.
        "wallet": {READ: "id name address_type is_default start_index next_index".split()},
        "payment_request": {
            READ: WHOLE_ROW,
            INSERT: [*_TERMS, *_STARTING_VALUES],
            UPDATE: "acknowledged_sats archived_at marked marked_at metadata order_id".split(),
        },
        # A link can be closed, but only the daemon marks it as paid.
        "link": {READ: WHOLE_ROW, INSERT: _LINK_TERMS, UPDATE: ["closed_at"]},
        "output": _READ_ALONE,
        "block": _READ_ALONE,
        "event": {READ: WHOLE_ROW, UPDATE: ["acknowledged_at"]},
        "message": {READ: WHOLE_ROW, UPDATE: ["acknowledged_at"]},
        "rate": _READ_ALONE,
        "daemon_command": {
            READ: WHOLE_ROW,
            INSERT: "kind payment_id txid message_id webhook_id created_at".split(),
        },
        "decision": {READ: WHOLE_ROW, INSERT: "payment_id kind at by comment".split()},
        "daemon_report": _READ_ALONE,
        "operator_salt": {READ: WHOLE_ROW, INSERT: WHOLE_ROW},
        "operator_session": {READ: WHOLE_ROW, INSERT: WHOLE_ROW, DELETE: WHOLE_ROW},
        "login_attempt": {READ: WHOLE_ROW, INSERT: WHOLE_ROW, UPDATE: WHOLE_ROW, DELETE: WHOLE_ROW},
        "failed_login": {READ: WHOLE_ROW, INSERT: WHOLE_ROW, UPDATE: WHOLE_ROW, DELETE: WHOLE_ROW},
        "schema_migration": _READ_ALONE,
        "watched_outpoint": {},
        "daemon_epoch": {},
    }
)
"""Every table, and the rights of the web server on it. A right lists its columns, or none for all columns."""

HOW_TO_GRANT = "as the daemon's role, run manage.py database grant-web with this role's name"

_SEQUENCES = (
    "payment_request_id_seq",
    "hint_id_seq",
    "failed_login_id_seq",
    "decision_id_seq",
    "api_key_id_seq",
    "webhook_id_seq",
    "link_id_seq",
)

_POLICIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # The web server can claim an address, but it cannot undo a claim.
        "address": {
            "SELECT": "USING (TRUE)",
            "UPDATE": "USING (claimed_at IS NULL) WITH CHECK (claimed_at IS NOT NULL)",
        },
        # A new key is marked as made on the operator's page, and a revoked key stays revoked.
        "api_key": {
            "SELECT": "USING (TRUE)",
            "INSERT": "WITH CHECK (created_by = 'page')",
            "UPDATE": "USING (revoked_at IS NULL) WITH CHECK (TRUE)",
        },
        # A request begins with the values of a new request, because only the daemon sets its status.
        "payment_request": {
            "SELECT": "USING (TRUE)",
            # A shop can change the metadata of its invoice, and the order with them. The order of another
            # request stays. The subquery reads the row as it was before.
            "UPDATE": "USING (TRUE) WITH CHECK (checkout IS NOT NULL OR order_id IS NOT DISTINCT FROM "
            "(SELECT before.order_id FROM payment_request AS before WHERE before.id = payment_request.id))",
            "INSERT": "WITH CHECK ({})".format(
                " AND ".join(f"{column} = {value}" for column, value in _STARTING_VALUES.items())
            ),
        },
        # A standard endpoint keeps its address, so the web server cannot divert a shop's webhooks. The
        # subquery reads the row as it was before.
        "webhook": {
            "SELECT": "USING (TRUE)",
            "INSERT": "WITH CHECK (TRUE)",
            "UPDATE": "USING (TRUE) WITH CHECK (kind = 'btcpay' OR url IS NOT DISTINCT FROM "
            "(SELECT before.url FROM webhook AS before WHERE before.id = webhook.id))",
        },
    }
)
"""The row-level security of these tables in PostgreSQL, as conditions on the rows by command."""


def web_roles() -> list[str]:
    """Return the roles that have a web server's rights on this database."""
    query = (
        "SELECT DISTINCT unnest(roles)::text FROM pg_policies "
        "WHERE schemaname = current_schema() AND policyname = 'web_select' ORDER BY 1"
    )
    return [role for (role,) in database.execute_sql(query).fetchall()]


def grant_web_rights(role: str) -> None:
    """Grant `role` exactly the rights of a web server, and renew the rights of the other web roles.

    Raise DatabaseError if the role does not exist, or if it has more rights by other means.
    """
    if is_sqlite():
        raise DatabaseError(
            "SQLite has no roles, because a user who can write the file can write all of it; use PostgreSQL"
        )
    if not database.execute_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
        raise DatabaseError(f"PostgreSQL has no role {role}: create it first (createuser {_quoted(role)})")
    with database.atomic():
        renew_web_rights([*web_roles(), role])
        _refuse_excess(role)


def renew_web_rights(roles: Sequence[str] | None = None) -> None:
    """Grant the rights on the current tables to these roles, by default to all roles of web servers."""
    names = sorted({*(web_roles() if roles is None else roles)})
    if not names:
        return
    to_all = ", ".join(map(_quoted, names))
    for command in _commands(to_all):
        database.execute_sql(command)


def refuse_missing_rights() -> None:
    """Raise DatabaseError if this connection's role lacks a right that a web server needs."""
    if is_sqlite():
        return
    needed = [
        (table, column, right)
        for table, rights in WEB_RIGHTS.items()
        for right, columns in rights.items()
        for column in columns or (None,)
    ]
    for table, column, right in needed:
        of_table = "has_table_privilege(%s, %s)" if column is None else "has_column_privilege(%s, %s, %s)"
        values = (table, right) if column is None else (table, column, right)
        if not database.execute_sql(f"SELECT {of_table}", values).fetchone()[0]:
            raise DatabaseError(f"the role {current_role()} may not {right} in {table}: {HOW_TO_GRANT}")


def refuse_web_role() -> None:
    """Raise DatabaseError if this connection's role is a web server's. A daemon needs more rights."""
    if is_sqlite():
        return
    can_write = database.execute_sql("SELECT has_table_privilege('output', 'INSERT')").fetchone()[0]
    if not can_write:
        raise DatabaseError(
            f"the role {current_role()} may not write payments, as the web server's may not: "
            "in DATABASE_URL, use the role that owns the tables for the daemon"
        )


def lacks_right(error: Exception) -> bool:
    """Return whether PostgreSQL refused a statement because the role lacks a right."""
    return isinstance(getattr(error, "orig", None), psycopg.errors.InsufficientPrivilege)


def may_change_schema() -> bool:
    """Return whether this connection's role can bring the tables up to date."""
    if is_sqlite():
        return True
    query = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    return bool(database.execute_sql(query).fetchone()[0])


def _commands(roles: str) -> list[str]:
    """Return the statements that revoke all rights of the roles, and then grant a web server's rights."""
    (schema,) = database.execute_sql("SELECT quote_ident(current_schema())").fetchone()
    commands = [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {roles}",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {roles}",
        f"GRANT USAGE ON SCHEMA {schema} TO {roles}",
        f"GRANT USAGE ON SEQUENCE {', '.join(_SEQUENCES)} TO {roles}",
    ]
    for table, rights in WEB_RIGHTS.items():
        for right, columns in rights.items():
            named = f" ({', '.join(columns)})" if columns else ""
            commands.append(f"GRANT {right}{named} ON {table} TO {roles}")
    for table, policies in _POLICIES.items():
        commands.append(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        for command, condition in policies.items():
            name = f"web_{command.lower()}"
            commands.append(f"DROP POLICY IF EXISTS {name} ON {table}")
            commands.append(f"CREATE POLICY {name} ON {table} FOR {command} TO {roles} {condition}")
    return commands


def _refuse_excess(role: str) -> None:
    """Raise DatabaseError if the role can write more than its grants, by its attributes or memberships."""
    query = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s"
    if database.execute_sql(query, (role,)).fetchone()[0]:
        raise DatabaseError(f"the role {role} is a superuser or has BYPASSRLS, so no grant limits it")
    query = "SELECT has_schema_privilege(%s, current_schema(), 'CREATE'), current_schema()"
    can_create, schema = database.execute_sql(query, (role,)).fetchone()
    if can_create:
        raise DatabaseError(
            f"the role {role} may create tables in the schema {schema}: "
            f"as the schema's owner, REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC (or FROM {_quoted(role)})"
        )
    for table, rights in WEB_RIGHTS.items():
        for right in (READ, INSERT, UPDATE, DELETE, "TRUNCATE", "TRIGGER"):
            if rights.get(right) != WHOLE_ROW and _has_more(role, table, right, is_partial=right in rights):
                raise DatabaseError(
                    f"the role {role} may {right} in {table} by other means: "
                    "it owns the tables, is a member of a role that may, or PUBLIC may"
                )


def _has_more(role: str, table: str, right: str, *, is_partial: bool) -> bool:
    """Return whether the role has the right on the whole table, or on any column if it should have none."""
    is_of_columns = right in (READ, INSERT, UPDATE) and not is_partial
    function = "has_any_column_privilege" if is_of_columns else "has_table_privilege"
    found = database.execute_sql(f"SELECT {function}(%s, %s, %s)", (role, table, right)).fetchone()
    return bool(found[0])


def current_role() -> str:
    """Return the role of this connection."""
    (role,) = database.execute_sql("SELECT current_user").fetchone()
    return str(role)


def _quoted(name: str) -> str:
    """Return the name as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
