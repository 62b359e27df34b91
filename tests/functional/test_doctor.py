"""`manage.py doctor` names each fault of an installation, with its cure."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import apsw
import psycopg
import pytest
from click.testing import CliRunner

import models.db.connection
from admin.doctor import feed as feed_diagnosis
from admin.doctor.feed import FeedDiagnosis
from admin.doctor.findings import State
from admin.seller.command import add_seller
from config import load_settings
from daemon.node.calls import ADDING_CALLS, RPC_CALLS
from daemon.node.client import Bitcoind
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
from regtest.node import RegtestNode, rpcauth
from tests.support.doctor import READY, WALLET, Diagnosis, Installation
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_message, new_payment, script
from tests.support.rpc_fault_server import RpcFault, RpcFaultServer
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.usefixtures("short_listening"),
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

FOREIGN_ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # BIP 173's, in regtest's prefix
COINBASE = b'{"data": {"currency": "BTC", "rates": {"EUR": "50000", "USD": "54000"}}}'


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Return a node with the wallet and with the settings of bitcoin.conf.example."""
    node = start_node()
    node.rpc("createwallet", WALLET, False, False, "", False, True, True)
    node.mine(3)
    return node


@pytest.fixture(scope="module")
def poor_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Return a pruned node with a low high-water mark, without hashblock, REST and wallet."""
    node = start_node("-zmqpubrawtxhwm=1000", "-nozmqpubhashblock", "-rest=0", "-fastprune", "-prune=1")
    node.mine(3)
    return node


@pytest.fixture
def installation(regtest_node: RegtestNode, tmp_path: Path) -> Iterator[Installation]:
    """Yield an installation that has no database yet."""
    yield Installation(regtest_node, tmp_path)
    disconnect()


@pytest.fixture
def running(installation: Installation, tmp_path: Path) -> Installation:
    """Return an installation whose daemon seems to run, because its database is fresh."""
    with installation.database():
        tip = installation.node.rpc("getblockchaininfo")
        Block.create(
            height=tip["blocks"], hash=tip["bestblockhash"], chainwork=tip["chainwork"], mined_at=_now()
        )
        update_report(chain="regtest", assessed_height=tip["blocks"])
        for _ in range(20):
            address = installation.node.rpc("getnewaddress", "", "bech32", wallet=WALLET)
            known = installation.node.rpc("getaddressinfo", address, wallet=WALLET)
            add_addresses([(address, bytes.fromhex(known["scriptPubKey"]))], WALLET, _now())
        store_rates("fixed", {"EUR": Decimal(50_000)}, _now())
        beat(_now(), tip["blocks"], [])
    return installation


def _now() -> datetime:
    return datetime.now(UTC)


# No fault


def test_before_the_first_start_nothing_is_wrong(installation: Installation) -> None:
    """The exit status is 0, and the doctor creates no database."""
    found = installation.diagnose()
    assert found.wrong == {}
    assert found.exit_status == 0
    assert {found.state(part) for part in ("daemon", "addresses", "messages", "sellers")} == {"not tried"}
    assert "can't spend" in found.text("rpc user")
    assert not Path("nodetill.db").exists()


def test_beside_a_running_daemon_all_parts_are_ok(running: Installation) -> None:
    """The settings are those of a shop that customers can reach."""
    with running.database():
        seen = {"name": "Alpaca Direct", "support": "help@shop.example"}
        add_seller(
            "company1", {"webhook_url": "https://shop.example/hook", **seen}, restore=False, now=_now()
        )
    with MailServer() as server:
        found = running.diagnose(**READY, SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never")
    assert {state for _, state, _ in found.found} == {"ok"}, found.found


def test_messages_of_the_feed_are_received(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction and a block come while the doctor listens. On a quiet node none comes."""
    quiet = installation.diagnose()
    assert "none came" in quiet.text("rawtx")
    assert "no new block" in quiet.text("hashblock")
    monkeypatch.setattr(feed_diagnosis, "LISTEN_SECONDS", 20.0)
    is_done = threading.Event()

    def mine() -> None:
        while not is_done.wait(0.05):
            installation.node.mine()

    miner = threading.Thread(target=mine)
    miner.start()
    try:
        wait_until(lambda: _is_received(installation.diagnose(), installation.node), what="messages")
    finally:
        is_done.set()
        miner.join()


def _is_received(found: Diagnosis, node: RegtestNode) -> bool:
    places = {"rawtx": node.zmq_rawtx, "hashblock": node.zmq_hashblock}
    return all(found.text(topic) == f"comes from {place}" for topic, place in places.items())


def test_a_silent_feed_on_the_main_chain_gets_advice(installation: Installation, tmp_path: Path) -> None:
    """Only a node without peers receives no transactions there."""

    class OnMain(Bitcoind):
        def tip(self) -> NodeTip:
            return replace(super().tip(), chain="main")

    settings = load_settings(installation.settings, tmp_path)
    with closing(OnMain(settings)) as node, closing(FeedDiagnosis(settings, node)) as feed:
        found = {finding.part: finding for finding in feed.findings(node)}
    assert found["rawtx"].state is State.ADVICE
    assert "getconnectioncount" in found["rawtx"].text
    assert found["hashblock"].state is State.OK


# bitcoind


def test_without_bitcoind_the_other_parts_are_checked(installation: Installation) -> None:
    """Checks that need bitcoind are not tried."""
    (port,) = free_ports(1)
    found = installation.diagnose(BITCOIND_RPC_URL=f"http://nodetill:s3cret@127.0.0.1:{port}")
    assert found.exit_status == 1
    assert "cannot be reached" in found.wrong["bitcoind"]
    assert "BITCOIND_RPC_URL" in found.wrong["bitcoind"]
    untried = ("chain", "sync", "pruning", "rpc user", "blocks", "wallet", "rawtx", "hashblock")
    assert {found.state(part) for part in untried} == {"not tried"}
    assert (found.state("mail"), found.state("prices")) == ("advice", "ok")
    assert "s3cret" not in str(found.found)


def test_a_starting_bitcoind_gets_the_advice_to_wait(installation: Installation) -> None:
    with RpcFaultServer(installation.node) as server:
        server.begin(RpcFault.WARMUP)
        found = installation.diagnose(**server.settings)
    assert found.wrong["bitcoind"] == "bitcoind is starting (Loading block index): wait until it is done"


def test_a_wrong_rpc_password_is_not_shown(installation: Installation) -> None:
    url = f"http://nodetill:wrong-password@127.0.0.1:{installation.node.rpc_port}"
    found = installation.diagnose(BITCOIND_RPC_URL=url)
    assert "refuses our password" in found.wrong["bitcoind"]
    assert "wrong-password" not in str(found.found)


def test_a_missing_cookie_file_is_named(installation: Installation, tmp_path: Path) -> None:
    url, cookie = f"http://127.0.0.1:{installation.node.rpc_port}", str(tmp_path / "nowhere")
    found = installation.diagnose(BITCOIND_RPC_URL=url, BITCOIND_COOKIE_FILE=cookie)
    assert cookie in found.wrong["bitcoind"]
    assert "BITCOIND_COOKIE_FILE" in found.wrong["bitcoind"]


def test_a_node_on_another_chain_is_wrong(running: Installation) -> None:
    """The doctor then compares no blocks and no addresses."""
    with running.database():
        update_report(chain="main")
    found = running.diagnose()
    assert set(found.wrong) == {"chain"}
    assert "this database belongs to main" in found.wrong["chain"]


def test_pruned_blocks_that_were_not_read_are_wrong(poor_node: RegtestNode, tmp_path: Path) -> None:
    """The text names a way to get them back. Pruning alone is ok."""
    installation = Installation(poor_node, tmp_path)
    poor_node.mine(1_000)
    lowest = poor_node.rpc("pruneblockchain", 700) + 1
    fresh = installation.diagnose()
    assert fresh.state("pruning") == "ok"
    assert f"from {lowest} on" in fresh.text("pruning")
    with installation.database():
        Block.create(height=3, hash=poor_node.rpc("getblockhash", 3), chainwork="0" * 64, mined_at=_now())
        beat(_now(), 3, [])
    found = installation.diagnose()
    assert f"blocks 4 to {lowest - 1} " in found.wrong["pruning"]
    assert "getblockfrompeer" in found.wrong["pruning"]


def test_missing_lines_of_bitcoin_conf_are_printed(poor_node: RegtestNode, tmp_path: Path) -> None:
    """A topic, a high-water mark, the wallet and REST are missing."""
    found = Installation(poor_node, tmp_path).diagnose()
    assert found.exit_status == 1
    (mark,) = [text for part, state, text in found.found if (part, state) == ("rawtx", "advice")]
    assert "keeps 1000 messages" in mark
    assert "add zmqpubrawtxhwm=0 to bitcoin.conf" in mark
    assert (
        f"add zmqpubhashblock={poor_node.zmq_hashblock} and zmqpubhashblockhwm=0" in found.wrong["hashblock"]
    )
    assert "manage.py wallet create" in found.wrong["wallet"]
    assert found.state("blocks") == "advice"
    assert "rest=1" in found.text("blocks")


@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_a_topic_at_another_port_gets_the_right_setting(installation: Installation, topic: str) -> None:
    variable, published = f"BITCOIND_ZMQ_{topic.upper()}", getattr(installation.node, f"zmq_{topic}")
    (port,) = free_ports(1)
    found = installation.diagnose(**{variable: f"tcp://127.0.0.1:{port}"})
    assert set(found.wrong) == {topic}
    assert found.wrong[topic].endswith(f"set {variable}={published}")


def test_an_unreachable_publisher_is_wrong(installation: Installation) -> None:
    """bitcoind publishes the topic at another host."""
    port = installation.node.zmq_rawtx.rpartition(":")[2]
    found = installation.diagnose(BITCOIND_ZMQ_RAWTX=f"tcp://127.0.0.2:{port}")
    assert "cannot be reached (Connection refused)" in found.wrong["rawtx"]


@pytest.mark.parametrize("is_auto", [True, False])
def test_the_choice_of_auto_is_printed(installation: Installation, is_auto: bool) -> None:
    """The doctor prints the two settings also where the settings have addresses of their own."""
    auto = {"BITCOIND_ZMQ_RAWTX": "auto", "BITCOIND_ZMQ_HASHBLOCK": "auto"} if is_auto else {}
    found = installation.diagnose(**auto)
    node = installation.node
    assert found.text("feed") == (
        f"auto chooses BITCOIND_ZMQ_RAWTX={node.zmq_rawtx} and BITCOIND_ZMQ_HASHBLOCK={node.zmq_hashblock}"
    )
    assert [found.state(part) for part in ("feed", "rawtx", "hashblock")] == ["ok"] * 3


def test_a_node_without_a_feed_gets_advice(poor_node: RegtestNode, tmp_path: Path) -> None:
    """With auto, a topic that bitcoind does not publish is no fault."""
    auto = {"BITCOIND_ZMQ_RAWTX": "auto", "BITCOIND_ZMQ_HASHBLOCK": "auto"}
    found = Installation(poor_node, tmp_path).diagnose(**auto)
    assert not found.wrong.keys() & {"feed", "rawtx", "hashblock"}
    assert found.text("feed") == f"auto chooses BITCOIND_ZMQ_RAWTX={poor_node.zmq_rawtx}"
    assert "neither hashblock nor rawblock" in found.text("hashblock")


# The RPC user


def test_a_user_that_may_spend_gets_a_whitelist(installation: Installation) -> None:
    """The cookie's user may call everything. The doctor's attempts send no money, and use no address."""
    before = installation.node.rpc("getwalletinfo", wallet=WALLET)
    found = installation.diagnose(BITCOIND_RPC_URL=f"http://127.0.0.1:{installation.node.rpc_port}")
    assert set(found.wrong) == {"rpc user"}
    assert "sendtoaddress" in found.wrong["rpc user"]
    assert f"rpcwhitelist=nodetill:{','.join(sorted(RPC_CALLS | ADDING_CALLS))}" in found.wrong["rpc user"]
    assert installation.node.rpc("getwalletinfo", wallet=WALLET) == before


def test_a_whitelist_that_is_too_long_or_too_short_is_named(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """The text names the calls. Permission to spend gets only advice, because the wallet has no keys.

    The doctor loads the unloaded wallet.
    """
    few = ",".join(sorted(RPC_CALLS - {"getnewaddress"}))
    node = start_node(
        f"-{rpcauth('spender', 'a')}",
        f"-rpcwhitelist=spender:{','.join(RPC_CALLS)},sendtoaddress",
        f"-{rpcauth('poor', 'b')}",
        f"-rpcwhitelist=poor:{few}",
        f"-{rpcauth('slow', 'c')}",
        f"-rpcwhitelist=slow:{','.join(sorted(RPC_CALLS - {'getzmqnotifications'}))}",
    )
    node.mine(1, FOREIGN_ADDRESS)
    node.rpc("createwallet", WALLET, True)
    node.rpc("unloadwallet", WALLET)
    installation = Installation(node, tmp_path)
    spender = installation.diagnose(BITCOIND_RPC_URL=f"http://spender:a@127.0.0.1:{node.rpc_port}")
    assert spender.wrong == {}
    assert spender.text("rpc user").startswith("spender may call sendtoaddress; no wallet that is loaded")
    assert spender.state("wallet") == "advice"
    assert f"add wallet={WALLET} to bitcoin.conf" in spender.text("wallet")
    assert "watch-only" in spender.text("wallet")
    poor = installation.diagnose(BITCOIND_RPC_URL=f"http://poor:b@127.0.0.1:{node.rpc_port}")
    assert set(poor.wrong) == {"rpc user"}
    assert "does not let us call getnewaddress: " in poor.wrong["rpc user"]
    auto = {"BITCOIND_ZMQ_RAWTX": "auto", "BITCOIND_ZMQ_HASHBLOCK": "auto"}
    slow = installation.diagnose(BITCOIND_RPC_URL=f"http://slow:c@127.0.0.1:{node.rpc_port}", **auto)
    assert slow.wrong == {}
    assert "rpcwhitelist=slow:…,getzmqnotifications" in slow.text("feed")
    assert "does not let us call getzmqnotifications: write rpcwhitelist=slow:" in slow.text("rpc user")


# The wallet


def test_a_rescanning_wallet_is_wrong(installation: Installation) -> None:
    """The wallet can't make addresses during the rescan."""
    with RpcFaultServer(installation.node) as server:
        server.is_rescanning = True
        found = installation.diagnose(**server.settings)
    assert set(found.wrong) == {"wallet"}
    assert "is rescanning" in found.wrong["wallet"]


def test_a_wallet_without_our_addresses_is_wrong(running: Installation) -> None:
    """Money to these addresses would not be in the wallet."""
    with running.database():
        add_addresses([(FOREIGN_ADDRESS, script(1))], WALLET, _now())
    found = running.diagnose()
    assert set(found.wrong) == {"wallet"}
    assert f"lacks address {FOREIGN_ADDRESS}" in found.wrong["wallet"]


# The database and the daemon


def test_a_locked_database_is_wrong(running: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor can still read it, and checks the other parts."""
    monkeypatch.setattr(models.db.connection, "LOCK_TIMEOUT_SECONDS", 0.1)
    path = running.settings["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(apsw.Connection(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = running.diagnose()
    assert set(found.wrong) == {"database"}
    assert "database is locked" in found.wrong["database"]


def test_an_unwritable_database_is_wrong(running: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read-only, or its directory does not permit a new file."""
    monkeypatch.setitem(models.db.connection._SQLITE_PRAGMAS, "query_only", 1)
    assert "readonly" in running.diagnose().wrong["database"]
    monkeypatch.delitem(models.db.connection._SQLITE_PRAGMAS, "query_only")
    Path("file").write_text("")
    found = running.diagnose(DATABASE_URL="sqlite:///file/nodetill.db")
    assert "can't be made" in found.wrong["database"]
    assert found.state("daemon") == "not tried"


def test_a_read_only_postgresql_is_wrong(installation: Installation, postgres: PostgresServer) -> None:
    """A standby is read-only. An unreachable server is wrong too, and the text has no password."""
    url = postgres.new_database()
    open_database(url)
    disconnect()
    assert installation.diagnose(DATABASE_URL=url).state("database") == "ok"
    with psycopg.connect(url, autocommit=True) as connection:
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    found = installation.diagnose(DATABASE_URL=url)
    assert "read-only" in found.wrong["database"]
    nowhere = installation.diagnose(DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/n")
    assert "correct DATABASE_URL" in nowhere.wrong["database"]
    assert "s3cret" not in str(nowhere.found)


def test_a_schema_of_another_version_is_named(running: Installation) -> None:
    """A newer schema is wrong. An older one gets advice, because the daemon upgrades it."""
    with running.database():
        database.execute_sql("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2030')")
    newer = running.diagnose()
    assert "newer Nodetill (migration 9999_future)" in newer.wrong["database"]
    with closing(apsw.Connection("nodetill.db")) as connection:
        connection.execute("DELETE FROM schema_migration")
    older = running.diagnose()
    assert older.wrong == {}
    assert older.state("database") == "advice"
    assert older.state("messages") == "not tried"


def test_a_silent_daemon_or_its_problem_is_wrong(running: Installation) -> None:
    """A daemon that has never run gets advice."""
    with running.database():
        beat(_now() - timedelta(hours=1), 3, [])
    assert "silent for 3600 s" in running.diagnose().wrong["daemon"]
    with running.database():
        beat(_now(), 3, ["it rains"])
    assert running.diagnose().wrong == {"daemon": "it rains"}
    with running.database():
        update_report(heartbeat_at=None)
    found = running.diagnose()
    assert found.wrong == {}
    assert found.state("daemon") == "advice"


def test_the_cure_of_an_empty_pool_is_not_the_doctor(running: Installation) -> None:
    """/health names the doctor, and the doctor names the daemon's log."""
    with running.database():
        Address.delete().execute()
    text = running.diagnose().wrong["addresses"]
    assert text.startswith("0 of 20 addresses are left")
    assert "see its log" in text
    assert "doctor" not in text


def test_given_up_messages_and_few_addresses_are_wrong(running: Installation) -> None:
    """The text names the commands that help."""
    with running.database():
        failed = {"next_attempt_at": None, "failed_at": _now(), "last_error": "the mail server said 550 no"}
        new_message(new_event(new_payment(address=Address.get())), **failed)
    found = running.diagnose(ADDRESS_POOL="500")
    assert set(found.wrong) == {"addresses", "messages"}
    assert "20 of 500" in found.wrong["addresses"]
    assert "1 could not be delivered" in found.wrong["messages"]
    assert "550 no" in found.wrong["messages"]
    assert "manage.py events retry" in found.wrong["messages"]
    with running.database():
        Message.update(failed_at=_now() - timedelta(days=31)).execute()
    assert running.diagnose().state("messages") == "ok"


# Mail


def test_an_unreachable_mail_server_is_wrong(installation: Installation) -> None:
    """The text names the parts of SMTP_URL to correct."""
    found = installation.diagnose(SMTP_URL="smtp://127.0.0.1:1")
    assert "Connection refused" in found.wrong["mail"]
    assert "correct the host, the port and the kind of TLS in SMTP_URL" in found.wrong["mail"]
    assert "127.0.0.1:1" in found.wrong["mail"]


def test_the_doctor_tries_the_login_and_sends_no_mail(installation: Installation) -> None:
    """A wrong password is wrong, and the text does not show it."""
    with MailServer(wants_login=True) as server:
        place = f"127.0.0.1:{server.address().port}?starttls=never"
        right = installation.diagnose(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        wrong = installation.diagnose(SMTP_URL=f"smtp://{USER}:s3cret@{place}")
        no_login = installation.diagnose(SMTP_URL=f"smtp://{place}")
        server.answers["RCPT"] = "550 no such user"
        unknown_recipient = installation.diagnose(SMTP_URL=f"smtp://{USER}:{PASSWORD}@{place}")
        assert server.taken == []
    assert right.state("mail") == "ok"
    assert "takes our login" in right.text("mail")
    assert "535" in wrong.wrong["mail"]
    assert "correct the user and the password in SMTP_URL" in wrong.wrong["mail"]
    assert "s3cret" not in str(wrong.found)
    assert "530" in no_login.wrong["mail"]
    assert "550 no such user" in unknown_recipient.wrong["mail"]
    assert "correct OPERATOR_EMAIL" in unknown_recipient.wrong["mail"]


def test_a_mail_server_without_starttls_is_wrong(installation: Installation) -> None:
    """The doctor never sends a password without TLS, except with starttls=never."""
    with MailServer() as server:
        found = installation.diagnose(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}")
    assert "STARTTLS" in found.wrong["mail"]


def test_an_unwritable_maildir_is_wrong(installation: Installation) -> None:
    """The doctor does not create a missing Maildir."""
    assert installation.diagnose(SMTP_URL="maildir:post").state("mail") == "advice"
    assert not Path("post").exists()
    Path("file").write_text("")
    found = installation.diagnose(SMTP_URL="maildir:file/mail")
    assert "can't be written" in found.wrong["mail"]
    assert "SMTP_URL=maildir:PATH" in found.wrong["mail"]


# Rates and the clock


def test_a_rate_source_that_is_down_is_wrong(installation: Installation) -> None:
    """The other sources still give a price. Without any source there is no price."""
    with Endpoint(answers(200, COINBASE)) as good, Endpoint(answers(503)) as bad:
        urls = {"RATE_URL_COINBASE": good.url, "RATE_URL_KRAKEN": bad.url}
        one = installation.diagnose(RATE_SOURCES="coinbase,kraken", **urls)
        none = installation.diagnose(RATE_SOURCES="kraken", **urls)
    assert set(one.wrong) == {"rates: kraken"}
    assert "HTTP 503" in one.wrong["rates: kraken"]
    assert "RATE_URL_KRAKEN" in one.wrong["rates: kraken"]
    assert one.text("prices") == "there is one in EUR, USD"
    assert none.state("prices") == "not tried"
    assert "key=secret" not in str(none.found)


def test_a_used_currency_without_a_price_is_wrong(running: Installation) -> None:
    """A payment request uses this currency."""
    with running.database():
        new_payment(address=Address.get(), currency="NOK", created_at=_now())
    found = running.diagnose()
    assert set(found.wrong) == {"prices", "rates"}
    assert "no fresh price for NOK" in found.wrong["rates"]
    assert "no source has a price in NOK, which seller company1 uses" in found.wrong["prices"]


def test_a_rate_far_from_the_others_is_wrong(installation: Installation) -> None:
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
        found = installation.diagnose(RATE_SOURCES="coinbase,bitpay,coingecko", **urls)
    assert found.wrong["prices"].startswith("bitpay is more than 5 % off the others in EUR")


def test_a_market_rate_beside_official_ones_is_advice(running: Installation) -> None:
    """Only a currency that a shop uses is named. A source that is off in a few currencies is not broken."""
    coinbase = b'{"data":{"currency":"BTC","rates":{"EUR":"50000","USD":"54000","ARS":"50000000"}}}'
    bitpay = b'{"data":[{"code":"EUR","rate":50000},{"code":"ARS","rate":50000000}]}'
    yadio = b'{"BTC":{"EUR":50000,"USD":54000,"ARS":70000000},"base":"BTC"}'
    with (
        Endpoint(answers(200, coinbase)) as first,
        Endpoint(answers(200, bitpay)) as second,
        Endpoint(answers(200, yadio)) as third,
    ):
        urls = {"RATE_URL_COINBASE": first.url, "RATE_URL_BITPAY": second.url, "RATE_URL_YADIO": third.url}
        unused = running.diagnose(RATE_SOURCES="coinbase,bitpay,yadio", **urls)
        with running.database():
            new_payment(address=Address.get(), currency="ARS", created_at=_now())
        used = running.diagnose(RATE_SOURCES="coinbase,bitpay,yadio", **urls)
    assert (unused.state("prices"), used.state("prices")) == ("ok", "advice")
    assert used.text("prices").startswith("yadio is more than 5 % off the others in ARS, and left out")


def test_old_prices_of_a_source_have_their_cure(installation: Installation) -> None:
    """A mempool of one's own asks the exchanges once an hour."""
    an_hour_ago = int(_now().timestamp()) - 3600
    with Endpoint(answers(200, b'{"time":%d,"EUR":50000}' % an_hour_ago)) as source:
        found = installation.diagnose(RATE_SOURCES="mempool", RATE_URL_MEMPOOL=source.url)
    assert "the source's own prices are 36" in found.wrong["rates: mempool"]
    assert "PRICE_UPDATES_PER_HOUR" in found.wrong["rates: mempool"]


def test_a_clock_ahead_of_the_rate_sources_is_wrong(installation: Installation) -> None:
    an_hour_ago = format_datetime(_now() - timedelta(hours=1), usegmt=True)
    with Endpoint(answers(200, COINBASE, f"Date: {an_hour_ago}")) as source:
        found = installation.diagnose(RATE_SOURCES="coinbase", RATE_URL_COINBASE=source.url)
    assert set(found.wrong) == {"clock"}
    assert "s ahead of that of coinbase" in found.wrong["clock"]
    assert "NTP" in found.wrong["clock"]


def test_a_clock_behind_the_newest_blocks_is_wrong(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    node = start_node()
    node.rpc("createwallet", WALLET)
    node.rpc("setmocktime", int(_now().timestamp()) + 7200)
    node.mine(11)
    found = Installation(node, tmp_path).diagnose()
    assert set(found.wrong) == {"clock"}
    assert "behind that of bitcoind's newest blocks" in found.wrong["clock"]


# The output


def test_each_check_has_a_line_without_colours_in_a_file(installation: Installation) -> None:
    """The last line has the sums."""
    result = CliRunner(env=installation.settings).invoke(manage, ["doctor"])
    *lines, empty, summary = result.stdout.splitlines()
    assert all(line.split("  ")[0].strip() in ("ok", "advice", "wrong", "not tried") for line in lines)
    assert (empty, "\x1b" in result.stdout) == ("", False)
    assert summary == f"{len(lines)} checks: none failed, 4 have advice, 4 skipped."
    ready = {**READY, "SMTP_URL": "smtp://127.0.0.1:1"}
    refused = CliRunner(env=installation.settings | ready).invoke(manage, ["doctor"])
    assert refused.stdout.endswith(" checks: 1 failed, 4 skipped. Start with: mail.\n")


def test_the_last_line_names_the_first_cause(running: Installation) -> None:
    """bitcoind is off, so the daemon has a problem, and the doctor skips most checks."""
    with running.database():
        beat(_now(), 3, ["bitcoind does not answer"])
    result = CliRunner(env=running.settings | {"BITCOIND_RPC_URL": "http://x:y@127.0.0.1:1"}).invoke(
        manage, ["doctor"]
    )
    assert result.stdout.splitlines()[-1].endswith(" skipped. Start with: bitcoind.")


def test_similar_variables_and_readable_secrets_are_named(installation: Installation) -> None:
    """A variable's name is almost a setting's name, and all users can read a file with passwords."""
    assert "BITCOIN_RPC_URL is no setting, did you mean BITCOIND_RPC_URL?" in installation.diagnose(
        BITCOIN_RPC_URL="x"
    ).text("settings")
    Path(".env").write_text("CONFIRMATIONS=3\nMETRICS_TOKEN=0123456789abcdef0123456789abcdef\n")
    Path(".env").chmod(0o644)
    assert "other users can read METRICS_TOKEN in" in installation.diagnose().text("settings")
    assert "chmod 600" in installation.diagnose().text("settings")
    Path(".env").chmod(0o600)
    assert installation.diagnose().state("settings") == "ok"
