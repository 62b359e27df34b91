"""`manage.py database grant-web`: the smallest set of rights for the web server's PostgreSQL role."""

import click

from admin.cli import CommandError, answer, json_option, open_settings_and_database
from models.db.connection import DatabaseError
from models.db.web_role import grant_web_rights, web_roles


@click.command("grant-web")
@click.argument("role")
@json_option
def grant_web(role: str, as_json: bool) -> None:
    """Grant the web server's rights to a PostgreSQL role.

    \b
    createuser nodetill-web
    manage.py database grant-web nodetill-web

    Then set DATABASE_URL for run_web.py alone:

    \b
    DATABASE_URL=postgresql://nodetill-web@db.example.com/nodetill

    Run the command with the daemon's DATABASE_URL, whose role owns the tables. The command may run at any
    time, and again. An upgrade renews the rights by itself.
    With these rights the web server can't write an output, an event, a message or a status. It can't read the
    webhook secrets of standard endpoints. It can read those of btcpay endpoints.
    """
    with open_settings_and_database():
        try:
            grant_web_rights(role)
        except DatabaseError as error:
            raise CommandError(str(error)) from error
        roles = web_roles()
    answer(
        {"granted": role, "roles": roles}, f"{role} has the rights of the web server, and no others.", as_json
    )
