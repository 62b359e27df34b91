"""The operator asks for money by a form and by the till. Both make the same requests as the API."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.payment import PaymentRequest
from models.rate import Rate
from models.seller import Seller
from tests.support.checkout_scenes import SCENES, change, create_in_scene
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import WebServer, add_seller, open_shop

FORMS = ("/operator/new", "/operator/till")
FIELDS = {"seller_id": "company1", "amount_fiat": "12.50", "currency": "EUR", "token": "0f" * 16}


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def operator(shop: WebServer) -> OperatorClient:
    client = OperatorClient(shop)
    client.log_in()
    return client


def made() -> list[PaymentRequest]:
    return list(PaymentRequest.select().order_by(PaymentRequest.id))


@pytest.mark.parametrize("path", FORMS)
def test_a_form_makes_a_request(operator: OperatorClient, path: str) -> None:
    """The response redirects to the request's page, which shows its QR code."""
    page = operator.post(path, **FIELDS)
    (payment,) = made()
    to = "payments" if path == "/operator/new" else "till"
    assert (page.status, page.leads_to) == (303, f"/operator/{to}/{payment.reference}")
    assert (payment.amount_fiat, payment.currency, payment.seller_id) == ("12.50", "EUR", "company1")
    assert f"pay/{payment.reference}/qr.svg" in operator.get(page.leads_to).text


def test_all_fields_of_the_form_reach_the_request(operator: OperatorClient) -> None:
    """An empty field means the operator's setting."""
    operator.post(
        "/operator/new",
        **FIELDS,
        order_id="4711",
        note="two\r\nlines",
        label="Socks",
        confirmations="2",
        expires_in="3600",
    )
    operator.post(
        "/operator/new", **FIELDS | {"token": "1f" * 16}, order_id="", confirmations=" ", expires_in=""
    )
    full, bare = made()
    assert (full.order_id, full.note, full.label) == ("4711", "two\nlines", "Socks")
    assert (full.confirmations_required, (full.expires_at - full.created_at).seconds) == (2, 3600)
    assert (bare.order_id, bare.note, bare.label, bare.confirmations_required) == (None, "", None, 6)


@pytest.mark.parametrize("path", FORMS)
def test_a_form_that_is_sent_twice_makes_one_request(operator: OperatorClient, path: str) -> None:
    first, second = operator.post(path, **FIELDS), operator.post(path, **FIELDS)
    assert first.leads_to == second.leads_to
    assert len(made()) == 1
    operator.post(path, **FIELDS | {"token": "ab" * 16})
    assert len(made()) == 2


@pytest.mark.parametrize("path", FORMS)
def test_a_corrected_form_makes_another_request(operator: OperatorClient, path: str) -> None:
    """A person stops the load of the page, corrects the amount, and sends the same form again."""
    operator.post(path, **FIELDS)
    first, second = (operator.post(path, **FIELDS | {"amount_fiat": "99"}) for _ in range(2))
    assert first.leads_to == second.leads_to
    assert [payment.amount_fiat for payment in made()] == ["12.50", "99"]


@pytest.mark.parametrize("status", ["received", "confirmed", "expired"])
def test_the_form_of_a_sale_that_is_over_makes_the_next_sale(operator: OperatorClient, status: str) -> None:
    """A browser can show the old form again. The next customer has not paid yet."""
    first = operator.post("/operator/till", **FIELDS)
    PaymentRequest.update(status=status).execute()
    second = operator.post("/operator/till", **FIELDS)
    assert first.leads_to != second.leads_to
    assert [payment.status for payment in made()] == [status, "new"]


@pytest.mark.parametrize("amount", ["12,50", "12.5", "12.500"])
def test_an_amount_may_have_a_comma(operator: OperatorClient, amount: str) -> None:
    operator.post("/operator/new", **FIELDS | {"amount_fiat": amount})
    assert float(made()[0].amount_fiat) == 12.5


def test_a_comma_may_have_three_decimals_after_a_zero(operator: OperatorClient) -> None:
    operator.post("/operator/new", **FIELDS | {"amount_fiat": "0,001", "currency": "BTC"})
    assert made()[0].amount_fiat == "0.001"


@pytest.mark.parametrize(
    ("fault", "field", "message"),
    [
        ({"amount_fiat": ""}, "amount_fiat", "Must be a plain decimal number such as 135.99"),
        ({"amount_fiat": "1,234.50"}, "amount_fiat", "Must be a plain decimal number such as 135.99"),
        ({"amount_fiat": "1,000"}, "amount_fiat", "Is ambiguous: type a thousand as 1000, and one as 1"),
        ({"amount_fiat": "-5"}, "amount_fiat", "Must be a plain decimal number such as 135.99"),
        ({"amount_fiat": "0.001"}, "amount_fiat", "Must have at most 2 decimals, as EUR has"),
        ({"amount_fiat": "0.01"}, "amount_fiat", "The network relays no payment below 546 sats".lower()),
        ({"currency": "XYZ"}, "currency", "Must be an ISO 4217 currency code"),
        ({"currency": "CHF"}, "currency", "No rate source has CHF; allowed are EUR"),
        ({"seller_id": "nobody"}, "seller_id", "Must be one of your sellers"),
        ({"confirmations": "many"}, "confirmations", "Must be a whole number from 0 to 144"),
        ({"confirmations": "9" * 400}, "confirmations", "Must be a whole number from 0 to 144"),
        ({"expires_in": "5"}, "expires_in", "Must be a whole number from 60 to 86400"),
        ({"order_id": "4" * 101}, "order_id", "Must have 1 to 100 characters"),
        ({"label": "a\nb"}, "label", "Must be one line without control characters"),
    ],
)
def test_an_error_is_shown_at_its_field(
    operator: OperatorClient, fault: dict[str, str], field: str, message: str
) -> None:
    """The form keeps all typed values, and nothing is stored."""
    page = operator.post("/operator/new", **{"note": "keep me"} | FIELDS | fault)
    assert (page.status, made()) == (422, [])
    error = re.search(rf'id="{field}-error">([^<]*)', page.text)
    assert error is not None, page.words
    assert message in error[1]
    assert "keep me" in page.text
    assert FIELDS["token"] in page.text


@pytest.mark.parametrize("path", FORMS)
def test_a_form_gives_the_reason_if_no_request_is_possible(operator: OperatorClient, path: str) -> None:
    """Without a fresh price the form shows the reason. Its status is that of the API."""
    Rate.delete().execute()
    page = operator.post(path, **FIELDS)
    assert (page.status, made()) == (503, [])
    assert "There is no fresh price for EUR" in page.words


def test_a_removed_seller_makes_no_request(shop: WebServer, operator: OperatorClient) -> None:
    add_seller("gone", "another key")
    Seller.update(removed_at=shop.now).where(Seller.id == "gone").execute()
    assert "gone" not in operator.get("/operator/new").text
    assert operator.post("/operator/new", **FIELDS | {"seller_id": "gone"}).status == 422
    assert not made()


def test_the_form_offers_the_currency_of_the_newest_request(operator: OperatorClient) -> None:
    def selected() -> str:
        match = re.search(r"<option selected>([A-Z]{3})", operator.get("/operator/new").text)
        assert match is not None
        return match[1]

    assert selected() == "EUR"
    operator.post("/operator/new", **FIELDS | {"currency": "SAT", "amount_fiat": "5000"})
    assert selected() == "SAT"


@pytest.mark.parametrize("path", [*FORMS, "/operator/till/PR-0000000000000000000000"])
def test_a_visitor_is_redirected_to_the_login(shop: WebServer, path: str) -> None:
    page = OperatorClient(shop).get(path)
    assert (page.status, page.leads_to.split("?")[0]) == (303, "/operator/login")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_of_another_site_makes_no_request(operator: OperatorClient, path: str) -> None:
    operator.headers["Origin"] = "https://evil.example"
    assert operator.post(path, **FIELDS).status == 403
    assert not made()


# The till


def sale(operator: OperatorClient) -> tuple[PaymentRequest, str]:
    path = operator.post("/operator/till", **FIELDS).leads_to
    return made()[-1], path


# A part of the words of each scene, and whether its page shows the QR code at once.
SALES = {
    "new": ("Waiting for the payment", True),
    "underpaid": ("is still missing", True),
    "ending": ("Wait. Nodetill checks for a payment that came in time.", False),
    "received": ("Not final: a double-spend can still take it back.", False),
    "confirming": ("2 of 6 confirmations", False),
    "confirmed": ("The payment is confirmed.", False),
    "expired": ("Has the customer sent it already? Then wait, and do not ask again.", False),
    "expired_partly": ("The time is up, and a part is missing", False),
    "expired_part": ("The time is up, and a part is missing", False),
    "late": ("All has come, but late", False),
    "replaced": ("Taken back", True),
    "dropped": ("Do not take a second payment", False),
    "underpaid_dropped": ("Do not take a second payment", False),
    "expired_replaced": ("the time is up. Press Next and start again.", False),
    "expired_dropped": ("the transaction may return. Do not take a second payment", False),
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_till_shows_each_state_of_a_sale(shop: WebServer, operator: OperatorClient, scene: str) -> None:
    """No page invites the customer to pay twice, and only the whole amount gets a tick and a receipt."""
    document = create_in_scene(shop, scene)
    page = operator.get(f"/operator/till/{document['payment_request_id']}")
    words, has_code = SALES[scene]
    assert words in page.words
    assert ("qr.svg" in page.text.partition("<details")[0]) is has_code
    is_paid = scene in ("received", "confirming", "confirmed")
    assert ('class="tick"' in page.text, ">Receipt</a>" in page.text) == (is_paid, is_paid)
    # The page reloads, also without a script, until nothing can change any more.
    assert ("http-equiv" in page.text) is (scene != "confirmed")
    assert ("no money has come" in page.words) is (scene == "expired")
    assert ("reports the confirmation by email" in page.words) is (scene == "confirming")


def test_a_payment_without_confirmations_is_not_final(shop: WebServer, operator: OperatorClient) -> None:
    """Its status is confirmed at once, and the page follows it until it is in a block."""
    document = create_in_scene(shop, "confirmed", confirmations=0)
    path = f"/operator/till/{document['payment_request_id']}"
    assert "The payment is confirmed." in operator.get(path).words
    change(document, covered_height=None)
    page = operator.get(path)
    assert "Not final: a double-spend can still take it back." in page.words
    assert "http-equiv" in page.text
    assert "data-final" not in page.text


def test_the_till_shows_the_worth_of_late_money(shop: WebServer, operator: OperatorClient) -> None:
    document = create_in_scene(shop, "late")
    page = operator.get(f"/operator/till/{document['payment_request_id']}")
    assert "Came 1 s late. Worth 135.99 EUR today" in page.words
    assert "not all has come" not in page.words


def test_next_keeps_the_seller_and_the_currency(operator: OperatorClient) -> None:
    _, path = sale(operator)
    following = re.search(r'href="([^"]*till\?[^"]*)"', operator.get(path).text)
    assert following is not None
    assert following[1].endswith("operator/till?seller=company1&amp;currency=EUR")


def test_a_sale_that_does_not_exist_is_not_found(operator: OperatorClient) -> None:
    assert operator.get("/operator/till/PR-0000000000000000000000").status == 404
