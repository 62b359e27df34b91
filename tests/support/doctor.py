"""An installation that the tests examine with `manage.py doctor`, and its findings."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from manage import manage
from models.db.connection import disconnect
from models.db.schema import open_database
from regtest.installation import settings_for
from regtest.node import RegtestNode

WALLET = "nodetill"
READY = {
    "PUBLIC_URL": "https://pay.example.com",
    "MAIL_FROM": "till@example.com",
    "OPERATOR_EMAIL": "you@example.com",
    "OPERATOR_PASSWORD": "correct-horse-battery-staple",
}
"""Settings with which an installation can do business."""


class Diagnosis:
    """The findings of one run of the doctor."""

    def __init__(self, exit_status: int, document: dict[str, Any]) -> None:
        self.exit_status = exit_status
        self.found: list[tuple[str, str, str]] = [
            (each["part"], each["state"], each["text"]) for each in document["findings"]
        ]
        assert document["is_well"] == (exit_status == 0)

    @property
    def wrong(self) -> dict[str, str]:
        """Return the parts that are wrong, with the doctor's text."""
        return {part: text for part, state, text in self.found if state == "wrong"}

    def state(self, part: str) -> str:
        return next(state for name, state, _ in self.found if name == part)

    def text(self, part: str) -> str:
        return next(text for name, _, text in self.found if name == part)


class Installation:
    """An installation whose daemon does not run, on the module's node."""

    def __init__(self, node: RegtestNode, directory: Path) -> None:
        self.node = node
        self.settings = settings_for(node, directory)

    def diagnose(self, *options: str, **settings: str) -> Diagnosis:
        """Run the doctor with these additional options and settings."""
        disconnect()
        result = CliRunner(env=self.settings | settings).invoke(manage, ["doctor", "--json", *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.stderr == ""
        return Diagnosis(result.exit_code, json.loads(result.stdout))

    @contextmanager
    def database(self) -> Iterator[None]:
        """Open the database for the length of the block."""
        open_database(self.settings["DATABASE_URL"])
        try:
            yield
        finally:
            disconnect()
