"""The tests apply each cure as the doctor prints it. Afterwards the doctor finds no fault."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner

from daemon.node.calls import ADDING_CALLS, RPC_CALLS
from manage import manage
from models.db.connection import disconnect
from regtest.child import free_ports
from regtest.node import RegtestNode, rpcauth
from tests.functional.conftest import MerchantMaker
from tests.functional.test_doctor import FOREIGN_ADDRESS
from tests.support.customer import Customer
from tests.support.doctor import WALLET, Diagnosis, Installation
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.merchant import Merchant

pytestmark = [
    pytest.mark.bitcoind,
    pytest.mark.usefixtures("short_listening"),
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

LINE = re.compile(r"(?:zmqpub\w+|rpcwhitelist\w*|rest|wallet)=[^ ,;]+(?:,[^ ,;]+)*")


@pytest.fixture(scope="module")
def node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Return a node whose options the tests change."""
    node = start_node()
    node.mine(1, FOREIGN_ADDRESS)
    return node


@pytest.fixture
def installation(node: RegtestNode, tmp_path: Path) -> Iterator[Installation]:
    """Yield an installation. Afterwards the node has its usual options."""
    usual = list(node.extra)
    yield Installation(node, tmp_path)
    node.extra = usual
    disconnect()


def _restart(node: RegtestNode, *options: str) -> None:
    """Start the node again with these options too."""
    node.stop()
    node.extra += options
    node.launch()


def _lines(text: str) -> list[str]:
    """Return the lines for bitcoin.conf in a finding's text, as bitcoind's options."""
    return [f"-{line}" for line in LINE.findall(text)]


def _places(topic: str) -> Iterator[str]:
    """Yield addresses of each form that the setting takes."""
    (port,) = free_ports(1)
    yield f"tcp://127.0.0.1:{port}"
    yield f"tcp://localhost:{port}"


@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_the_printed_lines_publish_a_topic(installation: Installation, topic: str) -> None:
    """bitcoind accepts each form of the address."""
    with TemporaryDirectory() as directory:
        for place in (*_places(topic), f"ipc://{directory}/{topic}.sock"):
            setting = {f"BITCOIND_ZMQ_{topic.upper()}": place}
            _restart(installation.node, f"-nozmqpub{topic}")
            advised = installation.diagnose(**setting).wrong[topic]
            lines = _lines(advised)
            assert len(lines) == 2
            assert not any("ipc:" in line for line in lines)
            _restart(installation.node, *lines)
            assert installation.diagnose(**setting).state(topic) == "ok", advised
            installation.node.extra = [e for e in installation.node.extra if topic not in e]


def test_the_printed_setting_finds_the_topic(installation: Installation) -> None:
    """bitcoind publishes at a Unix socket, and the setting names a port."""
    with TemporaryDirectory() as directory:
        _restart(
            installation.node, "-nozmqpubrawtx", f"-zmqpubrawtx=unix:{directory}/feed", "-zmqpubrawtxhwm=0"
        )
        (port,) = free_ports(1)
        advised = installation.diagnose(BITCOIND_ZMQ_RAWTX=f"tcp://127.0.0.1:{port}").wrong["rawtx"]
        name, _, value = advised.rpartition("set ")[2].partition("=")
        assert installation.diagnose(**{name: value}).state("rawtx") == "ok"


def test_the_printed_lines_set_the_high_water_mark_and_rest(installation: Installation) -> None:
    """Each is one line."""
    _restart(installation.node, "-zmqpubrawtxhwm=1000", "-rest=0")
    found = installation.diagnose()
    (mark,) = [text for part, state, text in found.found if (part, state) == ("rawtx", "advice")]
    lines = _lines(mark) + _lines(found.text("blocks"))
    assert installation.diagnose(BITCOIND_REST="off").state("blocks") == "ok"
    installation.node.extra = [e for e in installation.node.extra if "hwm" not in e and "rest" not in e]
    _restart(installation.node, *lines)
    found = installation.diagnose()
    assert (found.state("rawtx"), found.state("blocks")) == ("ok", "ok")


def test_the_cures_of_disablewallet_and_blocksonly_work(installation: Installation) -> None:
    """The text names no whitelist. After the removal of the two lines, one command makes the wallet."""
    _restart(installation.node, "-disablewallet=1", "-blocksonly=1")
    by_cookie = {"BITCOIND_RPC_URL": f"http://127.0.0.1:{installation.node.rpc_port}"}
    for settings in ({}, by_cookie):
        found = installation.diagnose(**settings)
        assert set(found.wrong) == {"wallet", "relay"}
        assert "remove disablewallet=1 from bitcoin.conf" in found.wrong["wallet"]
        assert "remove blocksonly=1 from bitcoin.conf" in found.wrong["relay"]
        assert "rpcwhitelist" not in str(found.wrong)
    installation.node.extra = [
        e for e in installation.node.extra if "disablewallet" not in e and "blocksonly" not in e
    ]
    _restart(installation.node)
    found = installation.diagnose()
    assert set(found.wrong) == {"wallet"}
    assert "manage.py wallet create" in found.wrong["wallet"]
    assert CliRunner(env=installation.settings).invoke(manage, ["wallet", "create"]).exit_code == 0
    assert installation.diagnose().wrong == {}


def test_the_printed_line_loads_the_wallet(installation: Installation) -> None:
    installation.node.stop()
    installation.node.launch()
    names = installation.node.rpc("listwallets")
    if WALLET not in names:
        installation.node.rpc("createwallet", WALLET)
    installation.node.rpc("unloadwallet", WALLET, False)
    found = installation.diagnose()
    assert found.state("wallet") == "advice"
    (line,) = _lines(found.text("wallet"))
    _restart(installation.node, line)
    assert WALLET in installation.node.rpc("listwallets")
    assert installation.diagnose().state("wallet") == "ok"


def _whitelist_lines(found: Diagnosis) -> list[str]:
    return _lines(found.text("rpc user"))


def test_the_printed_whitelist_cures_a_wrong_one(installation: Installation) -> None:
    """The line replaces the other one, because bitcoind allows only the calls that both lines have."""
    if WALLET not in installation.node.rpc("listwallets"):
        installation.node.rpc("createwallet", WALLET)
    url = {"BITCOIND_RPC_URL": f"http://poor:p@127.0.0.1:{installation.node.rpc_port}"}
    for calls in (RPC_CALLS - {"getnewaddress"}, RPC_CALLS | {"sendtoaddress"}):
        short = f"-rpcwhitelist=poor:{','.join(calls)}"
        _restart(installation.node, f"-{rpcauth('poor', 'p')}", short)
        found = installation.diagnose(**url)
        assert "remove any other rpcwhitelist of poor" in found.text("rpc user")
        lines = _whitelist_lines(found)
        installation.node.extra.remove(short)
        _restart(installation.node, *lines)
        assert installation.diagnose(**url).state("rpc user") == "ok"
        installation.node.extra = [e for e in installation.node.extra if "poor" not in e]


def test_the_printed_user_replaces_the_cookie(installation: Installation) -> None:
    found = installation.diagnose(BITCOIND_RPC_URL=f"http://127.0.0.1:{installation.node.rpc_port}")
    url = found.text("rpc user").partition("BITCOIND_RPC_URL=")[2].partition(";")[0]
    lines = _whitelist_lines(found)
    # The node has a user of that name already, with this whitelist.
    assert f"-rpcwhitelist=nodetill:{','.join(sorted(RPC_CALLS | ADDING_CALLS))}" in lines
    found = installation.diagnose(BITCOIND_RPC_URL=url.replace("PASSWORD", installation.node.password))
    assert found.state("rpc user") == "ok"


def test_the_cure_of_a_refused_ip_address_is_rpcallowip(installation: Installation) -> None:
    """bitcoind answers 403 before it checks the user, where rpcallowip does not have the address."""
    with Endpoint(answers(403)) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        found = installation.diagnose(BITCOIND_RPC_URL=f"http://nodetill:s3cret@127.0.0.1:{port}")
    assert "rpcallowip" in found.wrong["bitcoind"]
    assert "rpcwhitelist" not in found.wrong["bitcoind"]


def test_the_printed_chmod_makes_files_private(installation: Installation, tmp_path: Path) -> None:
    """The files are the database, its directory, and a file with a secret."""
    with installation.database():
        pass
    secret = tmp_path / "secret"
    secret.write_text("a-long-enough-password")
    secret.chmod(0o600)
    database = tmp_path / "nodetill.db"
    settings = {"OPERATOR_PASSWORD_FILE": str(secret)}
    assert installation.diagnose(**settings).state("files") == "ok"
    for path, mode in ((database, 0o644), (tmp_path, 0o755), (secret, 0o604), (database, 0o620)):
        before = path.stat().st_mode
        path.chmod(mode)
        found = installation.diagnose(**settings)
        assert found.state("files") == "advice"
        assert f"{path}" in found.text("files")
        subprocess.run(["sh", "-c", found.text("files").rpartition(": ")[2]], check=True)
        assert installation.diagnose(**settings).state("files") == "ok"
        path.chmod(before)


def test_the_group_of_a_shared_directory_keeps_its_rights(installation: Installation, tmp_path: Path) -> None:
    """In the Debian install each server has a user of its own, and both write the database."""
    tmp_path.chmod(0o2770)
    with installation.database():
        assert installation.diagnose().state("files") == "ok"
    database = tmp_path / "nodetill.db"
    database.chmod(0o664)
    found = installation.diagnose()
    assert found.text("files").endswith(f": chmod o-rwx {database}")
    database.chmod(0o660)
    assert installation.diagnose().state("files") == "ok"


def test_a_short_operator_password_gets_advice(installation: Installation) -> None:
    """The text does not show the password."""
    found = installation.diagnose(OPERATOR_PASSWORD="tulip-hammer")
    assert found.state("password") == "advice"
    assert "at least 15 characters" in found.text("password")
    assert "tulip" not in str(found.found)
    assert installation.diagnose(OPERATOR_PASSWORD="tulip-hammer-of").state("password") == "ok"


def test_a_mail_server_without_login_needs_a_url_without_user(installation: Installation) -> None:
    with MailServer() as server:
        place = f"127.0.0.1:{server.address().port}?starttls=never"
        found = installation.diagnose(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        assert "remove USER:PASSWORD@ from SMTP_URL" in found.wrong["mail"]
        assert "correct the user and the password" not in found.wrong["mail"]
        assert installation.diagnose(SMTP_URL=f"smtp://{place}").state("mail") == "ok"


@pytest.mark.parametrize(
    ("command", "answer", "cure"),
    [
        ("MAIL", "451 greylisted", "no setting is wrong"),
        ("RCPT", "450 try later", "no setting is wrong"),
        ("MAIL", "553 not yours", "correct MAIL_FROM"),
        ("RCPT", "550 no such user", "correct OPERATOR_EMAIL"),
    ],
)
def test_a_temporary_refusal_of_mail_blames_no_setting(
    installation: Installation, command: str, answer: str, cure: str
) -> None:
    """Only a final refusal names a setting."""
    with MailServer() as server:
        server.answers[command] = answer
        found = installation.diagnose(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never")
    assert cure in found.wrong["mail"]


def test_the_printed_chmod_cures_an_env_file(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CONFIRMATIONS=3\nOPERATOR_PASSWORD=tulip-hammer-of\n")
    (tmp_path / ".env").chmod(0o644)
    text = installation.diagnose().text("settings")
    subprocess.run(shlex.split(text.rpartition(": ")[2]), check=True)
    assert installation.diagnose().state("settings") == "ok"


@pytest.mark.broad
def test_events_retry_delivers_an_email_that_was_given_up(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The mail server refuses the email, and the doctor reports that. After a retry the email comes once."""
    with MailServer() as server:
        merchant = make_merchant(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never").open()
        before = _diagnose(merchant)
        assert before.exit_status == 0, before.wrong
        assert before.state("daemon") == before.state("mail") == "ok"

        server.answers["RCPT"] = "550 no such user"
        order = merchant.request()
        customer.pay(order.address, order.amount_sats)
        order.wait("received")
        merchant.wait(lambda: _deliveries(order.event_list())[0]["failed_at"], "give the email up")
        ill = _diagnose(merchant)
        assert (ill.exit_status, {*ill.wrong}) == (1, {"messages", "mail"})
        (listed,) = merchant.installation.manage_json("events", "list")
        assert listed["payment_request_id"] == order.id
        assert "550 no such user" in listed["last_error"]

        del server.answers["RCPT"]
        merchant.installation.manage_json("events", "retry", order.id)
        merchant.wait(lambda: server.taken, "deliver the email")
        merchant.wait(order.is_all_delivered, "mark the email as delivered")
        well = _diagnose(merchant)
        assert (well.exit_status, well.wrong) == (0, {})
        assert merchant.installation.manage_json("events", "list") == []
        assert len(server.taken) == 1


def _diagnose(merchant: Merchant) -> Diagnosis:
    done = merchant.installation.manage("doctor", "--json")
    assert done.stderr == ""
    return Diagnosis(done.returncode, json.loads(done.stdout))


def _deliveries(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for event in events for each in event["deliveries"]]
