"""The Debian package in a fresh Debian 13: installed by docs/debian.md, upgraded, removed and purged.

`make deb-test` runs it. With DEB_ARCH=arm64, qemu emulates the processor of the fresh Debian. The test needs
root, debootstrap, the network and the port 8080. It differs from a real machine in three points. No systemd
runs, so tests/support/systemctl.py starts the units without their sandbox. bitcoind is the test's, on
regtest. The emails go into a Maildir.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regtest.client import Client
from regtest.node import CUSTOMER, RegtestNode
from tests.support.debian_root import Shell, debian_shell
from tests.support.emulation import ARCHITECTURE, FOREIGN, emulated
from tests.support.page_commands import page_commands
from tests.support.page_walk import Walk
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "debian.md"
URL = "http://127.0.0.1:8080"
OLD, NEW = "0.0.1~test", "0.0.2~test"
STATE, SECRETS = "/var/lib/nodetill", "/etc/nodetill/secrets"
SETTINGS = "/etc/nodetill/nodetill.env"
# The account key of BIP 84's test vectors, with the prefix of the test networks.
VPUB = (
    "vpub5YvMuJNjRSYon44z9QmCfdf8SqJRVNvz6m55Qy5iVjZQxDfUgtiQjnc7CC1fAbED2tAGCZRERUfvtn2DstZGU6HMns6dXXH2wu"
    "jSc2wfi2x"
)

pytestmark = [pytest.mark.install, pytest.mark.bitcoind, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of this checkout, as two versions."""
    output = tmp_path_factory.mktemp("packages")
    # The best compression takes half a minute for each.
    environ = os.environ | {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    for version in (OLD, NEW):
        subprocess.run([ROOT / "debian" / "build", ARCHITECTURE, version, output], env=environ, check=True)
    return {version: output / f"nodetill_{version}_{ARCHITECTURE}.deb" for version in (OLD, NEW)}


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A root shell in a fresh Debian that starts and stops units."""
    with socket.socket() as candidate:
        assert candidate.connect_ex(("127.0.0.1", 8080)) != 0, "another program uses the port 8080"
    with emulated(ARCHITECTURE), debian_shell(architecture=FOREIGN) as shell:
        # apt's path for the scripts of packages has no /usr/local.
        shell.run("dpkg-divert --quiet --local --rename --add /usr/bin/systemctl")
        systemctl = shell.root / "usr/bin/systemctl"
        shutil.copy(ROOT / "tests" / "support" / "systemctl.py", systemctl)
        systemctl.chmod(0o755)
        # Other packages start no server. (invoke-rc.d)
        (shell.root / "usr/sbin/policy-rc.d").write_text(
            "#!/bin/sh\ncase $1 in nodetill-*) exit 0 ;; esac\nexit 101\n"
        )
        # deb-systemd-invoke starts units only where systemd has booted.
        shell.run("mkdir -p /run/systemd/system /srv/packages && cd /srv/packages && apt-get -q update")
        yield shell


class Shop:
    """The shop of docs/debian.md, and its customer."""

    def __init__(self, api_key: str, node: RegtestNode) -> None:
        self._client = Client(URL, api_key)
        self._node = node

    def ask(self) -> dict[str, Any]:
        answer = self._client.post("/api/v1/payments", {"amount_fiat": "135.99", "currency": "EUR"})
        assert answer.status == 201, answer.body
        return dict(answer.document)

    def pay(self, request: dict[str, Any]) -> None:
        self._node.rpc("sendtoaddress", request["address"], request["amount_btc"], wallet=CUSTOMER)

    def wait_for(self, status: str, request: dict[str, Any]) -> None:
        path = f"/api/v1/payments/{request['payment_request_id']}"

        def has_it() -> bool:
            answer = self._client.try_get(path)
            return answer is not None and answer.status == 200 and answer.document["status"] == status

        wait_until(has_it, 300, f"the status {status}")


def test_the_package_is_installed_upgraded_removed_and_purged(
    shell: Shell, packages: dict[str, Path], node: RegtestNode
) -> None:
    _offer(shell, packages[OLD])
    walk = Walk(shell, _replaced(node))
    commands = list(page_commands(PAGE.read_text()))
    for command in commands:
        if command.section != "Upgrade":
            if command.text == "nodetill doctor":
                _wait_until_healthy()
            walk.do(command)
    walk.assert_all_replaced()
    assert " none failed, " in walk.output_of("nodetill doctor")
    _assert_private(shell)
    _assert_complete(shell)

    shop = Shop(walk.find(r"nt_[A-Za-z0-9_-]{20,}"), node)
    _pay_to_the_end(shop, node, shell, walk.output_of("nodetill wallet add"))
    _upgrade(walk, packages[NEW], shop, node)
    _remove(shell)
    _install_again(walk, shop, node)
    _purge(shell)


def _offer(shell: Shell, package: Path) -> None:
    """Put the package where the page's command finds it."""
    directory = shell.root / "srv/packages"
    for old in directory.glob("*.deb"):
        old.unlink()
    shutil.copy(package, directory)


def _replaced(node: RegtestNode) -> dict[str, str]:
    """Return the texts of the page that the test replaces by its own values."""
    settings = {
        "RATE_SOURCES": "fixed:EUR=50000",
        "ADDRESS_POOL": "20",
    }
    lines = "".join(f"\n{name}={value}" for name, value in settings.items())
    return {
        "http://nodetill:PASSWORD@127.0.0.1:8332": node.rpc_url,
        "smtp://user:password@mail.example.com:587": "maildir:mail",
        "PUBLIC_URL=https://pay.example.com": f"PUBLIC_URL=https://pay.example.com{lines}",
        "zpub...": VPUB,
    }


def _wait_until_healthy() -> None:
    client = Client(URL)

    def is_healthy() -> bool:
        answer = client.try_get("/health")
        return answer is not None and answer.status == 200

    wait_until(is_healthy, 600, "/health to answer 200")


def _assert_private(shell: Shell) -> None:
    """Other users read no secret, no setting and no database."""
    modes = shell.run(f"stat -c '%a %U %G %n' {SETTINGS} {SECRETS} {SECRETS}/* {STATE} {STATE}/nodetill.db")
    assert modes.splitlines() == [
        f"640 root nodetill {SETTINGS}",
        f"700 root root {SECRETS}",
        f"600 root root {SECRETS}/bitcoind-rpc-url",
        f"600 root root {SECRETS}/operator-password",
        f"600 root root {SECRETS}/smtp-url",
        f"2770 nodetill nodetill {STATE}",
        modes.splitlines()[-1],
    ]
    assert modes.splitlines()[-1].startswith("660 nodetill")
    assert len((shell.root / SECRETS[1:] / "operator-password").read_text().strip()) >= 20


def _assert_complete(shell: Shell) -> None:
    """Each library is there, each file has its checksum, and root alone changes the program."""
    libraries = "find /usr/lib/nodetill -name '*.so*' -exec ldd {} +"
    assert shell.run(f"{libraries} 2> /dev/null | grep 'not found' || true") == ""
    assert shell.run("dpkg --verify nodetill") == f"??5?????? c {SETTINGS}\n"
    assert shell.run("find /usr/lib/nodetill ! -user root -o -perm /022 ! -type l") == ""
    assert shell.run("nodetill --version").strip().endswith(_version())
    users = shell.run("ps -C python -o user:20=,args= | sort").split("\n")
    assert [line.split()[0] for line in users if "run_" in line] == ["nodetill", "nodetill-web"]


def _version() -> str:
    return (ROOT / "version.py").read_text().split('"')[-2]


def _pay_to_the_end(shop: Shop, node: RegtestNode, shell: Shell, shown: str) -> None:
    """Make the demo's payment: a request, a payment, six blocks, two emails.

    `shown` has the addresses that the operator compares with a device.
    """
    request = shop.ask()
    assert request["address"] in shown
    shop.pay(request)
    shop.wait_for("received", request)
    node.mine(6)
    shop.wait_for("confirmed", request)
    mails = shell.root / STATE[1:] / "mail" / "new"
    wait_until(lambda: len(list(mails.glob("*"))) == 2, 300, "both emails")
    assert request["payment_request_id"] in shell.run("nodetill payment list --status confirmed")


def _upgrade(walk: Walk, package: Path, shop: Shop, node: RegtestNode) -> None:
    """A payment is unconfirmed before the upgrade, and blocks come during the upgrade."""
    shell = walk.shell
    paid = shop.ask()
    shop.pay(paid)
    shop.wait_for("received", paid)
    before = {path: shell.run(f"cat {path}") for path in (SETTINGS, f"{SECRETS}/operator-password")}
    processes = _pids(shell)
    _offer(shell, package)
    node.mine(6)
    for command in page_commands(PAGE.read_text()):
        if command.section == "Upgrade":
            walk.do(command)
    assert shell.run("dpkg-query -W -f '${Version}' nodetill") == NEW
    assert not processes & _pids(shell), "a server was not restarted"
    _wait_until_healthy()
    shop.wait_for("confirmed", paid)
    for path, content in before.items():
        assert shell.run(f"cat {path}") == content
    _assert_private(shell)
    copies = shell.run("ls /var/backups/nodetill").split()
    assert [name.partition("-before-")[2] for name in copies] == [f"{NEW}.db"]


def _pids(shell: Shell) -> set[str]:
    found = set(shell.run("pgrep -f /usr/lib/nodetill/run_").split())
    assert len(found) == 2
    return found


def _remove(shell: Shell) -> None:
    """The program is gone. Settings, secrets and the database stay, and cron prints nothing."""
    shell.run("apt-get -qy remove nodetill")
    assert shell.run("pgrep -f /usr/lib/nodetill || true") == ""
    assert (
        shell.run(
            "ls -d /usr/lib/nodetill /usr/bin/nodetill /usr/lib/systemd/system/nodetill* || true"
        ).count("No such file")
        == 3
    )
    for path in (SETTINGS, f"{SECRETS}/bitcoind-rpc-url", f"{STATE}/nodetill.db", "/etc/cron.d/nodetill"):
        shell.run(f"test -e {path}")
    _run_the_night(shell)


def _run_the_night(shell: Shell) -> None:
    """Run the lines of the cron file as cron does, and assert that they print nothing."""
    for line in (shell.root / "etc/cron.d/nodetill").read_text().splitlines():
        if not line.startswith("#"):
            *_, command = line.split(None, 6)
            quoted = command.replace("\\%", "%").replace("'", "'\\''")
            assert shell.run(f"env -i PATH=/usr/bin:/bin HOME=/root /bin/sh -c '{quoted}'") == "", line


def _install_again(walk: Walk, shop: Shop, node: RegtestNode) -> None:
    """The payments are there, and cron's lines work."""
    walk.shell.run("apt-get -qy install ./nodetill_*.deb")
    _wait_until_healthy()
    assert len(walk.shell.run("nodetill payment list --status confirmed --json").split("PR-")) > 2
    _run_the_night(walk.shell)
    shop.wait_for("new", shop.ask())


def _purge(shell: Shell) -> None:
    """Settings, secrets and logs are gone. The database stays, and dpkg's output names it."""
    printed = shell.run("apt-get -qy purge nodetill")
    assert f"nodetill: {STATE} is kept" in printed
    assert shell.run("pgrep -f /usr/lib/nodetill || true") == ""
    for path in ("/etc/nodetill", "/etc/cron.d/nodetill", "/var/log/nodetill", f"{STATE}/.env"):
        shell.run(f"test ! -e {path} -a ! -L {path}")
    shell.run(f"test -e {STATE}/nodetill.db")
    assert shell.run("find /etc/systemd -name 'nodetill*'") == ""
    assert shell.run("dpkg -l nodetill 2>&1 | grep '^[a-z][a-z] ' || true") == ""


def test_lintian_finds_no_fault(shell: Shell, packages: dict[str, Path]) -> None:
    """debian/lintian-overrides has a reason for each exception."""
    _offer(shell, packages[NEW])
    shell.run("apt-get -qy install --no-install-recommends lintian")
    assert shell.run("lintian --fail-on error,warning --show-overrides ./nodetill_*.deb || true")
    shell.run("lintian --fail-on error,warning ./nodetill_*.deb")
