"""Each cure of the doctor is applied as it says, and the doctor finds that it worked."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from admin.doctor import feed as feed_diagnosis
from daemon.node.rpc import RPC_CALLS
from manage import manage
from models.db.connection import disconnect
from regtest.child import free_ports
from regtest.node import RegtestNode, rpcauth
from tests.functional.test_doctor import SOMEBODY, Diagnosis, Patient
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

WALLET = "nodetill"
LINE = re.compile(r"(?:zmqpub\w+|rpcwhitelist\w*|rest|wallet)=[^ ,;]+(?:,[^ ,;]+)*")


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(feed_diagnosis, "LISTEN_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Return a node whose options the tests change."""
    node = start_node()
    node.mine(1, SOMEBODY)
    return node


@pytest.fixture
def patient(node: RegtestNode, tmp_path: Path) -> Iterator[Patient]:
    """Yield an installation. Afterwards the node has its usual options."""
    usual = list(node.extra)
    yield Patient(node, tmp_path)
    node.extra = usual
    disconnect()


def _restart(node: RegtestNode, *options: str) -> None:
    """Start the node again with these options too."""
    node.stop()
    node.extra += options
    node.launch()


def _lines(text: str) -> list[str]:
    """Return the lines for bitcoin.conf in a finding, as options."""
    return [f"-{line}" for line in LINE.findall(text)]


def _places(topic: str) -> Iterator[str]:
    """Yield addresses of each form that the setting takes."""
    (port,) = free_ports(1)
    yield f"tcp://127.0.0.1:{port}"
    yield f"tcp://localhost:{port}"


@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_the_line_that_publishes_a_topic(patient: Patient, topic: str) -> None:
    """bitcoind starts with it, whatever form the address has."""
    with TemporaryDirectory() as directory:
        for place in (*_places(topic), f"ipc://{directory}/{topic}.sock"):
            setting = {f"BITCOIND_ZMQ_{topic.upper()}": place}
            _restart(patient.node, f"-nozmqpub{topic}")
            advised = patient.examine(**setting).wrong[topic]
            lines = _lines(advised)
            assert len(lines) == 2
            assert not any("ipc:" in line for line in lines)
            _restart(patient.node, *lines)
            assert patient.examine(**setting).state(topic) == "ok", advised
            patient.node.extra = [e for e in patient.node.extra if topic not in e]


def test_the_setting_that_follows_a_topic(patient: Patient) -> None:
    """bitcoind publishes at a Unix socket, and the setting names a port."""
    with TemporaryDirectory() as directory:
        _restart(patient.node, "-nozmqpubrawtx", f"-zmqpubrawtx=unix:{directory}/feed", "-zmqpubrawtxhwm=0")
        (port,) = free_ports(1)
        advised = patient.examine(BITCOIND_ZMQ_RAWTX=f"tcp://127.0.0.1:{port}").wrong["rawtx"]
        name, _, value = advised.rpartition("set ")[2].partition("=")
        assert patient.examine(**{name: value}).state("rawtx") == "ok"


def test_the_high_water_mark_and_rest(patient: Patient) -> None:
    """Each is one line."""
    _restart(patient.node, "-zmqpubrawtxhwm=1000", "-rest=0")
    found = patient.examine()
    lines = _lines(found.wrong["rawtx"]) + _lines(found.text("blocks"))
    assert patient.examine(BITCOIND_REST="off").state("blocks") == "ok"
    patient.node.extra = [e for e in patient.node.extra if "hwm" not in e and "rest" not in e]
    _restart(patient.node, *lines)
    found = patient.examine()
    assert (found.state("rawtx"), found.state("blocks")) == ("ok", "ok")


def test_a_node_without_wallets_and_with_blocks_alone(patient: Patient) -> None:
    """No whitelist has to do with it. Without the two lines, one command makes the wallet."""
    _restart(patient.node, "-disablewallet=1", "-blocksonly=1")
    by_cookie = {"BITCOIND_RPC_URL": f"http://127.0.0.1:{patient.node.rpc_port}"}
    for settings in ({}, by_cookie):
        found = patient.examine(**settings)
        assert set(found.wrong) == {"wallet", "relay"}
        assert "remove disablewallet=1 from bitcoin.conf" in found.wrong["wallet"]
        assert "remove blocksonly=1 from bitcoin.conf" in found.wrong["relay"]
        assert "rpcwhitelist" not in str(found.wrong)
    patient.node.extra = [e for e in patient.node.extra if "disablewallet" not in e and "blocksonly" not in e]
    _restart(patient.node)
    found = patient.examine()
    assert set(found.wrong) == {"wallet"}
    assert "manage.py wallet create" in found.wrong["wallet"]
    assert CliRunner(env=patient.settings).invoke(manage, ["wallet", "create"]).exit_code == 0
    assert patient.examine().wrong == {}


def test_the_line_that_loads_the_wallet(patient: Patient) -> None:
    """bitcoind loads it at its start."""
    patient.node.stop()
    patient.node.launch()
    names = patient.node.rpc("listwallets")
    if WALLET not in names:
        patient.node.rpc("createwallet", WALLET)
    patient.node.rpc("unloadwallet", WALLET, False)
    found = patient.examine()
    assert found.state("wallet") == "advice"
    (line,) = _lines(found.text("wallet"))
    _restart(patient.node, line)
    assert WALLET in patient.node.rpc("listwallets")
    assert patient.examine().state("wallet") == "ok"


def _of(found: Diagnosis) -> list[str]:
    return _lines(found.text("rpc user"))


def test_the_whitelist_of_a_user_who_may_too_little_or_too_much(patient: Patient) -> None:
    """It takes the place of the user's other one: of two lines bitcoind allows what both have."""
    if WALLET not in patient.node.rpc("listwallets"):
        patient.node.rpc("createwallet", WALLET)
    url = {"BITCOIND_RPC_URL": f"http://poor:p@127.0.0.1:{patient.node.rpc_port}"}
    for calls in (RPC_CALLS - {"getnewaddress"}, RPC_CALLS | {"sendtoaddress"}):
        short = f"-rpcwhitelist=poor:{','.join(calls)}"
        _restart(patient.node, f"-{rpcauth('poor', 'p')}", short)
        found = patient.examine(**url)
        assert "and no other rpcwhitelist of poor" in found.text("rpc user")
        lines = _of(found)
        patient.node.extra.remove(short)
        _restart(patient.node, *lines)
        assert patient.examine(**url).state("rpc user") == "ok"
        patient.node.extra = [e for e in patient.node.extra if "poor" not in e]


def test_a_user_of_its_own_in_the_place_of_the_cookie(patient: Patient) -> None:
    """With the URL that the doctor prints."""
    found = patient.examine(BITCOIND_RPC_URL=f"http://127.0.0.1:{patient.node.rpc_port}")
    url = found.text("rpc user").partition("BITCOIND_RPC_URL=")[2].partition(";")[0]
    lines = _of(found)
    # The node has a user of that name already, with this whitelist.
    assert f"-rpcwhitelist=nodetill:{','.join(sorted(RPC_CALLS))}" in lines
    found = patient.examine(BITCOIND_RPC_URL=url.replace("PASSWORD", patient.node.password))
    assert found.state("rpc user") == "ok"


def test_an_address_that_is_not_let_in_is_no_matter_of_the_whitelist(patient: Patient) -> None:
    """bitcoind answers so where rpcallowip does not have the address: 403, also without a user."""
    with Endpoint(answers(403)) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        found = patient.examine(BITCOIND_RPC_URL=f"http://nodetill:s3cret@127.0.0.1:{port}")
    assert "rpcallowip" in found.wrong["bitcoind"]
    assert "rpcwhitelist" not in found.wrong["bitcoind"]


def test_files_that_others_can_read(patient: Patient, tmp_path: Path) -> None:
    """The database, its directory, what lies beside it, and a file with a secret. chmod is the cure."""
    with patient.database():
        pass
    secret = tmp_path / "secret"
    secret.write_text("a-long-enough-password")
    secret.chmod(0o600)
    database = tmp_path / "nodetill.db"
    settings = {"OPERATOR_PASSWORD_FILE": str(secret)}
    assert patient.examine(**settings).state("files") == "ok"
    for path, mode in ((database, 0o644), (tmp_path, 0o755), (secret, 0o604), (database, 0o620)):
        before = path.stat().st_mode
        path.chmod(mode)
        found = patient.examine(**settings)
        assert found.state("files") == "advice"
        assert f"{path}" in found.text("files")
        subprocess.run(["sh", "-c", found.text("files").rpartition(": ")[2]], check=True)
        assert patient.examine(**settings).state("files") == "ok"
        path.chmod(before)


def test_the_group_of_a_shared_directory_keeps_its_rights(patient: Patient, tmp_path: Path) -> None:
    """In the Debian install each server has a user of its own, and both write the database."""
    tmp_path.chmod(0o2770)
    with patient.database():
        assert patient.examine().state("files") == "ok"
    database = tmp_path / "nodetill.db"
    database.chmod(0o664)
    found = patient.examine()
    assert found.text("files").endswith(f": chmod o-rwx {database}")
    database.chmod(0o660)
    assert patient.examine().state("files") == "ok"


def test_a_password_that_can_be_guessed(patient: Patient) -> None:
    """The doctor does not show it."""
    found = patient.examine(OPERATOR_PASSWORD="tulip-hammer")
    assert found.state("password") == "advice"
    assert "at least 15 characters" in found.text("password")
    assert "tulip" not in str(found.found)
    assert patient.examine(OPERATOR_PASSWORD="tulip-hammer-of").state("password") == "ok"


def test_a_mail_server_that_takes_no_login(patient: Patient) -> None:
    """Its address without the user is the cure."""
    with MailServer() as server:
        place = f"127.0.0.1:{server.address().port}?starttls=never"
        found = patient.examine(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        assert "remove USER:PASSWORD@ from SMTP_URL" in found.wrong["mail"]
        assert "correct the user and the password" not in found.wrong["mail"]
        assert patient.examine(SMTP_URL=f"smtp://{place}").state("mail") == "ok"


@pytest.mark.parametrize(
    ("command", "answer", "cure"),
    [
        ("MAIL", "451 greylisted", "no setting is wrong"),
        ("RCPT", "450 try later", "no setting is wrong"),
        ("MAIL", "553 not yours", "correct MAIL_FROM"),
        ("RCPT", "550 no such user", "correct OPERATOR_EMAIL"),
    ],
)
def test_a_refusal_for_now_blames_no_setting(patient: Patient, command: str, answer: str, cure: str) -> None:
    """Only a final refusal does."""
    with MailServer() as server:
        server.answers[command] = answer
        found = patient.examine(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never")
    assert cure in found.wrong["mail"]


def test_the_cure_of_an_env_file(patient: Patient, tmp_path: Path) -> None:
    """Others can read a password in it."""
    (tmp_path / ".env").write_text("CONFIRMATIONS=3\nOPERATOR_PASSWORD=tulip-hammer-of\n")
    (tmp_path / ".env").chmod(0o644)
    text = patient.examine().text("settings")
    subprocess.run(shlex.split(text.rpartition(": ")[2]), check=True)
    assert patient.examine().state("settings") == "ok"
