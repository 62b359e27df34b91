"""The OCI image: both servers and a payment, not as root and on a read-only root. `make image-test` runs it.

With DEB_ARCH=arm64, qemu emulates the processor. The test needs root, buildah, debootstrap, and for the first
time the network.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regtest.child import free_ports
from regtest.client import Client
from regtest.node import CUSTOMER, RegtestNode
from tests.support.container import Image, Server, mounted
from tests.support.emulation import ARCHITECTURE, emulated
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
VERSION = "0.0.1~test"
UID = 10001

pytestmark = [pytest.mark.install, pytest.mark.bitcoind, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of this checkout."""
    assert os.geteuid() == 0, "only root can enter a container"
    assert shutil.which("buildah"), "apt install buildah"
    output = tmp_path_factory.mktemp("dist")
    environ = os.environ | {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    with emulated(ARCHITECTURE):
        for build in ("debian/build", "container/build"):
            subprocess.run([ROOT / build, ARCHITECTURE, VERSION, output], env=environ, check=True)
        with mounted(output / f"nodetill_{VERSION}_{ARCHITECTURE}.oci.tar") as image:
            yield image


class Containers:
    """The containers of container/compose.yaml: both servers, and commands in the daemon's."""

    def __init__(self, image: Image, node: RegtestNode, directory: Path) -> None:
        self.image = image
        self.port = free_ports(1)[0]
        self.volume = _owned(directory / "volume")
        self.secrets = {server: _owned(directory / f"secrets-{server}") for server in ("daemon", "web")}
        self._keep("daemon", "bitcoind-rpc-url", node.rpc_url)
        self._keep("daemon", "smtp-url", "maildir:mail")
        for server in self.secrets:
            self._keep(server, "operator-password", "correct horse battery staple")
        self._directory = directory
        self._variables = {
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "WEB_PORT": str(self.port),
            "RATE_SOURCES": "fixed:EUR=50000",
            "ADDRESS_POOL": "20",
        }

    def start(self, server: str) -> Server:
        return Server(self._command(server, server), self._directory / f"{server}.log")

    def run(self, server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the variables and secrets of a server's container."""
        command = self._command(server, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    def manage(self, *arguments: str) -> Any:
        done = self.run("daemon", "manage", *arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _command(self, server: str, *arguments: str) -> list[str]:
        names = [path.name for path in self.secrets[server].iterdir()]
        files = {f"{name.upper().replace('-', '_')}_FILE": f"/run/secrets/{name}" for name in names}
        variables = self._variables | files
        return self.image.command(list(arguments), variables, self.volume, self.secrets[server])

    def _keep(self, server: str, name: str, content: str) -> None:
        path = self.secrets[server] / name
        path.write_text(f"{content}\n")
        path.chmod(0o400)
        os.chown(path, UID, UID)


def _owned(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    os.chown(directory, UID, UID)
    return directory


@pytest.fixture
def containers(image: Image, node: RegtestNode, tmp_path: Path) -> Containers:
    return Containers(image, node, tmp_path)


@pytest.fixture
def start(containers: Containers) -> Iterator[Callable[[str], Server]]:
    started: list[Server] = []

    def start(server: str) -> Server:
        started.append(containers.start(server))
        return started[-1]

    yield start
    for server in started:
        server.kill()


def test_a_payment_is_made_through_the_image(
    containers: Containers, node: RegtestNode, start: Callable[[str], Server]
) -> None:
    daemon, web = start("daemon"), start("web")
    wait_until(
        lambda: containers.run("web", "health").returncode == 0, 600, "health to report that all is well"
    )
    report = containers.run("daemon", "manage", "doctor")
    assert " none failed, " in report.stdout, report.stdout
    client = Client(f"http://127.0.0.1:{containers.port}")
    client.api_key = containers.manage("seller", "add", "company1")["api_key"]
    request = client.post("/api/v1/payments", {"amount_fiat": "135.99", "currency": "EUR"}).document
    node.rpc("sendtoaddress", request["address"], request["amount_btc"], wallet=CUSTOMER)
    path = f"/api/v1/payments/{request['payment_request_id']}"
    wait_until(lambda: client.get(path).document["status"] == "received", 300, "the payment to be received")
    node.mine(6)
    wait_until(lambda: client.get(path).document["status"] == "confirmed", 300, "the payment to be confirmed")
    mails = containers.volume / "mail" / "new"
    wait_until(lambda: len(list(mails.glob("*"))) == 2, 300, "both emails")

    assert (web.stop(), daemon.stop()) == (0, 0)
    owners = {path.stat().st_uid for path in containers.volume.rglob("*")}
    others = [path for path in containers.volume.rglob("*") if path.stat().st_mode & 0o077]
    assert (owners, others) == ({UID}, [])


def test_health_has_the_exit_status_1_without_a_web_server(containers: Containers) -> None:
    done = containers.run("web", "health")
    assert (done.returncode, done.stderr.startswith("the web server does not answer: ")) == (1, True)


def test_nothing_but_the_volume_can_be_written(containers: Containers) -> None:
    """The image's user is not root, and has no right that root has given away."""
    assert containers.image.user == f"{UID}:{UID}"
    done = containers.run("daemon", "sh", "-c", "touch /usr/file /etc/file; touch file && id -u")
    assert done.stdout == f"{UID}\n"
    assert done.stderr.count("Read-only file system") == 2
    libraries = "find /usr/lib/nodetill -name '*.so*' -exec ldd {} + 2> /dev/null | grep 'not found'"
    assert containers.run("daemon", "sh", "-c", libraries).stdout == ""


def test_a_command_of_the_image_names_itself(containers: Containers) -> None:
    """Without a command the image prints the help of `manage`."""
    assert containers.image.config["Cmd"] == ["manage", "--help"]
    assert "doctor" in containers.run("daemon", *containers.image.config["Cmd"]).stdout
