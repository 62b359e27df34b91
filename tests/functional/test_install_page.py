"""docs/install.md, line by line in a fresh Debian 13 until a payment. `make install-test` runs it.

The test needs root, debootstrap, the network, and the ports 80, 443, 8080, 8332, 28332 and 28333. `_replaced`
has the texts that it replaces. It differs from a real installation in four other points. No systemd runs, so
tests/support/systemctl.py starts the units without their sandbox. bitcoind comes from Debian's sid, and runs
on regtest. The mail server and the shop are the test's. No browser opens the pages.
"""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from regtest.fetch import fetch_bitcoind
from tests.support.debian_root import Shell, commit_sources, debian_shell
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.page_commands import page_commands
from tests.support.page_walk import Walk
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "install.md"
NAME = "pay.nodetill.test"
PORTS = (80, 443, 8080, 8332, 28332, 28333)
CLI = "sudo -u bitcoin bitcoin-cli"
CUSTOMER = f"{CLI} -rpcwallet=customer"
OPTIONAL = ("Watching", "Restore", "A chain with less work", "Downgrade", "PostgreSQL")
DESCRIPTOR = (
    "wpkh(tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPS"
    "tJRJCTKvosUCJZL5B/0/*)"
)
CERTIFICATE = (
    f"mkdir -p /etc/letsencrypt/live/{NAME} && openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
    f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME} -keyout /etc/letsencrypt/live/{NAME}/privkey.pem "
    f"-out /etc/letsencrypt/live/{NAME}/fullchain.pem && cp /etc/letsencrypt/live/{NAME}/fullchain.pem "
    f"/usr/local/share/ca-certificates/{NAME}.crt && update-ca-certificates"
)

pytestmark = [
    pytest.mark.install,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A root shell in a fresh Debian 13, with a shim for systemctl and the sources in /srv."""
    for port in PORTS:
        with socket.socket() as candidate:
            assert candidate.connect_ex(("127.0.0.1", port)) != 0, f"another program uses port {port}"
    with debian_shell() as shell:
        systemctl = shell.root / "usr/local/sbin/systemctl"
        shutil.copy(ROOT / "tests" / "support" / "systemctl.py", systemctl)
        systemctl.chmod(0o755)
        (shell.root / "etc/hosts").write_text(f"127.0.0.1 localhost {NAME} {socket.gethostname()}\n")
        commit_sources(shell.root / "srv" / "nodetill")
        _pack_bitcoind(shell.root / "srv")
        yield shell


def _pack_bitcoind(directory: Path) -> None:
    """Make an archive like Bitcoin Core's. Its programs run Debian's, on regtest with mainnet's port."""
    command = fetch_bitcoind(ROOT / ".bitcoind")
    fetched = ROOT / ".bitcoind" / "root"
    shutil.copytree(fetched, directory / "bitcoind", symlinks=True)
    inside = [part.replace(str(fetched), "/srv/bitcoind") for part in command[:-1]]
    options = "-chain=regtest -rpcport=8332 -rpccookiefile=/var/lib/bitcoind/.bitcoin/.cookie"
    more = {"bitcoind": "-listen=0 -fallbackfee=0.0001", "bitcoin-cli": ""}
    programs = directory / "bitcoin-29.2" / "bin"
    programs.mkdir(parents=True)
    for name, extra in more.items():
        script = f'#!/bin/sh\nexec {" ".join(inside)} /srv/bitcoind/usr/bin/{name} {options} {extra} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    archive = f"bitcoin-29.2-{os.uname().machine}-linux-gnu.tar.gz"
    subprocess.run(["tar", "-czf", archive, "bitcoin-29.2"], cwd=directory, check=True)
    sums = subprocess.run(["sha256sum", archive], cwd=directory, capture_output=True, check=True)
    (directory / "SHA256SUMS").write_bytes(sums.stdout)


def test_the_page_leads_from_a_fresh_debian_to_a_payment(shell: Shell) -> None:
    with MailServer(wants_login=True) as mail, Endpoint(answers(204)) as shop:
        walk = Walk(shell, _replaced(mail, shop))
        commands = [each for each in page_commands(PAGE.read_text()) if each.section not in OPTIONAL]
        for number, command in enumerate(commands):
            walk.do(command)
            is_last = command.section != (commands[number + 1].section if number + 1 < len(commands) else "")
            if is_last and command.section.startswith("4."):
                _begin_the_chain(shell)
            if is_last and command.section.startswith("7."):
                _check_the_start(walk, mail)
            if is_last and command.section.startswith("10."):
                _pay(walk, mail, shop)
        walk.assert_all_replaced()
    _run_the_night(shell)


def _replaced(mail: MailServer, shop: Endpoint) -> dict[str, str]:
    """Return the texts of the page that the test replaces: the reader's values, and calls of the internet."""
    archive = "https://bitcoincore.org/bin/bitcoin-core-$BITCOIN/"
    smtp = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{mail.address().port}?starttls=never"
    return {
        "NAME=pay.example.com": f"NAME={NAME}",
        "smtp://user:password@mail.example.com:587": smtp,
        "wpkh([d34db33f/84h/0h/0h]xpub.../0/*)": DESCRIPTOR,
        "SOURCE=https://example.com/nodetill.git": "SOURCE=file:///srv/nodetill",
        # This Debian has the clock of its host, and no service that answers timedatectl.
        "timedatectl show --property=NTPSynchronized": "true",
        f'curl -fLO "{archive}$ARCHIVE"': 'cp "/srv/$ARCHIVE" .',
        f'curl -fLO "{archive}SHA256SUMS"': "cp /srv/SHA256SUMS .",
        # No authority certifies this name.
        'certbot certonly --webroot -w /var/www/html -d "$NAME" -m "$OPERATOR" --agree-tos --no-eff-email '
        "--deploy-hook 'systemctl reload nginx'": CERTIFICATE,
        # Regtest has money without a price.
        "PUBLIC_URL=https://$NAME\n": "PUBLIC_URL=https://$NAME\nRATE_SOURCES=fixed:EUR=50000\nADDRESS_POOL=20\n",
        "https://shop.example/hook": shop.url,
    }


def _begin_the_chain(shell: Shell) -> None:
    """Give a customer coins. With a new block, bitcoind's initial download is over."""
    shell.run(f"{CLI} createwallet customer")
    shell.run(f"{CUSTOMER} generatetoaddress 101 $({CUSTOMER} getnewaddress) > /dev/null")
    assert '"initialblockdownload": false' in shell.run(f"{CLI} getblockchaininfo")


def _check_the_start(walk: Walk, mail: MailServer) -> None:
    """Assert that the doctor found no fault, and that the reader received the test email."""
    assert [str(email["Subject"]) for email in mail.taken] == ["Nodetill test email"]
    assert mail.recipients == ["you@example.com"]
    last = walk.output_of("nodetill doctor")
    assert " none failed, " in last, last
    assert "not tried" not in last, last
    advised = [re.split(r"\s{2,}", line)[1] for line in last.splitlines() if line.startswith("advice")]
    assert advised == ["sellers"], last


def _pay(walk: Walk, mail: MailServer, shop: Endpoint) -> None:
    """Pay the reader's request as a customer, and open its page."""
    assert '"status": "ok"' in walk.output_of('curl -f "https://$NAME/health"').replace('":"', '": "')
    assert json.loads(shop.requests[0].body)["type"] == "test"
    request = json.loads(_json_part(walk.output_of('curl -f "https://$NAME/api/v1/payments"')))
    assert request["checkout_url"].startswith(f"https://{NAME}/pay/")
    assert (request["amount_fiat"], request["currency"]) == ("1", "EUR")
    walk.shell.run(f"{CUSTOMER} sendtoaddress {request['address']} {request['amount_btc']}")
    _wait_for_email(mail, "Payment received")
    assert "Payment received" in walk.shell.run(f"curl -fsS {request['checkout_url']}")
    walk.shell.run(f"{CUSTOMER} generatetoaddress 6 $({CUSTOMER} getnewaddress) > /dev/null")
    _wait_for_email(mail, "Payment confirmed")
    assert request["payment_request_id"] in walk.shell.run("nodetill payment list --status confirmed")
    types = [json.loads(each.body)["type"] for each in shop.requests]
    assert types == ["test", "payment.received", "payment.confirmed"]


def _json_part(printed: str) -> str:
    """Return the JSON in curl's output, without curl's progress."""
    return printed[printed.index("{") : printed.rindex("}") + 1]


def _wait_for_email(mail: MailServer, subject: str) -> EmailMessage:
    def found() -> EmailMessage | None:
        starts = f"[regtest] {subject}"
        return next((each for each in mail.taken if str(each["Subject"]).startswith(starts)), None)

    email = wait_until(found, 60, f"the email {subject}")
    assert email is not None
    return email


def _run_the_night(shell: Shell) -> None:
    """Run the lines of the cron file as cron does. They print nothing, and leave the copies."""
    lines = (shell.root / "etc/cron.d/nodetill").read_text().splitlines()
    assert len(lines) == 4
    for name in ("nodetill/2020-01-01.db", "nodetill/2020-01-02.db"):
        (shell.root / "var/backups" / name).touch()
        os.utime(shell.root / "var/backups" / name, (0, 0))
    for line in lines:
        *_, user, command = line.split(None, 6)
        quoted = command.replace("\\%", "%").replace("'", "'\\''")
        assert shell.run(f"sudo -u {user} -H /bin/sh -c '{quoted}'") == "", line
    kept = {path.suffix: path.name for path in (shell.root / "var/backups/nodetill").glob("20*")}
    copies = sorted(path.name for path in (shell.root / "var/backups/nodetill").glob("20*"))
    assert (len(copies), copies[0], set(kept)) == (2, "2020-01-01.db", {".db"})
    assert len(list((shell.root / "var/backups/bitcoind").glob("20*.dat"))) == 1
