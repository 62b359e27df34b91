"""Each PostgreSQL URL that the settings accept connects to the server."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from config import SettingsError, load_settings
from models.db.connection import disconnect
from models.db.lock import database_lock
from models.db.schema import open_database
from tests.support.postgres import SPEED, PostgresServer


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """Return a directory whose name is short enough for a socket's path, and in which all may write."""
    directory = Path(tempfile.mkdtemp(prefix="nt"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(sockets: Path) -> Iterator[PostgresServer]:
    with PostgresServer(
        settings=(*SPEED, "listen_addresses=127.0.0.1,::1", f"unix_socket_directories={sockets}")
    ) as started:
        yield started


pytestmark = pytest.mark.postgresql

FORMS = (
    "postgresql://{user}@[::1]:{port}/{name}",
    "postgresql://{user}@localhost:{port}/{name}",
    "postgresql://{user}@127.0.0.1:1,[::1]:{port}/{name}",
    "postgresql:///{name}?host=127.0.0.1&port={port}&user={user}",
    "postgresql://{user}@{socket}:{port}/{name}",
    "postgresql:///{name}?host={socket}&port={port}&user={user}",
)


@pytest.mark.parametrize("form", FORMS)
def test_an_accepted_url_connects(server: PostgresServer, sockets: Path, tmp_path: Path, form: str) -> None:
    """Tables and lock connect with IPv6, a second host, a Unix socket and options."""
    name = urlsplit(server.new_database()).path.strip("/")
    socket = quote(str(sockets), safe="")
    url = form.format(user="nodetill", port=server.port, name=name, socket=socket)
    open_database(load_settings({"DATABASE_URL": url}, tmp_path).database_url.reveal())
    lock = database_lock("daemon")
    assert lock.acquire()
    lock.release()
    disconnect()


@pytest.mark.parametrize("url", ["postgresql://h/d#x", "postgresql://h/d/", "postgresql://h/d/x"])
def test_text_after_the_database_name_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="after the name"):
        load_settings({"DATABASE_URL": url}, tmp_path)
