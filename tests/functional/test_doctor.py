"""`manage.py doctor` against everything that can be wrong: each is named, with what to do about it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from pysqlite3 import dbapi2

import models.db.connection
from admin.doctor import feed as feed_diagnosis
from admin.doctor.feed import FeedDiagnosis
from admin.doctor.findings import State
from admin.sellers import add_seller
from config import load_settings
from daemon.node.client import Bitcoind
from daemon.node.rpc import RPC_CALLS
from daemon.node.types import NodeTip
from manage import manage
from models.address import Address, add_addresses
from models.block import Block
from models.daemon_status import beat, update_report
from models.db.connection import database, disconnect
from models.db.schema import open_database
from models.outbox import Message
from models.rate import store_rates
from regtest.child import free_ports
from regtest.installation import settings_for
from regtest.node import RegtestNode, rpcauth
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_message, new_payment, script
from tests.support.rpc_fault_server import RpcFault, RpcFaultServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

WALLET = "nodetill"
SOMEBODY = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # BIP 173's, in regtest's prefix
READY = {
    "PUBLIC_URL": "https://pay.example.com",
    "MAIL_FROM": "till@example.com",
    "OPERATOR_EMAIL": "you@example.com",
    "OPERATOR_PASSWORD": "correct-horse-battery-staple",
}
COINBASE = b'{"data": {"currency": "BTC", "rates": {"EUR": "50000", "USD": "54000"}}}'


class Diagnosis:
    """What one run of the doctor found."""

    def __init__(self, exit_status: int, document: dict[str, Any]) -> None:
        self.exit_status = exit_status
        self.found: list[tuple[str, str, str]] = [
            (each["part"], each["state"], each["text"]) for each in document["findings"]
        ]
        assert document["is_well"] == (exit_status == 0)

    @property
    def wrong(self) -> dict[str, str]:
        """The parts that are wrong, and what is said of them."""
        return {part: text for part, state, text in self.found if state == "wrong"}

    def state(self, part: str) -> str:
        return next(state for name, state, _ in self.found if name == part)

    def text(self, part: str) -> str:
        return next(text for name, _, text in self.found if name == part)


class Patient:
    """An installation whose daemon does not run, on the module's node."""

    def __init__(self, node: RegtestNode, directory: Path) -> None:
        self.node = node
        self.settings = settings_for(node, directory)

    def examine(self, *options: str, **settings: str) -> Diagnosis:
        """By the doctor, with these options and settings besides."""
        disconnect()
        result = CliRunner(env=self.settings | settings).invoke(manage, ["doctor", "--json", *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.stderr == ""
        return Diagnosis(result.exit_code, json.loads(result.stdout))

    @contextmanager
    def database(self) -> Iterator[None]:
        """With its database open."""
        open_database(self.settings["DATABASE_URL"])
        try:
            yield
        finally:
            disconnect()


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """A node as bitcoin.conf.example sets it up, with the wallet."""
    node = start_node()
    node.rpc("createwallet", WALLET, False, False, "", False, True, True)
    node.mine(3)
    return node


@pytest.fixture(scope="module")
def poor_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """A node with a small mark, no hashblock, no REST; pruned; without Nodetill's wallet."""
    node = start_node("-zmqpubrawtxhwm=1000", "-nozmqpubhashblock", "-rest=0", "-fastprune", "-prune=1")
    node.mine(3)
    return node


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A quiet node is not listened to for long."""
    monkeypatch.setattr(feed_diagnosis, "LISTEN_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def patient(regtest_node: RegtestNode, tmp_path: Path) -> Iterator[Patient]:
    """Not opened for business yet: it has no database."""
    yield Patient(regtest_node, tmp_path)
    disconnect()


@pytest.fixture
def at_work(patient: Patient, tmp_path: Path) -> Patient:
    """One whose daemon is at work, by its database."""
    with patient.database():
        tip = patient.node.rpc("getblockchaininfo")
        Block.create(
            height=tip["blocks"], hash=tip["bestblockhash"], chainwork=tip["chainwork"], mined_at=_now()
        )
        update_report(chain="regtest", assessed_height=tip["blocks"])
        for _ in range(20):
            address = patient.node.rpc("getnewaddress", "", "bech32", wallet=WALLET)
            known = patient.node.rpc("getaddressinfo", address, wallet=WALLET)
            add_addresses([(address, bytes.fromhex(known["scriptPubKey"]))], WALLET, _now())
        store_rates("fixed", {"EUR": Decimal(50_000)}, _now())
        beat(_now(), tip["blocks"], [])
    return patient


def _now() -> datetime:
    return datetime.now(UTC)


# All is well


def test_before_the_first_start_all_is_well_and_what_is_missing_is_said(patient: Patient) -> None:
    """Exit status 0; and no database is made by looking for it."""
    found = patient.examine()
    assert found.wrong == {}
    assert found.exit_status == 0
    assert {found.state(part) for part in ("daemon", "addresses", "messages", "sellers")} == {"not tried"}
    assert "can't spend" in found.text("rpc user")
    assert not Path("nodetill.db").exists()


def test_beside_a_daemon_at_work_all_is_well(at_work: Patient) -> None:
    """Every part is ok, because the settings are those of a shop that customers can reach."""
    with at_work.database():
        add_seller("company1", {"webhook_url": "https://shop.example/hook"}, restore=False, now=_now())
    with MailServer() as server:
        found = at_work.examine(**READY, SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never")
    assert {state for _, state, _ in found.found} == {"ok"}, found.found


def test_messages_are_really_received(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction and a block while the doctor listens; on a quiet node it says that none came."""
    quiet = patient.examine()
    assert "none came" in quiet.text("rawtx")
    assert "no new block" in quiet.text("hashblock")
    monkeypatch.setattr(feed_diagnosis, "LISTEN_SECONDS", 20.0)
    is_done = threading.Event()

    def mine() -> None:
        while not is_done.wait(0.05):
            patient.node.mine()

    miner = threading.Thread(target=mine)
    miner.start()
    try:
        wait_until(lambda: _is_received(patient.examine(), patient.node), what="messages")
    finally:
        is_done.set()
        miner.join()


def _is_received(found: Diagnosis, node: RegtestNode) -> bool:
    places = {"rawtx": node.zmq_rawtx, "hashblock": node.zmq_hashblock}
    return all(found.text(topic) == f"comes from {place}" for topic, place in places.items())


def test_on_the_main_chain_silence_is_odd(patient: Patient, tmp_path: Path) -> None:
    """Transactions come several times a second there, but to a node without peers."""

    class OnMain(Bitcoind):
        def tip(self) -> NodeTip:
            return replace(super().tip(), chain="main")

    settings = load_settings(patient.settings, tmp_path)
    with closing(FeedDiagnosis(settings)) as feed, closing(OnMain(settings)) as node:
        found = {finding.part: finding for finding in feed.findings(node)}
    assert found["rawtx"].state is State.ADVICE
    assert "getconnectioncount" in found["rawtx"].text
    assert found["hashblock"].state is State.OK


# bitcoind


def test_a_bitcoind_that_is_off_is_named_and_the_rest_looked_at(patient: Patient) -> None:
    """What can't be asked is not called right."""
    (port,) = free_ports(1)
    found = patient.examine(BITCOIND_RPC_URL=f"http://nodetill:s3cret@127.0.0.1:{port}")
    assert found.exit_status == 1
    assert "cannot be reached" in found.wrong["bitcoind"]
    assert "BITCOIND_RPC_URL" in found.wrong["bitcoind"]
    unasked = ("chain", "sync", "pruning", "rpc user", "blocks", "wallet", "rawtx", "hashblock")
    assert {found.state(part) for part in unasked} == {"not tried"}
    assert (found.state("mail"), found.state("prices")) == ("advice", "ok")
    assert "s3cret" not in str(found.found)


def test_a_bitcoind_that_warms_up_is_waited_for(patient: Patient) -> None:
    """It says what it is doing."""
    with RpcFaultServer(patient.node) as server:
        server.begin(RpcFault.WARMUP)
        found = patient.examine(**server.settings)
    assert found.wrong["bitcoind"] == "bitcoind is starting (Loading block index): wait until it is done"


def test_a_wrong_password_is_named_and_not_shown(patient: Patient) -> None:
    """With the settings that may be wrong."""
    url = f"http://nodetill:wrong-password@127.0.0.1:{patient.node.rpc_port}"
    found = patient.examine(BITCOIND_RPC_URL=url)
    assert "refuses our password" in found.wrong["bitcoind"]
    assert "wrong-password" not in str(found.found)


def test_a_missing_cookie_is_named(patient: Patient, tmp_path: Path) -> None:
    """By its path."""
    url, cookie = f"http://127.0.0.1:{patient.node.rpc_port}", str(tmp_path / "nowhere")
    found = patient.examine(BITCOIND_RPC_URL=url, BITCOIND_COOKIE_FILE=cookie)
    assert cookie in found.wrong["bitcoind"]
    assert "BITCOIND_COOKIE_FILE" in found.wrong["bitcoind"]


def test_another_chain_than_the_databases_is_named(at_work: Patient) -> None:
    """Its blocks and addresses are not compared then."""
    with at_work.database():
        update_report(chain="main")
    found = at_work.examine()
    assert set(found.wrong) == {"chain"}
    assert "this database belongs to main" in found.wrong["chain"]


def test_blocks_that_are_pruned_before_they_were_read_are_named(
    poor_node: RegtestNode, tmp_path: Path
) -> None:
    """With the way to get them back; a pruned node alone is no fault."""
    patient = Patient(poor_node, tmp_path)
    poor_node.mine(1_000)
    lowest = poor_node.rpc("pruneblockchain", 700) + 1
    fresh = patient.examine()
    assert fresh.state("pruning") == "ok"
    assert f"from {lowest} on" in fresh.text("pruning")
    with patient.database():
        Block.create(height=3, hash=poor_node.rpc("getblockhash", 3), chainwork="0" * 64, mined_at=_now())
        beat(_now(), 3, [])
    found = patient.examine()
    assert f"blocks 4 to {lowest - 1} " in found.wrong["pruning"]
    assert "getblockfrompeer" in found.wrong["pruning"]


def test_what_bitcoin_conf_lacks_is_told_with_the_lines_to_add(
    poor_node: RegtestNode, tmp_path: Path
) -> None:
    """A topic, a high-water mark, a wallet, REST."""
    found = Patient(poor_node, tmp_path).examine()
    assert found.exit_status == 1
    assert "keeps 1000 messages" in found.wrong["rawtx"]
    assert "add zmqpubrawtxhwm=0 to bitcoin.conf" in found.wrong["rawtx"]
    assert (
        f"add zmqpubhashblock={poor_node.zmq_hashblock} and zmqpubhashblockhwm=0" in found.wrong["hashblock"]
    )
    assert "manage.py wallet create" in found.wrong["wallet"]
    assert found.state("blocks") == "advice"
    assert "rest=1" in found.text("blocks")


@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_a_topic_at_another_port_is_told_with_the_setting(patient: Patient, topic: str) -> None:
    """As it has to be."""
    variable, published = f"BITCOIND_ZMQ_{topic.upper()}", getattr(patient.node, f"zmq_{topic}")
    (port,) = free_ports(1)
    found = patient.examine(**{variable: f"tcp://127.0.0.1:{port}"})
    assert set(found.wrong) == {topic}
    assert found.wrong[topic].endswith(f"set {variable}={published}")


def test_a_publisher_that_can_not_be_reached_is_named(patient: Patient) -> None:
    """It is published, but not at that host."""
    port = patient.node.zmq_rawtx.rpartition(":")[2]
    found = patient.examine(BITCOIND_ZMQ_RAWTX=f"tcp://127.0.0.2:{port}")
    assert "cannot be reached (Connection refused)" in found.wrong["rawtx"]


# The RPC user


def test_a_user_that_may_spend_is_told_with_the_whitelist(patient: Patient) -> None:
    """The cookie's user may do all; what is tried moves nothing, and takes no address."""
    before = patient.node.rpc("getwalletinfo", wallet=WALLET)
    found = patient.examine(BITCOIND_RPC_URL=f"http://127.0.0.1:{patient.node.rpc_port}")
    assert set(found.wrong) == {"rpc user"}
    assert "sendtoaddress" in found.wrong["rpc user"]
    assert f"rpcwhitelist=nodetill:{','.join(sorted(RPC_CALLS))}" in found.wrong["rpc user"]
    assert patient.node.rpc("getwalletinfo", wallet=WALLET) == before


def test_a_whitelist_that_is_too_long_or_too_short_is_told(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """With the calls. A wallet without keys makes spending a matter of advice; one not loaded is loaded."""
    few = ",".join(sorted(RPC_CALLS - {"getnewaddress"}))
    node = start_node(
        f"-{rpcauth('spender', 'a')}",
        f"-rpcwhitelist=spender:{','.join(RPC_CALLS)},sendtoaddress",
        f"-{rpcauth('poor', 'b')}",
        f"-rpcwhitelist=poor:{few}",
    )
    node.mine(1, SOMEBODY)
    node.rpc("createwallet", WALLET, True)
    node.rpc("unloadwallet", WALLET)
    patient = Patient(node, tmp_path)
    spender = patient.examine(BITCOIND_RPC_URL=f"http://spender:a@127.0.0.1:{node.rpc_port}")
    assert spender.wrong == {}
    assert spender.text("rpc user").startswith("spender may call sendtoaddress; no wallet that is loaded")
    assert spender.state("wallet") == "advice"
    assert f"add wallet={WALLET} to bitcoin.conf" in spender.text("wallet")
    assert "watch-only" in spender.text("wallet")
    poor = patient.examine(BITCOIND_RPC_URL=f"http://poor:b@127.0.0.1:{node.rpc_port}")
    assert set(poor.wrong) == {"rpc user"}
    assert "does not let us call getnewaddress: " in poor.wrong["rpc user"]


# The wallet


def test_a_wallet_that_is_rescanning_is_waited_for(patient: Patient) -> None:
    """It can give no address meanwhile."""
    with RpcFaultServer(patient.node) as server:
        server.is_rescanning = True
        found = patient.examine(**server.settings)
    assert set(found.wrong) == {"wallet"}
    assert "is rescanning" in found.wrong["wallet"]


def test_a_wallet_that_does_not_know_the_addresses_is_named(at_work: Patient) -> None:
    """Money to them would not be in it."""
    with at_work.database():
        add_addresses([(SOMEBODY, script(1))], WALLET, _now())
    found = at_work.examine()
    assert set(found.wrong) == {"wallet"}
    assert f"does not know address {SOMEBODY}" in found.wrong["wallet"]


# The database and the daemon


def test_a_database_that_is_locked_is_told(at_work: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read; what it says is told all the same."""
    monkeypatch.setattr(models.db.connection, "LOCK_TIMEOUT_SECONDS", 0.1)
    path = at_work.settings["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(dbapi2.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = at_work.examine()
    assert set(found.wrong) == {"database"}
    assert "database is locked" in found.wrong["database"]


def test_a_database_that_can_not_be_written_is_told(
    at_work: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's, or a directory that it can't be made in."""
    monkeypatch.setitem(models.db.connection._SQLITE_PRAGMAS, "query_only", 1)
    assert "readonly" in at_work.examine().wrong["database"]
    monkeypatch.delitem(models.db.connection._SQLITE_PRAGMAS, "query_only")
    Path("file").write_text("")
    found = at_work.examine(DATABASE_URL="sqlite:///file/nodetill.db")
    assert "can't be made" in found.wrong["database"]
    assert found.state("daemon") == "not tried"


def test_a_read_only_postgresql_is_told(patient: Patient, postgres: PostgresServer) -> None:
    """As a standby is. A server that is not there is told without the password."""
    url = postgres.new_database()
    open_database(url)
    disconnect()
    assert patient.examine(DATABASE_URL=url).state("database") == "ok"
    with psycopg.connect(url, autocommit=True) as connection:
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    found = patient.examine(DATABASE_URL=url)
    assert "read-only" in found.wrong["database"]
    nowhere = patient.examine(DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/n")
    assert "correct DATABASE_URL" in nowhere.wrong["database"]
    assert "s3cret" not in str(nowhere.found)


def test_the_schema_of_another_version_is_told(at_work: Patient) -> None:
    """A newer one is wrong; an older one is for the daemon to bring up to date."""
    with at_work.database():
        database.execute_sql("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2030')")
    newer = at_work.examine()
    assert "newer Nodetill (migration 9999_future)" in newer.wrong["database"]
    with closing(dbapi2.connect("nodetill.db")) as connection, connection:
        connection.execute("DELETE FROM schema_migration")
    older = at_work.examine()
    assert older.wrong == {}
    assert older.state("database") == "advice"
    assert older.state("messages") == "not tried"


def test_a_daemon_that_is_silent_or_in_trouble_is_told(at_work: Patient) -> None:
    """One that has never run is no fault yet."""
    with at_work.database():
        beat(_now() - timedelta(hours=1), 3, [])
    assert "silent for 3600 s" in at_work.examine().wrong["daemon"]
    with at_work.database():
        beat(_now(), 3, ["it rains"])
    assert at_work.examine().wrong == {"daemon": "it rains"}
    with at_work.database():
        update_report(heartbeat_at=None)
    found = at_work.examine()
    assert found.wrong == {}
    assert found.state("daemon") == "advice"


def test_an_empty_pool_has_a_cure_that_is_not_the_doctor(at_work: Patient) -> None:
    """/health names the doctor, and the doctor names the daemon's log."""
    with at_work.database():
        Address.delete().execute()
    text = at_work.examine().wrong["addresses"]
    assert text.startswith("0 of 20 addresses are left")
    assert "see its log" in text
    assert "doctor" not in text


def test_messages_that_were_given_up_and_few_addresses_are_told(at_work: Patient) -> None:
    """With the commands that help."""
    with at_work.database():
        failed = {"next_attempt_at": None, "failed_at": _now(), "last_error": "the mail server said 550 no"}
        new_message(new_event(new_payment(address=Address.get())), **failed)
    found = at_work.examine(ADDRESS_POOL="500")
    assert set(found.wrong) == {"addresses", "messages"}
    assert "20 of 500" in found.wrong["addresses"]
    assert "1 could not be delivered" in found.wrong["messages"]
    assert "550 no" in found.wrong["messages"]
    assert "manage.py events retry" in found.wrong["messages"]
    with at_work.database():
        Message.update(failed_at=_now() - timedelta(days=31)).execute()
    assert at_work.examine().state("messages") == "ok"


# Mail


def test_a_mail_server_that_is_down_is_told(patient: Patient) -> None:
    """With what to correct."""
    found = patient.examine(SMTP_URL="smtp://127.0.0.1:1")
    assert "Connection refused" in found.wrong["mail"]
    assert "correct the host, the port and the kind of TLS in SMTP_URL" in found.wrong["mail"]
    assert "127.0.0.1:1" in found.wrong["mail"]


def test_a_login_is_tried_and_no_mail_is_sent(patient: Patient) -> None:
    """A wrong password is named as that, and not shown."""
    with MailServer(wants_login=True) as server:
        place = f"127.0.0.1:{server.address().port}?starttls=never"
        right = patient.examine(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        wrong = patient.examine(SMTP_URL=f"smtp://{USER}:s3cret@{place}")
        nobody = patient.examine(SMTP_URL=f"smtp://{place}")
        server.answers["RCPT"] = "550 no such user"
        stranger = patient.examine(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        assert server.taken == []
    assert right.state("mail") == "ok"
    assert "takes our login" in right.text("mail")
    assert "535" in wrong.wrong["mail"]
    assert "correct the user and the password in SMTP_URL" in wrong.wrong["mail"]
    assert "s3cret" not in str(wrong.found)
    assert "530" in nobody.wrong["mail"]
    assert "550 no such user" in stranger.wrong["mail"]
    assert "correct OPERATOR_EMAIL" in stranger.wrong["mail"]


def test_a_server_without_starttls_is_told(patient: Patient) -> None:
    """A password is never sent in the clear but where that was said."""
    with MailServer() as server:
        found = patient.examine(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}")
    assert "STARTTLS" in found.wrong["mail"]


def test_a_maildir_that_can_not_be_written_is_told(patient: Patient) -> None:
    """And one that isn't there yet is not made."""
    assert patient.examine(SMTP_URL="maildir:post").state("mail") == "advice"
    assert not Path("post").exists()
    Path("file").write_text("")
    found = patient.examine(SMTP_URL="maildir:file/mail")
    assert "can't be written" in found.wrong["mail"]
    assert "SMTP_URL=maildir:PATH" in found.wrong["mail"]


# Rates and the clock


def test_a_rate_source_that_is_down_is_told(patient: Patient) -> None:
    """The others still make a price; with none of them there is none."""
    with Endpoint(answers(200, COINBASE)) as good, Endpoint(answers(503)) as bad:
        urls = {"RATE_URL_COINBASE": good.url, "RATE_URL_KRAKEN": bad.url}
        one = patient.examine(RATE_SOURCES="coinbase,kraken", **urls)
        none = patient.examine(RATE_SOURCES="kraken", **urls)
    assert set(one.wrong) == {"rates: kraken"}
    assert "HTTP 503" in one.wrong["rates: kraken"]
    assert "RATE_URL_KRAKEN" in one.wrong["rates: kraken"]
    assert one.text("prices") == "there is one in EUR, USD"
    assert none.state("prices") == "not tried"
    assert "key=secret" not in str(none.found)


def test_a_currency_without_a_price_is_told(at_work: Patient) -> None:
    """Where shops ask for payments in it."""
    with at_work.database():
        new_payment(address=Address.get(), currency="NOK", created_at=_now())
    found = at_work.examine()
    assert set(found.wrong) == {"prices", "rates"}
    assert "no fresh price for NOK" in found.wrong["rates"]
    assert "no source has a price in NOK, which seller company1 uses" in found.wrong["prices"]


def test_a_source_that_is_far_off_is_told(patient: Patient) -> None:
    """And two that contradict each other make no price."""
    bitpay = b'{"data": [{"code": "EUR", "rate": 70000}, {"code": "USD", "rate": 54000}]}'
    coingecko = b'{"rates": {"eur": {"value": 50100, "type": "fiat"}}}'
    with (
        Endpoint(answers(200, COINBASE)) as first,
        Endpoint(answers(200, bitpay)) as second,
        Endpoint(answers(200, coingecko)) as third,
    ):
        urls = {
            "RATE_URL_COINBASE": first.url,
            "RATE_URL_BITPAY": second.url,
            "RATE_URL_COINGECKO": third.url,
        }
        found = patient.examine(RATE_SOURCES="coinbase,bitpay,coingecko", **urls)
    assert found.wrong["prices"].startswith("bitpay is more than 5 % off the others in EUR")


def test_a_clock_that_is_off_is_told(patient: Patient) -> None:
    """By the rate sources' own, and by the blocks' times."""
    an_hour_ago = format_datetime(_now() - timedelta(hours=1), usegmt=True)
    with Endpoint(answers(200, COINBASE, f"Date: {an_hour_ago}")) as source:
        found = patient.examine(RATE_SOURCES="coinbase", RATE_URL_COINBASE=source.url)
    assert set(found.wrong) == {"clock"}
    assert "s ahead of that of coinbase" in found.wrong["clock"]
    assert "NTP" in found.wrong["clock"]


def test_a_clock_behind_the_chains_blocks_is_told(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """No block is from the future."""
    node = start_node()
    node.rpc("createwallet", WALLET)
    node.rpc("setmocktime", int(_now().timestamp()) + 7200)
    node.mine(11)
    found = Patient(node, tmp_path).examine()
    assert set(found.wrong) == {"clock"}
    assert "behind that of bitcoind's newest blocks" in found.wrong["clock"]


# What is printed


def test_people_get_a_line_each_and_no_colours_in_a_file(patient: Patient) -> None:
    """The last line sums up."""
    result = CliRunner(env=patient.settings).invoke(manage, ["doctor"])
    *lines, empty, summary = result.stdout.splitlines()
    assert all(line.split("  ")[0].strip() in ("ok", "advice", "wrong", "not tried") for line in lines)
    assert (empty, "\x1b" in result.stdout) == ("", False)
    assert summary == f"{len(lines)} checks: none failed, 4 have advice, 4 skipped."
    ready = {**READY, "SMTP_URL": "smtp://127.0.0.1:1"}
    refused = CliRunner(env=patient.settings | ready).invoke(manage, ["doctor"])
    assert refused.stdout.endswith(" checks: 1 failed, 4 skipped. Start with: mail.\n")


def test_the_last_line_names_the_first_cause(at_work: Patient) -> None:
    """bitcoind is off, so the daemon has a problem, and most checks cannot be tried."""
    with at_work.database():
        beat(_now(), 3, ["bitcoind does not answer"])
    result = CliRunner(env=at_work.settings | {"BITCOIND_RPC_URL": "http://x:y@127.0.0.1:1"}).invoke(
        manage, ["doctor"]
    )
    assert result.stdout.splitlines()[-1].endswith(" skipped. Start with: bitcoind.")


def test_what_may_be_meant_for_us_is_told(patient: Patient) -> None:
    """A variable that is nearly one of ours, and a file of passwords that all can read."""
    assert "BITCOIN_RPC_URL is no setting, did you mean BITCOIND_RPC_URL?" in patient.examine(
        BITCOIN_RPC_URL="x"
    ).text("settings")
    Path(".env").write_text("CONFIRMATIONS=3\nMETRICS_TOKEN=0123456789abcdef0123456789abcdef\n")
    Path(".env").chmod(0o644)
    assert "other users can read METRICS_TOKEN in" in patient.examine().text("settings")
    assert "chmod 600" in patient.examine().text("settings")
    Path(".env").chmod(0o600)
    assert patient.examine().state("settings") == "ok"
