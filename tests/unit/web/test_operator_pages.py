"""The operator's pages show all payments and store commands for the daemon. They change no payment."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

from models.address import Address
from models.api_key import ApiKey
from models.command import ACCEPT_LATE, CANCEL, REDELIVER, DaemonCommand
from models.daemon_status import beat
from models.decision import Decision
from models.outbox import Event, Message
from models.output import Output
from models.payment import PaymentRequest
from models.queries.attention import ActionNeeded, action_counts
from models.queries.revenue import DayOfSeller, Total, totals
from models.rate import store_rates
from models.seller import Seller
from models.wallet import wallet_added
from models.webhook import Webhook
from tests.support.checkout_scenes import DUE_SATS, SCENES, change, create_in_scene
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.operator_scenes import EXTRA_SATS, add_event, create_action_needed
from tests.support.rows import new_output, new_payment, new_webhook
from tests.support.web_server import NOW, TIP, WebServer, add_seller, open_shop, stored
from web.operator import csv_export as export

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' </textarea>{{7*7777}}"


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with an operator, on each kind of database."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def operator(shop: WebServer) -> OperatorClient:
    """Return a client that is logged in as the operator."""
    client = OperatorClient(shop)
    assert client.log_in().status == 303
    return client


def test_a_dropped_transaction_asks_for_no_second_payment(shop: WebServer, operator: OperatorClient) -> None:
    for scene in ("new", "dropped", "underpaid_dropped", "replaced"):
        reference = create_in_scene(shop, scene)["payment_request_id"]
        page = operator.get(f"/operator/payments/{reference}")
        is_dropped = "dropped" in scene
        assert ("Ask for no second payment yet" in page.words) is is_dropped, scene
        assert ("qr.svg" in page.text) is not is_dropped, scene


def test_the_operator_changes_what_customers_see_of_a_seller(
    shop: WebServer, operator: OperatorClient
) -> None:
    path = "/operator/sellers/company1"
    assert "none, so customers see company1" in operator.get(path).words
    sent = operator.post(path, name=" Alpaca Direct ", support="help@alpaca.example")
    assert (sent.status, sent.leads_to) == (303, f"{path}?changed=1")
    page = operator.get(sent.leads_to)
    assert "Saved." in page.words
    assert "none, so customers" not in page.words
    seller = Seller.get_by_id("company1")
    assert (seller.name, seller.support) == ("Alpaca Direct", "help@alpaca.example")
    for wrong in ({"name": "a\nb"}, {"support": "nobody"}, {"support": "javascript://x"}):
        assert operator.post(path, **{"name": "Other", "support": "", **wrong}).status == 422
    assert Seller.get_by_id("company1").name == "Alpaca Direct"
    assert operator.post(path, name="", support="").status == 303
    assert Seller.get_by_id("company1").support is None
    Seller.update(removed_at=NOW).execute()
    assert operator.post(path, name="Other", support="").status == 409


def listed(page: OperatorResponse) -> list[str]:
    """Return the ids in the list of all payments, in its order."""
    assert page.status == 200, page.words
    return re.findall(r'<tr id="(PR-\w+)">', page.text)


def action_lists(page: OperatorResponse) -> dict[str, list[str]]:
    """Return the ids in each list of payments that need a decision."""
    found: dict[str, list[str]] = {}
    for need, reference in re.findall(r'<tr id="([a-z]+)-(PR-\w+)">', page.text):
        found.setdefault(need, []).append(reference)
    return found


def moment(shop: WebServer) -> str:
    """The name of the shop's present moment in links."""
    return str(Decision.at.db_value(shop.now))


def path_of(document: dict[str, object]) -> str:
    return f"/operator/payments/{document['payment_request_id']}"


# The list


def test_payments_of_all_sellers_are_listed_newest_first(shop: WebServer, operator: OperatorClient) -> None:
    """A page has fifty of them, and each payment is on one page."""
    add_seller("company2", "nt_company2")
    made = [shop.created(note=str(number))["payment_request_id"] for number in range(49)]
    shop.wait(seconds=1)
    body = {"seller_id": "company2", "amount_fiat": 5, "currency": "EUR"}
    other = shop.post("/api/v1/payments", body, {"Authorization": "Bearer nt_company2"}).json
    everything = [other["payment_request_id"], *made[::-1]]
    assert listed(operator.get("/")) == everything
    first = operator.get("/?limit=20")
    older = re.search(r'href="(\?[^"]*cursor=[^"]*)"', first.text)
    assert older is not None
    assert listed(first) + listed(operator.get("/" + older[1].replace("&amp;", "&"))) == everything[:40]


def test_the_filters_are_those_of_the_api_and_seller_and_days(
    shop: WebServer, operator: OperatorClient
) -> None:
    """An empty field of a form is no filter."""
    old = shop.created(note="Alpaca socks")["payment_request_id"]
    shop.wait(days=1)
    operator.log_in()
    new = shop.created(currency="SAT", amount_fiat=9000)
    PaymentRequest.update(status="confirmed").where(PaymentRequest.reference == old).execute()
    reference = new["payment_request_id"]
    empty = "q=&status=&seller=&currency=&created_after=&created_before=&needs="
    assert listed(operator.get(f"/?{empty}")) == [reference, old]
    for query, found in (
        ("status=new", reference),
        ("status=confirmed", old),
        ("currency=SAT", reference),
        ("seller=company1&currency=EUR", old),
        ("created_after=2026-11-24", reference),
        ("created_before=2026-11-23", old),
        ("created_after=2026-11-23&created_before=2026-11-23", old),
        ("q=socks", old),
        (f"q=+{old}+", old),
        (f"q={old[:9]}", old),
        (f"q={new['address']}", reference),
    ):
        assert listed(operator.get(f"/?{query}")) == [found], query
    assert listed(operator.get("/?seller=company9")) == []
    assert listed(operator.get("/?created_after=0001-01-01&created_before=9999-12-31")) == [reference, old]
    assert "No payments found." in operator.get("/?q=nothing").words


def test_a_wrong_filter_is_named_with_422(operator: OperatorClient) -> None:
    for query in (
        "status=paid",
        "currency=euros",
        "newer=x",
        f"newer=PR-{'x' * 22}",
        "created_after=2026-13-01",
        "needs=money",
        "seller=%00",
        "q=%00",
        "created_before=2026-02-30",
        "cursor=x",
        "limit=0",
    ):
        page = operator.get(f"/?{query}")
        assert page.status == 422
        assert query.partition("=")[0] in page.words


def test_each_scene_is_shown(shop: WebServer, operator: OperatorClient) -> None:
    """The list and the payment's page can be read in each state."""
    for scene in SCENES:
        made = create_in_scene(shop, scene, note=scene, label="b", metadata={"order": [1]})
        page = operator.get(path_of(made))
        assert page.status == 200
        assert made["address"] in page.words
        assert stored(made).status in page.words
    assert len(listed(operator.get("/"))) == len(SCENES)


def test_text_of_strangers_is_never_markup(shop: WebServer, operator: OperatorClient) -> None:
    """It is in the list, on the payment's page, in the filter, and in an endpoint's answer."""
    texts = {"note": MARKUP, "label": MARKUP, "metadata": {MARKUP: MARKUP}}
    made = create_in_scene(shop, "late", **texts)
    add_event(shop, made, "payment.late", webhook={"failed_at": shop.now, "last_error": MARKUP})
    for path in ("/", path_of(made), "/?q=%3Cscript%3Ealert(1)%22%27%3E"):
        page = operator.get(path)
        assert page.status == 200
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert str(7 * 7777) not in page.text


def test_health_is_on_the_first_page(shop: WebServer, operator: OperatorClient) -> None:
    """It is the same as in /health, with advice."""
    words = operator.get("/").words
    assert f"All is well · block {TIP:,} · 50 addresses" in words
    assert f"Payments checked up to block {TIP:,} (latest)" in words
    assert "Daemon running last heartbeat 0 s ago" in words
    assert "Emails and webhooks all delivered" in words
    assert '<details id="health-well" >' in operator.get("/").text
    assert "There are problems" not in words
    shop.wait(minutes=5)
    problems = shop.get("/health").json["problems"]
    assert problems
    page = operator.get("/")
    assert all(problem in page.words for problem in problems)
    assert '<details id="health-trouble" open>' in page.text
    assert "Something needs your attention" in page.words


def test_the_first_page_names_the_gap_limit_to_set(shop: WebServer, operator: OperatorClient) -> None:
    """It is advice, so /health stays as it is."""
    wallet = wallet_added("vault", "wpkh(xpub/0/*)", b"first", "bech32", 0, NOW)
    for index in range(15):
        address = Address.create(
            script=b"vault-%d" % index,
            address=f"vault-{index}",
            wallet="vault",
            wallet_id=wallet.id,
            derivation_index=index,
            created_at=NOW,
            claimed_at=NOW,
        )
    page = operator.get("/")
    assert "15 addresses in a row of wallet vault are unpaid" in page.words
    assert "All is well" in page.words
    new_output(new_payment(500, address=address))
    assert "addresses in a row" not in operator.get("/").words


def test_advice_is_beside_health_and_no_problem(shop: WebServer, operator: OperatorClient) -> None:
    """The daemon writes it. bitcoind could do better, but hides no payment."""
    assert "advice" not in operator.get("/").words
    beat(shop.now, TIP, [], advice=["add <b>zmqpubrawtx</b>"])
    page = operator.get("/")
    assert "50 addresses · 1 piece of advice" in page.words
    assert "This works, but could work better: add <b>zmqpubrawtx</b>" in page.words
    assert "<b>zmqpubrawtx" not in page.text
    assert '<details id="health-well" >' in page.text
    assert shop.get("/health").status == 200


# Payments that need a decision


def test_payments_that_need_a_decision_are_at_the_top(shop: WebServer, operator: OperatorClient) -> None:
    """Each kind is there with its number, the most urgent first, and no other payment."""
    for scene in SCENES.keys() - {"late", "expired_partly"}:
        create_in_scene(shop, scene)
    made = create_action_needed(shop)
    page = operator.get("/")
    assert action_lists(page) == {need: [document["payment_request_id"]] for need, document in made.items()}
    assert list(action_lists(page)) == ["reverted", "late", "part", "extra", "undelivered"]
    for need, document in made.items():
        assert action_counts()[need] == 1
        assert listed(operator.get(f"/?needs={need}")) == [document["payment_request_id"]]


def test_the_newest_three_of_each_kind_are_shown(shop: WebServer, operator: OperatorClient) -> None:
    """A link leads to all of them."""
    made = [create_in_scene(shop, "late")["payment_request_id"] for _ in range(5)]
    page = operator.get("/")
    assert action_lists(page) == {"late": made[:1:-1]}
    assert '<a href="?needs=late">all 5</a>' in page.text
    assert listed(operator.get("/?needs=late")) == made[::-1]


def test_extra_money_below_the_dust_limit_needs_no_decision(
    shop: WebServer, operator: OperatorClient
) -> None:
    """It cannot be sent back."""
    made = create_in_scene(shop, "confirmed")
    change(made, overpaid_sats=545)
    assert action_lists(operator.get("/")) == {}
    change(made, overpaid_sats=546)
    assert list(action_lists(operator.get("/"))) == ["extra"]


def test_late_money_is_accepted_as_by_the_api(shop: WebServer, operator: OperatorClient) -> None:
    """Several clicks store one command. The page shows it until the daemon has done it."""
    made = create_in_scene(shop, "late")
    path = path_of(made)
    for _ in range(2):
        done = operator.post(f"{path}/accept")
        assert (done.status, done.leads_to) == (303, f"{path}?done={moment(shop)}")
    assert [(command.kind, command.payment_id) for command in DaemonCommand.select()] == [
        (ACCEPT_LATE, stored(made).id)
    ]
    for page in (operator.get("/"), operator.get(path)):
        assert "Accepted: the daemon will count it." in page.words
        assert f"{path.removeprefix('/')}/accept" not in page.text
    words = operator.get(done.leads_to).words
    assert "Accepted. The daemon counts the money now. This cannot be undone." in words
    assert words.count("Acceptance of the late money requested on the operator's page") == 1
    assert "Undo" not in words
    assert stored(made).status == "expired"


def test_the_operator_cancels_a_request_as_the_api_does(shop: WebServer, operator: OperatorClient) -> None:
    """The page asks a second time. Several clicks store one command, and the timeline has the result."""
    made = shop.create().json
    path = path_of(made)
    assert "You cannot undo this." in operator.get(path).words
    for _ in range(2):
        done = operator.post(f"{path}/cancel")
        assert (done.status, done.leads_to) == (303, path)
    assert [command.kind for command in DaemonCommand.select()] == [CANCEL]
    page = operator.get(path)
    assert "The daemon will cancel it, unless money has come." in page.words
    assert f"{path.removeprefix('/')}/cancel" not in page.text
    DaemonCommand.delete().execute()
    change(made, status="expired", cancelled_at=shop.now)
    page = operator.get(path)
    assert "Cancelled" in page.words
    assert f"{path.removeprefix('/')}/cancel" not in page.text


def test_a_request_with_money_cannot_be_cancelled_by_the_operator(
    shop: WebServer, operator: OperatorClient
) -> None:
    """The page has no button for it, and a form that was open before gets 409 with the reason."""
    path = path_of(create_in_scene(shop, "underpaid"))
    assert f"{path.removeprefix('/')}/cancel" not in operator.get(path).text
    page = operator.post(f"{path}/cancel")
    assert page.status == 409
    assert "money has come to it" in page.words
    assert DaemonCommand.select().count() == 0


def test_money_that_is_not_late_cannot_be_accepted(shop: WebServer, operator: OperatorClient) -> None:
    """It is 409 on a page with the reason. An unknown payment is 404."""
    path = path_of(create_in_scene(shop, "confirmed"))
    page = operator.post(f"{path}/accept")
    assert page.status == 409
    assert "not late" in page.words
    assert operator.post("/operator/payments/PR-" + "x" * 22 + "/accept").status == 404
    assert operator.post("/operator/payments/x%00/accept").status == 404
    assert DaemonCommand.select().count() == 0


def test_an_acknowledged_payment_needs_no_decision(shop: WebServer, operator: OperatorClient) -> None:
    """The payment itself does not change."""
    for document in create_action_needed(shop).values():
        before = stored(document)
        page = operator.get(path_of(document))
        revision = page.text.partition('name="revision" value="')[2].partition('"')[0]
        done = operator.post(f"{path_of(document)}/settle", revision=revision)
        assert (done.status, done.leads_to) == (303, f"{path_of(document)}?done={moment(shop)}")
        after = stored(document)
        assert (after.status, after.revision) == (before.status, before.revision)
    assert action_lists(operator.get("/")) == {}


def test_a_new_change_needs_a_decision_again(shop: WebServer, operator: OperatorClient) -> None:
    """Examples are more money, another reversal, and another undeliverable message."""
    made = create_action_needed(shop)
    for document in made.values():
        operator.post(f"{path_of(document)}/settle", revision="0")
    assert action_lists(operator.get("/")) == {}
    change(made[ActionNeeded.PART], received_sats=150_000)
    add_event(shop, made[ActionNeeded.REVERTED], "payment.reverted", revision=3)
    failed = {"failed_at": shop.now, "last_error": "HTTP 410"}
    add_event(shop, made[ActionNeeded.UNDELIVERED], "payment.extra", revision=3, webhook=failed)
    assert list(action_lists(operator.get("/"))) == ["reverted", "part", "undelivered"]


def test_an_outdated_revision_is_not_acknowledged(shop: WebServer, operator: OperatorClient) -> None:
    """It is 409, because the operator has not seen the change since the page was made."""
    made = create_in_scene(shop, "late")
    for revision in ("1", "", "x", "-0", "0 ", "9" * 30):
        assert operator.post(f"{path_of(made)}/settle", revision=revision).status == 409
    assert list(action_lists(operator.get("/"))) == ["late"]


def test_a_whole_list_is_acknowledged(shop: WebServer, operator: OperatorClient) -> None:
    """A changed or unknown payment stays, and causes no error."""
    made = [create_in_scene(shop, "expired_partly") for _ in range(4)]
    page = operator.get("/?needs=part&limit=3")
    shown = dict(re.findall(r'name="(PR-\w+)" value="(\d+)"', page.text))
    assert len(shown) == 3
    PaymentRequest.update(revision=7).where(
        PaymentRequest.reference == made[2]["payment_request_id"]
    ).execute()
    shown |= {"PR-" + "x" * 22: "0", "x": "0"}
    done = operator.post("/operator/settle", needs="part", **shown)
    assert (done.status, done.leads_to) == (303, f"/?needs=part&done={moment(shop)}")
    left = [made[2]["payment_request_id"], made[0]["payment_request_id"]]
    assert listed(operator.get("/?needs=part")) == left
    assert operator.post("/operator/settle", needs="//x").leads_to == f"/?done={moment(shop)}"


def test_a_decision_leads_back_to_its_list(shop: WebServer, operator: OperatorClient) -> None:
    """The list has its filter and its place. A path of another site is refused."""
    made = create_action_needed(shop)
    part, late = made[ActionNeeded.PART], made[ActionNeeded.LATE]
    page = operator.get("/?needs=part&limit=20")
    assert '<input type="hidden" name="to" value="?limit=20&amp;needs=part">' in page.text
    done = operator.post(f"{path_of(part)}/settle", revision="0", to="?needs=part&limit=20")
    assert done.leads_to == f"/?needs=part&limit=20&done={moment(shop)}"
    assert operator.post(f"{path_of(late)}/accept", to="").leads_to == f"/?done={moment(shop)}"
    for to in ("//evil.example", "https://evil.example/", "x", "?a b"):
        done = operator.post(f"{path_of(late)}/settle", revision="0", to=to)
        assert done.leads_to == f"{path_of(late)}?done={moment(shop)}"


def test_a_mark_as_done_is_undone(shop: WebServer, operator: OperatorClient) -> None:
    """The line on the next page undoes it, once. The timeline keeps both with their times."""
    made = create_in_scene(shop, "expired_partly")
    comment = "refunded in <b>tx</b>"
    back = operator.post(f"{path_of(made)}/settle", revision="0", to="?needs=part", comment=f" {comment} ")
    page = operator.get(back.leads_to)
    assert "Done. Undo" in page.words
    assert "Nothing is left to decide here." in page.words
    assert action_lists(operator.get("/")) == {}
    at = moment(shop)
    shop.wait(seconds=60)
    undone = operator.post("/operator/undo", at=at, to="?needs=part")
    assert undone.leads_to == f"/?needs=part&done={moment(shop)}"
    page = operator.get(undone.leads_to)
    assert "Undone. The decision is open again." in page.words
    assert list(action_lists(operator.get("/"))) == ["part"]
    page = operator.get(path_of(made))
    assert "2026-11-23 12:00:00 Marked as done on the operator's page refunded in <b>tx</b>" in page.words
    assert "2026-11-23 12:01:00 “Mark as done” undone on the operator's page" in page.words
    assert "&lt;b&gt;tx" in page.text
    shop.wait(seconds=1)
    operator.post("/operator/undo", at=at)
    assert list(action_lists(operator.get("/"))) == ["part"]
    assert "Undo " not in operator.get(f"/?needs=part&done={at}").words


def test_of_a_whole_list_one_or_all_are_undone(shop: WebServer, operator: OperatorClient) -> None:
    made = [create_in_scene(shop, "expired_partly") for _ in range(3)]
    shown = {each["payment_request_id"]: "0" for each in made}
    back = operator.post("/operator/settle", needs="part", **shown)
    assert "Done: 3 payments. Undo" in operator.get(back.leads_to).words
    at = moment(shop)
    first = made[0]["payment_request_id"]
    assert f'name="payment" value="{first}"' in operator.get(path_of(made[0])).text
    shop.wait(seconds=1)
    operator.post("/operator/undo", at=at, payment=first)
    assert action_lists(operator.get("/")) == {"part": [first]}
    shop.wait(seconds=1)
    operator.post("/operator/undo", at=at)
    assert action_lists(operator.get("/"))["part"] == list(shown)[::-1]


def test_a_wrong_undo_changes_nothing(shop: WebServer, operator: OperatorClient) -> None:
    made = create_in_scene(shop, "expired_partly")
    operator.post(f"{path_of(made)}/settle", revision="0")
    for at in ("", "x", "-1", "1.5", "9" * 40, "\u0661", str(int(moment(shop)) + 1)):
        assert operator.post("/operator/undo", at=at).status == 303
        assert operator.get(f"/?done={quote(at)}").status == 200
    assert operator.post("/operator/undo", at=moment(shop), payment="//x").leads_to.startswith("/?done=")
    assert action_lists(operator.get("/")) == {}


def test_a_comment_is_one_line_of_at_most_200_characters(shop: WebServer, operator: OperatorClient) -> None:
    made = create_in_scene(shop, "expired_partly")
    for comment in ("x" * 201, "a\nb", "a\0b"):
        page = operator.post(f"{path_of(made)}/settle", revision="0", comment=comment)
        assert page.status == 422
        assert "comment must be one line with at most 200 characters" in page.words
    assert list(action_lists(operator.get("/"))) == ["part"]
    assert operator.post(f"{path_of(made)}/settle", revision="0", comment="x" * 200).status == 303


def test_late_money_is_shown_with_its_worth(shop: WebServer, operator: OperatorClient) -> None:
    """Its page and the list of decisions show the worth. Without a fresh price the pages name that."""
    made, other = create_in_scene(shop, "late"), create_in_scene(shop, "expired_partly")
    change(made, expires_at=shop.now - timedelta(minutes=42))
    store_rates("kraken", {"EUR": Decimal("58988.5")}, shop.now)
    store_rates("bitpay", {"EUR": Decimal("58988.5")}, shop.now)
    for path in ("/", "/?needs=late", path_of(made)):
        words = operator.get(path).words
        sentence = "Came 42 min late. Worth 131.19 EUR today (asked for: 135.99 EUR, 3.5 % less)."
        assert sentence in words
        assert "You cannot undo this." in words
    shop.wait(seconds=601)
    for path in ("/", path_of(made)):
        words = operator.get(path).words
        assert "Its worth today is unknown, because there is no fresh price for EUR." in words
    assert "late. " not in operator.get(path_of(other)).words


def test_a_failed_message_is_sent_again_from_its_box(shop: WebServer, operator: OperatorClient) -> None:
    """The box has the endpoint and its answer, in the list, on the page and among the sellers."""
    made = create_action_needed(shop)[ActionNeeded.UNDELIVERED]
    Webhook.update(url="https://shop.example/hook").execute()
    for path in ("/", path_of(made), "/operator/sellers"):
        page = operator.get(path)
        assert "Webhook https://shop.example/hook HTTP 500 after 10 attempts" in page.words
        form = re.search(r'action="([^"]*/webhook)">\s*<input[^>]*name="to" value="([^"]*)"', page.text)
        assert form is not None
        assert operator.post(urljoin(path, form[1]), to=form[2]).leads_to == path
        assert "The daemon will send it again." in operator.get(path).words
        DaemonCommand.delete().execute()


def test_sellers_are_listed_with_their_endpoints(shop: WebServer, operator: OperatorClient) -> None:
    add_seller("company2", "nt_company2", removed_at=NOW)
    new_webhook(url="https://shop.example/hook?a=<b>")
    words = operator.get("/operator/sellers").words
    assert "company1 https://shop.example/hook?a=<b> none – –" in words
    assert "company2 removed none none – –" in words
    assert "none has failed" in words
    create_action_needed(shop)
    assert "2026-11-23 12:00 – 1 given up" in operator.get("/operator/sellers").words


def test_the_title_has_the_number_of_open_decisions(shop: WebServer, operator: OperatorClient) -> None:
    assert "<title>Payments · Nodetill</title>" in operator.get("/").text
    create_action_needed(shop)
    for path in ("/", "/?status=new"):
        assert "<title>(5) Payments · Nodetill</title>" in operator.get(path).text


def test_the_first_day_has_three_steps(shop: WebServer, operator: OperatorClient) -> None:
    """The steps have ticks, and disappear with the first payment."""
    words = operator.get("/").words
    assert "✓ Connect bitcoind." in words
    assert "✓ Add a shop. Done: company1." in words
    assert "curl http://127.0.0.1:8080/api/v1/payments" in words
    for table in (ApiKey, Webhook, Seller):
        table.delete().execute()
    beat(NOW, None, ["bitcoind does not answer"])
    words = operator.get("/").words
    assert "✓" not in words
    assert "manage.py seller add SHOP" in words
    assert "Three steps" not in operator.get("/?status=new").words


def test_a_long_list_has_a_count_and_a_way_back(shop: WebServer, operator: OperatorClient) -> None:
    """Each page leads to the newer one and to the newest. A search is not counted."""
    made = [shop.created(note="n")["payment_request_id"] for _ in range(7)][::-1]
    first = operator.get("/?limit=3&currency=eur")
    assert (listed(first), "3 of 7" in first.words) == (made[:3], True)
    assert "Newer" not in first.words
    second = followed(operator, first, "next")
    third = followed(operator, second, "next")
    assert (listed(second), listed(third)) == (made[3:6], made[6:])
    assert 'rel="next"' not in third.text
    assert listed(followed(operator, third, "prev")) == made[3:6]
    assert listed(followed(operator, second, "prev")) == made[:3]
    assert '<a href="./?currency=eur&amp;limit=3">Newest</a>' in second.text
    assert " of 7" not in operator.get("/?limit=3&q=n").words


def followed(operator: OperatorClient, page: OperatorResponse, relation: str) -> OperatorResponse:
    """The page behind a link of this relation."""
    link = re.search(rf'href="([^"]*)" rel="{relation}"', page.text)
    assert link is not None
    return operator.get(f"/{unescape(link[1])}")


# One payment


def test_a_payment_s_page_has_its_timeline(shop: WebServer, operator: OperatorClient) -> None:
    """It shows the events in order, with their messages and results."""
    made = create_in_scene(shop, "received", note="Alpaca\nsocks")
    shop.wait(minutes=1)
    add_event(
        shop,
        made,
        "payment.received",
        webhook={"attempts": 3, "last_error": "timed out", "next_attempt_at": NOW},
    )
    words = operator.get(path_of(made)).words
    timeline = [
        "Timeline",
        "Created by company1",
        "seen, in",
        "2026-11-23 12:01:00 Received",
        "email, delivered 2026-11-23 12:01:01",
        "webhook, waiting after 3 attempts timed out",
    ]
    places = [words.index(part) for part in timeline]
    assert places == sorted(places)
    (output,) = Output.select()
    assert f"https://mempool.space/tx/{output.txid}" in operator.get(path_of(made)).text


def test_the_operator_can_send_a_message_again(shop: WebServer, operator: OperatorClient) -> None:
    """Several clicks store one command. No seller can send the operator's email again."""
    made = create_action_needed(shop)[ActionNeeded.UNDELIVERED]
    page = operator.get(path_of(made))
    (event,) = Event.select().where(Event.payment == stored(made))
    path = f"{path_of(made)}/events/{event.reference}"
    for channel in ("webhook", "webhook", "email"):
        done = operator.post(f"{path}/{channel}")
        assert (done.status, done.leads_to) == (303, path_of(made))
    commands = (
        DaemonCommand.select(DaemonCommand.kind, Message.channel)
        .join(Message)
        .order_by(DaemonCommand.id)
        .tuples()
    )
    assert list(commands) == [(REDELIVER, "webhook"), (REDELIVER, "email")]
    page = operator.get(path_of(made))
    assert page.words.count("The daemon will send it again.") == 3
    assert operator.post(f"{path}/pigeon").status == 404
    assert operator.post(f"{path}x/email").status == 404


def test_an_unknown_payment_is_a_404_page(operator: OperatorClient) -> None:
    for name in ("PR-" + "x" * 22, "x", "%00", "PR-%ff"):
        page = operator.get(f"/operator/payments/{name}")
        assert page.status == 404
        assert page.headers["Content-Type"].startswith("text/html")
        assert "There is no such page" in page.words
        assert "key" not in page.words


# CSV


def rows_of(page: OperatorResponse) -> list[dict[str, str]]:
    assert page.status == 200
    return list(csv.DictReader(io.StringIO(page.body.decode("utf-8-sig"), newline="")))


def test_the_csv_has_all_filtered_payments(
    shop: WebServer, operator: OperatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has them all, however many pages the list has."""
    monkeypatch.setattr(export, "_BATCH_SIZE", 2)
    made = [shop.created(note=f"Socken für {number}") for number in range(5)]
    made.append(create_in_scene(shop, "confirmed", note="Lamas", label="Alpaca Direct"))
    page = operator.get("/operator/payments.csv")
    assert page.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert page.headers["Content-Disposition"] == 'attachment; filename="payments-2026-11-23.csv"'
    rows = rows_of(page)
    assert [row["payment_request_id"] for row in rows] == [each["payment_request_id"] for each in made[::-1]]
    assert tuple(rows[0]) == export.COLUMNS
    first = rows[0]
    assert (first["status"], first["amount_fiat"], first["received_btc"]) == (
        "confirmed",
        "135.99",
        "0.00222402",
    )
    assert (first["created_utc"], first["metadata"]) == ("2026-11-23 12:00:00", "")
    assert [row["note"] for row in rows_of(operator.get("/operator/payments.csv?q=f%C3%BCr+3"))] == [
        "Socken für 3"
    ]
    assert [row["note"] for row in rows_of(operator.get("/operator/payments.csv?status=confirmed&q="))] == [
        "Lamas"
    ]
    assert rows_of(operator.get("/operator/payments.csv?q=nothing")) == []
    assert operator.get("/operator/payments.csv?status=paid").status == 422


def test_the_csv_has_decimals_by_currency_and_metadata(shop: WebServer, operator: OperatorClient) -> None:
    """The amounts of a column have the same decimals, and metadata is JSON."""
    made = create_in_scene(shop, "confirmed", amount_fiat="10", metadata={"order": "é 17", "x": [1]})
    change(made, received_sats=16_354)
    create_in_scene(shop, "confirmed", amount_fiat="9000", currency="JPY")
    yen, euros = rows_of(operator.get("/operator/payments.csv"))
    assert (euros["amount_fiat"], euros["received_fiat"]) == ("10.00", "10.00")
    assert json.loads(euros["metadata"]) == {"order": "é 17", "x": [1]}
    assert (yen["amount_fiat"], yen["received_fiat"]) == ("9000", "20016")
    assert euros["received_utc"] == ""


def test_no_cell_is_a_formula(shop: WebServer, operator: OperatorClient) -> None:
    """A spreadsheet must not run the text of a stranger."""
    notes = [f'{start}HYPERLINK("http://evil.example","x"),2\nnext line' for start in "=+-@\t\n＝"]
    for note in notes:
        shop.created(note=note)
    rows = rows_of(operator.get("/operator/payments.csv"))
    assert [row["note"] for row in rows[::-1]] == [f"'{note}" for note in notes]


@pytest.mark.parametrize("separator", [";", "\t", ",", "|", "\n", "\r\n"])
def test_no_cell_is_a_formula_with_any_separator(
    shop: WebServer, operator: OperatorClient, separator: str
) -> None:
    """German, French and Spanish spreadsheets split at semicolons, and place quotation marks differently."""
    for start in ("=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", " =1", '"=1', '" "=1"', "\n=1"):
        note = f"x{separator}{start}{separator}{separator}{start}"
        shop.created(note=note, label="=1;=1", metadata={"-1": start, "=1": [note, "=1"]})
    text = operator.get("/operator/payments.csv").body.decode("utf-8-sig")
    cells = [
        cell for each in ";\t,|" for row in csv.reader(io.StringIO(text), delimiter=each) for cell in row
    ]
    cells += re.split(r"[;\t,|\r\n]+", text)
    formulas = [cell for cell in cells if re.match(r'[\s"]*[=+\-@＝]', cell)]
    assert formulas == []


# Money


def test_revenue_is_summed_by_day_and_currency(shop: WebServer, operator: OperatorClient) -> None:
    """The sums are exact, by the day of the confirmation in UTC. Unconfirmed payments do not count."""
    midnight = datetime.fromisoformat("2026-11-23T00:00:00Z")
    for amount, confirmed_at in (
        ("0.10", midnight),
        ("0.10", midnight + timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999)),
        ("0.20", midnight),
        ("5.05", midnight - timedelta(microseconds=1)),
    ):
        change(create_in_scene(shop, "confirmed"), amount_fiat=amount, confirmed_at=confirmed_at)
    change(create_in_scene(shop, "confirmed"), currency="JPY", amount_fiat="9000", confirmed_at=midnight)
    change(create_in_scene(shop, "confirmed"), confirmed_at=midnight - timedelta(days=40))
    create_in_scene(shop, "received")
    today, yesterday = date(2026, 11, 23), date(2026, 11, 22)
    assert totals(yesterday, today) == {
        DayOfSeller(today, "EUR", "company1"): Total(3, Decimal("0.40"), 3 * DUE_SATS),
        DayOfSeller(yesterday, "EUR", "company1"): Total(1, Decimal("5.05"), DUE_SATS),
        DayOfSeller(today, "JPY", "company1"): Total(1, Decimal(9000), DUE_SATS),
    }
    words = operator.get("/operator/money").words
    assert "5.45 EUR 0.00889608 BTC in 4 payments" in words
    assert "9,000 JPY 0.00222402 BTC in 1 payment" in words
    assert "Best day: 5.05 EUR" in words
    assert "in 5 payments" in operator.get("/operator/money?days=92").words


def test_takings_are_added_up_by_month_year_and_seller(shop: WebServer, operator: OperatorClient) -> None:
    """The page and its CSV have the same figures."""
    add_seller("company2", "nt_company2")
    for amount, seller, days in (
        ("1.00", "company1", 0),
        ("2.00", "company2", 40),
        ("4.00", "company1", 400),
    ):
        made = create_in_scene(shop, "confirmed")
        change(made, amount_fiat=amount, seller=seller, confirmed_at=NOW - timedelta(days=days))
    months = operator.get("/operator/money?by=month").words
    assert "3.00 EUR 0.00444804 BTC in 2 payments" in months
    assert "2026-11 1 1.00 EUR" in months
    assert "2026-10 1 2.00 EUR" in months
    assert "company2 1 2.00 EUR" in months
    years = operator.get("/operator/money?by=year").words
    assert "2025 1 4.00 EUR" in years
    assert "company1 2 5.00 EUR" in years
    page = operator.get("/operator/money.csv?by=year")
    assert page.headers["Content-Disposition"] == 'attachment; filename="money-2026-11-23.csv"'
    assert [list(row.values()) for row in rows_of(page)] == [
        ["2026", "EUR", "company1", "1", "1.00", "0.00222402"],
        ["2026", "EUR", "company2", "1", "2.00", "0.00222402"],
        ["2025", "EUR", "company1", "1", "4.00", "0.00222402"],
    ]
    assert rows_of(operator.get("/operator/money.csv?days=7"))[0]["period"] == "2026-11-23"
    for path in ("/operator/money", "/operator/money.csv"):
        assert operator.get(f"{path}?by=week").status == 422


def test_a_period_without_payments_has_a_message(operator: OperatorClient) -> None:
    """An unknown period is refused."""
    assert "No payment was confirmed in this period." in operator.get("/operator/money").words
    assert operator.get("/operator/money?days=365000").status == 422


def test_the_list_shows_overpaid_and_missing_amounts(shop: WebServer, operator: OperatorClient) -> None:
    create_action_needed(shop)
    words = operator.get("/").words
    assert f"0.000{EXTRA_SATS}\xa0BTC overpaid".replace("\xa0", " ") in words
    assert "0.00122402 BTC missing" in words
