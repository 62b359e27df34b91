"""The API names the network, and the pages mark a test network."""

from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from models.daemon_status import update_report
from models.output import Output
from tests.support.checkout_scenes import create_in_scene
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import WebServer, open_shop
from web.html.languages import languages
from web.http.database import network_of_problem

pytestmark = pytest.mark.one_database

TEST_NETWORKS = ("test", "testnet4", "signet", "custom-signet", "regtest")


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[WebServer]:
    """Yield a shop with the operator's page."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def operator(shop: WebServer) -> OperatorClient:
    """Return an operator who has logged in."""
    client = OperatorClient(shop)
    client.log_in()
    return client


def name_network(network: str | None) -> None:
    """Store the network as the daemon does. bitcoind has one name for all signets."""
    update_report(chain="signet" if network == "custom-signet" else network, network=network)


def test_a_report_of_an_earlier_version_has_the_chain_alone(shop: WebServer) -> None:
    """The daemon stores the network at its next start."""
    update_report(chain="testnet4")
    assert shop.created()["network"] == "testnet4"
    assert "Test network (testnet4)" in checkout(shop, shop.created()["payment_request_id"])


def checkout(shop: WebServer, reference: str, language: str = "en") -> str:
    headers = {"Authorization": None, "Accept-Language": language}
    return shop.get(f"/pay/{reference}", headers).body.decode()


@pytest.mark.parametrize("network", ["main", *TEST_NETWORKS, None])
def test_each_answer_names_the_network(shop: WebServer, network: str | None) -> None:
    """The network is null before the daemon has first reached bitcoind."""
    name_network(network)
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}"
    assert made["network"] == network
    assert shop.get(path).json["network"] == network
    assert [each["network"] for each in shop.get("/api/v1/payments").json["data"]] == [network]


@pytest.mark.parametrize("network", TEST_NETWORKS)
@pytest.mark.parametrize("code", languages())
def test_the_checkout_page_marks_a_test_network(shop: WebServer, code: str, network: str) -> None:
    """The band is in the customer's language, above all else."""
    name_network(network)
    page = checkout(shop, shop.created()["payment_request_id"], code)
    words = languages()[code]
    names = {"test": "testnet3", "custom-signet": words.say("page.custom_signet")}
    band = words.say("page.test_network", network=names.get(network, network))
    assert ("signet" in network) == ("signet" in band.lower())
    assert 0 < page.index(f'<aside class="band">{band}</aside>') < page.index("<main")


@pytest.mark.parametrize("network", ["main", None])
def test_real_money_has_no_mark(shop: WebServer, operator: OperatorClient, network: str | None) -> None:
    """An unknown network has none either."""
    name_network(network)
    made = create_in_scene(shop, "received")
    assert "band" not in checkout(shop, made["payment_request_id"])
    assert 'class="band"' not in operator.get("/").text


def test_the_operator_s_pages_mark_a_test_network(shop: WebServer, operator: OperatorClient) -> None:
    """Each page, and the login."""
    update_report(chain="regtest")
    reference = create_in_scene(shop, "received")["payment_request_id"]
    band = '<aside class="band">Test network (regtest): not real money</aside>'
    for path in ("/", f"/operator/payments/{reference}", "/operator/money"):
        assert band in operator.get(path).text
    assert band in shop.get("/operator/login", {"Authorization": None}).body.decode()


def test_the_pages_of_problems_mark_a_test_network(shop: WebServer, operator: OperatorClient) -> None:
    """Without a database they have no mark, and are pages all the same."""
    update_report(chain="regtest")
    band = '<aside class="band">Test network (regtest): not real money</aside>'
    html = {"Authorization": None, "Accept": "text/html"}
    for path in ("/pay/PR-x", "/l/LK-x", "/i/PR-x", "/nowhere"):
        reply = shop.get(path, html)
        assert (reply.status, band in reply.body.decode()) == (404, True), path
    assert band in operator.get("/operator/payments/PR-x").text
    assert network_of_problem("urn:nodetill:problem:no-database") is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("web.http.database.known_network", _fail)
        assert shop.get("/nowhere", html).status == 404


def _fail() -> None:
    raise peewee.OperationalError("gone")


def test_a_transaction_without_an_explorer_has_no_link(shop: WebServer, operator: OperatorClient) -> None:
    """The pages then show the whole id, so that it can be copied."""
    reference = create_in_scene(shop, "received")["payment_request_id"]
    (output,) = Output.select()
    public = "https://mempool.space/signet/tx/"
    for network, link in (("signet", public), ("custom-signet", None), ("regtest", None)):
        name_network(network)
        for page in (checkout(shop, reference), operator.get(f"/operator/payments/{reference}").text):
            assert ("mempool.space" in page) == (link is not None)
            assert (f'href="{link}{output.txid}"' in page) == (link is not None)
            assert output.txid in page
