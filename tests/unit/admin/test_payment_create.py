"""`manage.py payment create` makes the same request as the API, and prints it as text or JSON."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from admin.main import manage
from config import load_settings
from models.daemon_status import update_report
from models.db.connection import disconnect
from models.payment import PaymentRequest, payment_by_reference
from tests.support.prepared_database import open_prepared
from tests.support.web_server import stock
from web.api.documents import document_of

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs the command on a database with addresses, which stays open."""
    monkeypatch.chdir(tmp_path)
    open_prepared(database_url)
    stock(3)

    def create(*words: str, group: str = "payment") -> Result:
        disconnect()
        result = CliRunner(env={"DATABASE_URL": database_url}).invoke(manage, [group, "create", *words])
        open_prepared(database_url)
        return result

    yield create
    disconnect()


def test_a_request_is_shown_with_its_address_and_a_qr_code(run: Run) -> None:
    result = run("company1", "0.001", "btc", "--order-id", "4711", "--confirmations", "2")
    assert result.exit_code == 0, result.output
    payment = PaymentRequest.get()
    assert (payment.amount_sats, payment.order_id, payment.confirmations_required) == (100_000, "4711", 2)
    assert f"http://127.0.0.1:8080/pay/{payment.reference}" in result.stdout
    assert "\N{FULL BLOCK}" in result.stdout or "\N{LOWER HALF BLOCK}" in result.stdout


@pytest.mark.parametrize(("network", "is_marked"), [("signet", True), ("main", False)])
def test_a_test_network_is_marked(run: Run, network: str, is_marked: bool) -> None:
    mark = "Test network (signet): not real money\n"
    update_report(network=network)
    payment = run("company1", "0.001", "BTC")
    link = run("company1", "Coffee", "BTC", group="link")
    assert [each.stdout.startswith(mark) for each in (payment, link)] == [is_marked] * 2


def test_json_is_the_document_of_the_api(run: Run) -> None:
    result = run("company1", "0.001", "BTC", "--note", "by hand", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    payment = payment_by_reference(document["payment_request_id"])
    assert payment is not None
    assert document == document_of(payment, load_settings({}, Path()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "1", "BTC"), "there is no seller nobody"),
        (("company1", "much", "BTC"), "AMOUNT must be a plain decimal number such as 135.99"),
        (("company1", "1", "XYZ"), "CURRENCY must be an ISO 4217 currency code"),
        (("company1", "1", "BTC", "--order-id", "4" * 101), "--order-id must have 1 to 100 characters"),
        (
            ("company1", "1", "BTC", "--expires-in", "5"),
            "--expires-in must be a whole number from 60 to 86400",
        ),
        (("company1", "1", "CHF"), "there is no fresh price for CHF; nothing was used up, try again"),
    ],
)
def test_an_error_names_the_option_of_the_command(run: Run, words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert (result.exit_code, message in result.stderr) == (1, True), result.output
    assert not PaymentRequest.select().exists()
