"""Payment links: the request that a press of "Pay" makes, and the money of a link."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.address import free_count
from models.command import CANCEL, DaemonCommand
from models.link import Link
from models.outbox import Event, Message, events_of
from models.output import Output
from models.payment import PaymentRequest, mark_for_reassessment
from models.rate import Rate, store_rates
from models.seller import Seller
from tests.support.links import BLOCK, INVOICE, NOBODY, LinkShop, link_settings, request_of
from tests.support.rows import new_webhook
from tests.support.web_server import NOW, add_seller, open_shop

ENVIRON = {"ADDRESS_POOL": "20"}
HALF = 81_780
"""50.00 EUR at 61,146.30 EUR for one bitcoin, in satoshis, rounded up."""


@contextmanager
def opened(directory: Path, url: str, addresses: int = 60, **environ: str) -> Iterator[LinkShop]:
    settings = {**ENVIRON, **environ}
    with open_shop(directory, url, settings, addresses) as server:
        yield LinkShop(server, link_settings(directory, url, settings))


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[LinkShop]:
    """Serve links on each kind of database. ADDRESS_POOL is twenty, and the pool has sixty addresses."""
    with opened(tmp_path, database_url) as found:
        yield found


# Making links


def test_a_new_link_has_all_fields_of_the_contract(shop: LinkShop) -> None:
    fields = {
        "title": "Invoice 17",
        "description": "Three alpacas\r\nblue",
        "order_id": "2026-17",
        "note": "a friend",
        "due_at": "2026-12-24T23:59:59Z",
        "confirmations": 2,
        "expires_in": 600,
        "redirect_url": "https://shop.example/thanks",
        "thanks": "See you soon!",
    }
    link_id = shop.link(**fields)
    assert shop.document(link_id) == {
        **fields,
        "description": "Three alpacas\nblue",
        "link_id": link_id,
        "seller_id": "company1",
        "network": "main",
        "url": f"http://127.0.0.1:8080/l/{link_id}",
        "amount_fiat": "100.00",
        "currency": "EUR",
        "minimum": None,
        "maximum": None,
        "suggested": [],
        "is_reusable": False,
        "status": "open",
        "paid_fiat": "0.00",
        "remaining_fiat": "100.00",
        "late_sats": 0,
        "payment_count": 0,
        "payments": [],
        "created_at": "2026-11-23T12:00:00Z",
        "closed_at": None,
        "paid_at": None,
    }


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"title": ""}, "title", "must have 1 to 100 characters"),
    ({"due_at": "9999-12-31T23:59:59-01:00"}, "due_at", "must be a time in the years 1 to 9999 in UTC"),
    ({"due_at": "0001-01-01T00:00:00+14:00"}, "due_at", "must be a time in the years 1 to 9999 in UTC"),
    ({"title": "a\nb"}, "title", "must be one line without control characters"),
    ({"title": "a" * 101}, "title", "must have 1 to 100 characters"),
    ({"description": "a" * 501}, "description", "must have at most 500 characters"),
    ({"thanks": "\x1b[31m"}, "thanks", "must have no control characters except new lines and tabs"),
    ({"order_id": "a" * 101}, "order_id", "must have 1 to 100 characters"),
    ({"amount_fiat": "100.001"}, "amount_fiat", "must have at most 2 decimals, as EUR has"),
    ({"amount_fiat": "0.01"}, "amount_fiat", "is 17 sats now; the network relays no payment below 546 sats"),
    ({"amount_fiat": 0}, "amount_fiat", "must be more than 0"),
    (
        {"minimum": 5},
        "minimum",
        "is only for a link without amount_fiat, whose payer chooses the amount",
    ),
    ({"amount_fiat": None, "minimum": 5, "maximum": 4}, "maximum", "must not be less than minimum"),
    (
        {"amount_fiat": None, "currency": "BTC", "minimum": "22000000"},
        "minimum",
        "is 22000000.00000000 BTC now; there will never be more than 21 million",
    ),
    ({"amount_fiat": None, "suggested": [1, 2, 3, 4, 5]}, "suggested", "must be a list of at most 4 amounts"),
    (
        {"amount_fiat": None, "suggested": [5, "5.00"]},
        "suggested",
        "must have a different amount in each place",
    ),
    (
        {"amount_fiat": None, "minimum": 5, "suggested": [4]},
        "suggested",
        "must be between minimum and maximum",
    ),
    (
        {"amount_fiat": None, "suggested": ["0.10"]},
        "suggested",
        "is 164 sats now; the network relays no payment below 546 sats",
    ),
    (
        {"due_at": "tomorrow"},
        "due_at",
        "must be a time such as 2026-11-23T15:04:05Z; write %2B for a + in a URL",
    ),
    (
        {"due_at": "2026-12-24T23:59:59Z", "is_reusable": True},
        "due_at",
        "is only for a single-use link; a link with is_reusable is never due",
    ),
    (
        {"currency": "XXX"},
        "currency",
        "must be an ISO 4217 currency code in capitals such as EUR, or BTC, or SAT",
    ),
    ({"currency": "USD"}, "currency", "no rate source has USD; allowed are EUR, JPY, BTC, SAT"),
    ({"price": 1}, "price", "is unknown; allowed are"),
    ({"is_reusable": "yes"}, "is_reusable", "must be a valid boolean"),
    (
        {"redirect_url": "javascript:alert(1)"},
        "redirect_url",
        "must be an http or https URL such as https://shop.example/thanks",
    ),
]


def created(shop: LinkShop, key: str = "2026-17", **fields: Any) -> Any:
    """Return the response to the call that creates a link with this Idempotency-Key."""
    return shop.server.post("/api/v1/links", {**INVOICE, **fields}, {"Idempotency-Key": key})


def test_the_same_key_and_body_return_the_same_link(shop: LinkShop) -> None:
    """It is 200 with the present document. A request of the same key is another thing."""
    first = created(shop)
    shop.server.post(f"/api/v1/links/{first.json['link_id']}/close")
    repeat = created(shop, seller_id="company1")
    assert (first.status, repeat.status) == (201, 200)
    assert repeat.json == shop.document(first.json["link_id"])
    assert repeat.json["status"] == "closed"
    assert repeat.headers["location"] == first.headers["location"]
    assert created(shop, key="2026-18").status == 201
    assert Link.select().count() == 2
    assert shop.server.create(key="2026-17").status == 201
    add_seller("other", "nt_other")
    key = {"Idempotency-Key": "2026-17", "Authorization": "Bearer nt_other"}
    assert shop.server.post("/api/v1/links", INVOICE, key).status == 201


def test_the_same_key_with_another_body_is_refused(shop: LinkShop) -> None:
    first = created(shop)
    reply = created(shop, title="Invoice 18")
    assert reply.status == 422
    assert reply.json["type"] == "urn:nodetill:problem:idempotency-key-reused"
    assert reply.json["link_id"] == first.json["link_id"]
    assert f"the link {first.json['link_id']}, whose body was different;" in reply.json["detail"]
    assert created(shop, key="").status == created(shop, key="k" * 256).status == 400
    assert Link.select().count() == 1


def test_calls_with_one_key_at_the_same_moment_make_one_link(shop: LinkShop) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: created(shop), range(16)))
    assert sorted(reply.status for reply in replies) == [200] * 15 + [201]
    assert len({reply.json["link_id"] for reply in replies}) == 1
    assert Link.select().count() == 1


def test_a_wrong_field_is_named(shop: LinkShop) -> None:
    for fields, field, message in WRONG:
        body = {"title": "a", "currency": "EUR", "amount_fiat": "100.00", **fields}
        reply = shop.server.post("/api/v1/links", body)
        assert reply.status == 422, fields
        [error] = reply.json["errors"]
        assert error["field"] == field
        assert error["message"].startswith(message)
    assert Link.select().count() == 0


def test_a_link_needs_no_fresh_price(shop: LinkShop) -> None:
    """Its page and its document also need none, and "Pay" shows when to try again."""
    shop.server.wait(hours=1)
    link_id = shop.link()
    assert shop.money(link_id) == ("open", "0.00", "100.00")
    assert "Pay with bitcoin" in shop.page(link_id)
    reply = shop.press(link_id)
    assert reply.status == 503
    assert reply.headers["retry-after"] == "10"
    assert b"Try again in about 10 seconds." in reply.body
    assert f'href="../../l/{link_id}?lang=en"'.encode() in reply.body
    assert PaymentRequest.select().count() == 0


def test_links_are_listed_for_their_seller_alone(shop: LinkShop) -> None:
    links = [shop.link(title=str(number)) for number in range(5)]
    first = shop.server.get("/api/v1/links?limit=3").json
    assert [each["link_id"] for each in first["data"]] == links[:1:-1]
    last = shop.server.get(f"/api/v1/links?limit=3&cursor={first['next_cursor']}").json
    assert [each["link_id"] for each in last["data"]] == links[1::-1]
    assert last["next_cursor"] is None
    Seller.create(id="other", api_key_hash="x", webhook_secret="whsec_unused", created_at=NOW)
    Link.update(seller="other").execute()
    assert shop.server.get("/api/v1/links").json["data"] == []
    assert shop.server.get(f"/api/v1/links/{links[0]}").status == 404
    assert shop.server.post(f"/api/v1/links/{links[0]}/close").status == 404
    assert shop.server.get(f"/api/v1/links?cursor={links[0]}").status == 422


# A press of Pay


def test_a_request_has_the_terms_of_its_link(shop: LinkShop) -> None:
    link_id = shop.link(
        note="a friend",
        order_id="2026-17",
        confirmations=2,
        expires_in=600,
        redirect_url="https://a.example/",
    )
    request = shop.request(link_id)
    document = shop.server.get(f"/api/v1/payments/{request.reference}").json
    wanted = {
        "link_id": link_id,
        "label": "Invoice 17",
        "note": "a friend",
        "order_id": "2026-17",
        "amount_fiat": "100.00",
        "confirmations_required": 2,
        "redirect_url": "https://a.example/",
        "expires_at": "2026-11-23T12:10:00Z",
    }
    assert wanted.items() <= document.items()
    assert shop.server.created()["link_id"] is None


def test_only_a_press_makes_a_request(shop: LinkShop) -> None:
    """Programs that fetch links in advance only read."""
    link_id = shop.link()
    for path in ("", "/pay", "/qr.svg"):
        for method in ("GET", "HEAD"):
            assert shop.server.call(method, f"/l/{link_id}{path}", None, NOBODY).status in (200, 303)
    assert shop.server.get(f"/l/{link_id}/pay", NOBODY).headers["location"] == f"../../l/{link_id}"
    assert PaymentRequest.select().count() == 0


def test_a_form_of_another_site_may_press(shop: LinkShop) -> None:
    """A shop can have the button on its own page, and the form needs no secret."""
    headers: dict[str, str | None] = {
        "Origin": "https://shop.example",
        "Sec-Fetch-Site": "cross-site",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert shop.press(shop.link(), "", headers).status == 303


def test_the_redirect_keeps_the_language(shop: LinkShop) -> None:
    link_id = shop.link()
    assert "Mit Bitcoin bezahlen" in shop.page(link_id, "?lang=de")
    assert shop.press(link_id, "lang=de").headers["location"].endswith("?lang=de")
    assert shop.press(link_id, "lang=%0d%0aX").headers["location"].endswith("?lang=%0D%0AX")


def test_pressing_again_leads_to_the_same_request(shop: LinkShop) -> None:
    """This also holds after a part came, and while the daemon looks for money that came in time."""
    link_id = shop.link()
    request = shop.request(link_id)
    assert shop.request(link_id).id == request.id
    shop.pay(request, HALF)
    assert shop.request(link_id).id == request.id
    shop.server.wait(hours=1)
    assert shop.request(link_id).id == request.id
    assert free_count() == 59


def test_an_expired_request_makes_room_for_another(shop: LinkShop) -> None:
    link_id = shop.link()
    first = shop.request(link_id)
    shop.expire(first)
    store_rates("kraken", {"EUR": Decimal(50_000)}, shop.server.now)
    store_rates("bitpay", {"EUR": Decimal(50_000)}, shop.server.now)
    second = shop.request(link_id)
    assert (second.id != first.id, second.amount_sats) == (True, 200_000)


def test_an_earlier_payment_is_not_forgotten(shop: LinkShop) -> None:
    """Who has sent the money to an expired request reads not to pay again, before the button."""
    Seller.update(support="help@alpaca.example").execute()
    link_id = shop.link()
    request = shop.request(link_id)
    assert "Have you paid already?" not in shop.page(link_id)
    shop.expire(request)
    notice, button, _ = shop.page(link_id).partition("<form")
    assert "Have you paid already?" in notice
    assert f'href="../pay/{request.reference}?lang=en"' in notice
    assert "mailto:help@alpaca.example" in notice
    assert button
    assert "<details" not in notice
    shop.pay(request)
    assert "Have you paid already?" not in shop.page(link_id)


def test_paying_a_link_again_after_a_drop_is_folded_up(shop: LinkShop) -> None:
    """While the request is open, after it has expired, and after another request has expired."""
    link_id = shop.link()
    request = shop.request(link_id)
    output = shop.pay(request)
    shop.drop(output)
    for then in (None, request):
        if then:
            shop.expire(then)
        notice, details, form = shop.page(link_id).partition("<details")
        assert "Pay again only after your wallet shows it as cancelled" in notice
        assert f'href="../pay/{request.reference}?lang=en"' in notice
        assert "<form" not in notice
        assert details
        assert "I have cancelled the old transaction: pay again" in form
        assert "<form" in form
    refresh(shop, 50_000)
    second = shop.request(link_id)
    shop.expire(second)
    assert f"pay/{request.reference}?lang=en" in shop.page(link_id)
    shop.change(output, state="replaced", replaced_by="9c" * 32)
    page = shop.page(link_id)
    assert "<details" not in page
    assert f"pay/{second.reference}?lang=en" in page


def test_earlier_payments_of_others_are_private(shop: LinkShop) -> None:
    link_id = shop.donation()
    request = shop.request(link_id, "amount=5")
    shop.drop(shop.pay(request))
    shop.expire(request)
    assert request.reference not in shop.page(link_id)
    assert "<details" not in shop.page(link_id)


def test_presses_at_the_same_moment_take_one_address(shop: LinkShop) -> None:
    link_id = shop.link()
    with ThreadPoolExecutor(24) as pool:
        replies = list(pool.map(lambda _: shop.press(link_id), range(48)))
    assert {reply.status for reply in replies} == {303}
    assert len({reply.headers["location"] for reply in replies}) == 1
    assert PaymentRequest.select().count() == 1
    assert free_count() == 59


# Money


def refresh(shop: LinkShop, price: int) -> None:
    """Store a new price with the shop's present time."""
    Rate.delete().execute()
    store_rates("kraken", {"EUR": Decimal(price)}, shop.server.now)


def events() -> list[str]:
    return [event.type for event in Event.select().order_by(Event.id)]


def test_a_link_is_processing_and_then_paid(shop: LinkShop) -> None:
    link_id = shop.link(thanks="See you soon!")
    request = shop.request(link_id)
    output = shop.pay(request)
    assert shop.money(link_id) == ("processing", "100.00", "0.00")
    page = shop.page(link_id)
    assert "Payment received" in page
    assert "See you soon!" in page
    assert "<form" not in page
    assert "See you soon!" in shop.server.get(f"/pay/{request.reference}", NOBODY).body.decode()
    assert request_of(shop.press(link_id)).id == request.id
    shop.mine(output)
    assert shop.money(link_id) == ("paid", "100.00", "0.00")
    assert shop.document(link_id)["paid_at"] is not None
    assert "Everything is paid" in shop.page(link_id)
    assert events() == ["payment.received", "payment.confirmed", "link.paid"]
    assert request_of(shop.press(link_id)).id == request.id


def test_parts_at_different_prices_pay_a_single_use_link(shop: LinkShop) -> None:
    """The first part came in time, and counts at its own price after its request has expired."""
    refresh(shop, 50_000)
    link_id = shop.link()
    first = shop.request(link_id)
    shop.pay(first, 80_000, depth=6)
    assert shop.money(link_id) == ("open", "40.00", "60.00")
    shop.expire(first)
    assert shop.money(link_id) == ("open", "40.00", "60.00")
    assert "it counts" in shop.server.get(f"/pay/{first.reference}", NOBODY).body.decode()
    page = shop.page(link_id)
    assert "Pay the rest with bitcoin" in page
    assert "60.00\u00a0EUR" in page
    refresh(shop, 100_000)
    second = shop.request(link_id)
    assert (second.amount_fiat, second.amount_sats) == ("60.00", 60_000)
    shop.pay(second, depth=5)
    assert shop.money(link_id) == ("processing", "100.00", "0.00")
    shop.tip += 1
    shop.assess_due()
    assert shop.money(link_id) == ("paid", "100.00", "0.00")
    assert events()[-2:] == ["payment.confirmed", "link.paid"]
    document = shop.document(link_id)
    assert [(each["status"], each["paid_fiat"]) for each in document["payments"]] == [
        ("confirmed", "60.00"),
        ("expired", "40.00"),
    ]


def test_the_payer_of_a_part_is_not_sent_to_a_closed_link(shop: LinkShop) -> None:
    """Nobody can pay the rest there, so the checkout page leads to the shop."""
    refresh(shop, 50_000)
    link_id = shop.link()
    first = shop.request(link_id)
    shop.pay(first, 80_000, depth=6)
    shop.expire(first)
    assert shop.server.post(f"/api/v1/links/{link_id}/close").status == 200
    page = shop.server.get(f"/pay/{first.reference}", NOBODY).body.decode()
    assert "Go back to pay the rest" not in page
    assert "Ask the shop to send your money back" in page


def test_a_confirmation_of_an_expired_part_pays_the_link(shop: LinkShop) -> None:
    """The part did not cover its request. Its confirmation is the last one that the link needs."""
    refresh(shop, 50_000)
    link_id = shop.link()
    first = shop.request(link_id)
    shop.pay(first, 80_000, depth=2)
    shop.expire(first)
    refresh(shop, 50_000)
    shop.pay(shop.request(link_id), depth=6)
    assert shop.money(link_id)[0] == "processing"
    shop.tip += 4
    shop.assess_due()
    assert shop.money(link_id)[0] == "paid"


def test_a_link_without_confirmations_is_paid_at_once(shop: LinkShop) -> None:
    """A reorg that moves the payment back to the mempool changes nothing."""
    link_id = shop.link(confirmations=0)
    output = shop.pay(shop.request(link_id))
    assert events() == ["payment.received", "payment.confirmed", "link.paid"]
    assert shop.document(link_id)["status"] == "paid"
    shop.mine(output, depth=1)
    shop.change(output, state="mempool", block_hash=None, block_height=None)
    assert len(events()) == 3
    assert shop.document(link_id)["status"] == "paid"


def test_the_last_satoshis_do_not_revert_a_link(shop: LinkShop) -> None:
    """The network relays no smaller amount, so the link is paid before they come."""
    request = shop.request(shop.link(confirmations=0))
    shop.pay(request, request.amount_sats - 400)
    shop.pay(request, 400)
    assert events() == ["payment.underpaid", "link.paid", "payment.received", "payment.confirmed"]


def test_a_confirmed_part_of_a_covered_request_pays_the_link(shop: LinkShop) -> None:
    """The rest of this request is late, accepted, and in the mempool. Another request has paid it."""
    link_id = shop.link(confirmations=6)
    first = shop.request(link_id)
    part = first.amount_sats * 6 // 10
    shop.pay(first, part, depth=2)
    shop.expire(first)
    refresh(shop, int(first.link_part.price))
    second = shop.request(link_id)
    shop.pay(first, first.amount_sats - part)
    PaymentRequest.update(late_accepted_at=shop.server.now).where(PaymentRequest.id == first.id).execute()
    shop.assess(first)
    shop.pay(second, depth=6)
    assert shop.document(link_id)["status"] == "processing"
    for _ in range(4):
        shop.tip += 1
        shop.assess_due()
    assert shop.document(link_id)["status"] == "paid"


def test_a_double_spend_reopens_a_paid_link(shop: LinkShop) -> None:
    """A part of an expired request is gone. The link has an event of this, and the request has none."""
    refresh(shop, 50_000)
    link_id = shop.link()
    first = shop.request(link_id)
    part = shop.pay(first, 80_000, depth=6)
    shop.expire(first)
    refresh(shop, 50_000)
    shop.pay(shop.request(link_id), depth=6)
    assert shop.money(link_id)[0] == "paid"
    shop.drop(part)
    assert shop.money(link_id) == ("open", "60.00", "40.00")
    assert events()[-1] == "link.reverted"
    assert Event.select().order_by(Event.id.desc()).get().payload["status"] == "open"
    assert shop.request(link_id).amount_fiat == "40.00"


def begin_twice(shop: LinkShop) -> tuple[PaymentRequest, PaymentRequest]:
    """Return a link's request that has expired without money, and its request that waits."""
    link_id = shop.link(expires_in=60)
    first = shop.request(link_id)
    shop.expire(first)
    return first, shop.request(link_id)


@pytest.mark.parametrize("part", [1, 2])
def test_late_money_ends_a_request_that_asks_for_more_than_remains(
    tmp_path: Path, database_url: str, part: int
) -> None:
    """Otherwise the payer, whose page is open, would pay too much."""
    with opened(tmp_path, database_url, LATE_PAYMENTS="accept") as shop:
        first, second = begin_twice(shop)
        assert not DaemonCommand.select().exists()
        shop.pay(first, first.amount_sats // part)
        [command] = DaemonCommand.select()
        assert (command.kind, command.payment_id) == (CANCEL, second.id)


def test_accepted_money_ends_a_request_that_waits(shop: LinkShop) -> None:
    first, second = begin_twice(shop)
    shop.pay(first)
    assert not DaemonCommand.select().exists()
    PaymentRequest.update(late_accepted_at=shop.server.now).where(PaymentRequest.id == first.id).execute()
    shop.assess(first)
    [command] = DaemonCommand.select()
    assert (command.kind, command.payment_id) == (CANCEL, second.id)


def test_a_request_that_asks_for_no_more_than_remains_goes_on(shop: LinkShop) -> None:
    """Its own money and a smaller part of an earlier request end nothing."""
    link_id = shop.link()
    first = shop.request(link_id)
    shop.pay(first, first.amount_sats // 2)
    shop.expire(first)
    refresh(shop, 61_146)
    second = shop.request(link_id)
    assert second.amount_fiat == "50.01"
    part = Output.get()
    shop.drop(part)
    shop.change(part, state="mempool", gone_since=None)
    assert shop.money(link_id)[1:] == ("49.99", "50.01")
    shop.pay(second, 1_000)
    assert not DaemonCommand.select().exists()


def test_an_event_of_a_link_belongs_to_the_request_that_lost_its_money(shop: LinkShop) -> None:
    """A reorg may concern the other request too, and both are assessed together."""
    link_id = shop.link()
    first = shop.request(link_id)
    part = shop.pay(first, 80_000, depth=6)
    shop.expire(first)
    refresh(shop, 50_000)
    second = shop.request(link_id)
    shop.pay(second, depth=6)
    gone = {"state": "dropped", "block_hash": None, "block_height": None}
    Output.update(**gone).where(Output.id == part.id).execute()
    shop.assess(first, second)
    event = Event.select().order_by(Event.id.desc()).get()
    assert (event.type, event.payment_id) == ("link.reverted", first.id)


def test_a_request_that_expires_without_money_gets_no_event_of_its_link(
    tmp_path: Path, database_url: str
) -> None:
    """It expires in the assessment that confirms the other request."""
    with opened(tmp_path, database_url, LATE_PAYMENTS="accept") as shop:
        first, second = begin_twice(shop)
        part = shop.pay(first)
        mined = {"state": "mined", "block_hash": BLOCK, "block_height": shop.tip - 5}
        Output.update(**mined).where(Output.id == part.id).execute()
        mark_for_reassessment([first.address_id])
        shop.expire(second)
        event = Event.select().order_by(Event.id.desc()).get()
        assert (event.type, event.payment_id) == ("link.paid", first.id)
        assert "payment.expired" in [each.type for each in events_of(second)]


def test_a_paid_link_stays_paid_after_a_reorg_of_the_tip(shop: LinkShop) -> None:
    link_id = shop.link()
    output = shop.pay(shop.request(link_id), depth=6)
    shop.mine(output, depth=1)
    assert shop.money(link_id)[0] == "paid"
    shop.change(output, state="mempool", block_hash=None, block_height=None)
    assert shop.money(link_id)[0] == "processing"
    assert events()[-1] == "link.reverted"
    shop.mine(output, depth=6)
    assert events()[-1] == "link.paid"


def test_late_money_is_shown_and_counts_once_accepted(shop: LinkShop) -> None:
    link_id = shop.link()
    request = shop.request(link_id)
    shop.expire(request)
    shop.server.wait(minutes=5)
    shop.pay(request, depth=6)
    document = shop.document(link_id)
    assert (document["status"], document["paid_fiat"], document["remaining_fiat"]) == (
        "open",
        "0.00",
        "100.00",
    )
    assert document["late_sats"] == request.amount_sats
    assert "A payment came too late" in shop.page(link_id)
    assert "<form" not in shop.page(link_id)
    assert request_of(shop.press(link_id)).id == request.id
    PaymentRequest.update(late_accepted_at=shop.server.now).execute()
    shop.assess(request)
    assert shop.money(link_id) == ("paid", "100.00", "0.00")
    assert shop.document(link_id)["late_sats"] == 0


def test_late_money_on_which_the_operator_has_decided_blocks_nothing(shop: LinkShop) -> None:
    """The operator has sent it back, and marked the request as done."""
    link_id = shop.link()
    request = shop.request(link_id)
    shop.expire(request)
    shop.server.wait(minutes=5)
    shop.pay(request, HALF, depth=6)
    assert request_of(shop.press(link_id)).id == request.id
    PaymentRequest.update(acknowledged_sats=HALF).execute()
    refresh(shop, 50_000)
    assert request_of(shop.press(link_id)).id != request.id
    assert shop.document(link_id)["late_sats"] == 0


def test_a_small_rest_is_raised_to_the_dust_limit(shop: LinkShop) -> None:
    """The price has risen many times, so the rest is now less than 546 sats."""
    refresh(shop, 50_000)
    link_id = shop.link()
    first = shop.request(link_id)
    shop.pay(first, 198_000, depth=6)
    shop.expire(first)
    refresh(shop, 1_000_000)
    second = shop.request(link_id)
    assert (second.amount_fiat, second.amount_sats) == ("5.46", 546)
    shop.pay(second, depth=6)
    assert shop.money(link_id) == ("paid", "104.46", "0.00")


def test_a_payment_within_the_tolerance_pays_the_link(tmp_path: Path, database_url: str) -> None:
    with opened(tmp_path, database_url, UNDERPAYMENT_TOLERANCE="1") as shop:
        link_id = shop.link()
        request = shop.request(link_id)
        shop.pay(request, request.amount_sats * 995 // 1000, depth=6)
        assert shop.money(link_id) == ("paid", "99.50", "0.00")


# The payer chooses


def test_the_payer_chooses_the_amount(shop: LinkShop) -> None:
    link_id = shop.donation(minimum="2", maximum="1000", suggested=[5, "10.50"])
    page = shop.page(link_id)
    assert page.count("<form") == 2
    assert 'value="10.50">10.50\u00a0EUR' in page
    assert "From 2\u00a0EUR to 1,000\u00a0EUR" in page
    assert shop.request(link_id, "choice=10.50").amount_fiat == "10.50"
    assert shop.request(link_id, "amount=12,5").amount_fiat == "12.5"
    assert shop.request(link_id, "amount=1.000&lang=de").amount_fiat == "1000"


def test_a_wrong_amount_is_explained_at_its_field(shop: LinkShop) -> None:
    link_id = shop.donation(minimum="2", maximum="1000", suggested=[5])
    for form, message in (
        ("", "Please enter an amount such as 5."),
        ("amount=a%3Cb", "Please enter an amount such as 5."),
        ("amount=1", "Please enter at least 2\u00a0EUR."),
        ("choice=1001", "Please enter at most 1,000\u00a0EUR."),
        ("amount=1&lang=fr", "Saisissez au moins 2\u00a0EUR."),
    ):
        reply = shop.press(link_id, form)
        assert reply.status == 422
        page = reply.body.decode()
        assert f'<p id="amount-error" class="error">{message}</p>' in page
        assert "a<b" not in page
    assert PaymentRequest.select().count() == 0


def test_an_amount_below_the_dust_limit_is_refused(shop: LinkShop) -> None:
    """546 sats are 0.34 EUR, rounded up."""
    link_id = shop.donation()
    assert "Please enter at least 0.34\u00a0EUR." in shop.press(link_id, "amount=0.33").body.decode()
    assert shop.request(link_id, "amount=0.34").amount_sats >= 546
    in_bitcoin = shop.donation(currency="BTC")
    assert "This amount is too large." in shop.press(in_bitcoin, "amount=21000001").body.decode()


@pytest.mark.parametrize("is_rest_paid_first", [True, False])
def test_a_request_for_the_rest_chooses_no_amount(shop: LinkShop, is_rest_paid_first: bool) -> None:
    """The payer takes back the first part of the chosen amount."""
    link_id = shop.link(amount_fiat=None, minimum="50")
    first = shop.request(link_id, "amount=50")
    part = shop.pay(first, first.amount_sats - 1_700)
    shop.expire(first)
    refresh(shop, 61_146)
    rest = shop.request(link_id)
    assert rest.amount_fiat == "1.04"
    if is_rest_paid_first:
        shop.pay(rest, depth=6)
    shop.change(part, state="replaced", replaced_by="aa" * 32)
    if not is_rest_paid_first:
        shop.pay(rest, depth=6)
    assert shop.money(link_id) == ("open", "1.04", "48.96")
    assert "link.paid" not in events()
    shop.expire(rest)
    refresh(shop, 61_146)
    assert shop.request(link_id).amount_fiat == "48.96"


def test_a_lost_part_of_a_chosen_amount_reverts_the_link(shop: LinkShop) -> None:
    link_id = shop.link(amount_fiat=None, minimum="50", confirmations=0)
    first = shop.request(link_id, "amount=50")
    part = shop.pay(first, first.amount_sats - 1_700)
    shop.expire(first)
    refresh(shop, 61_146)
    shop.pay(shop.request(link_id))
    assert events()[-1] == "link.paid"
    shop.change(part, state="replaced", replaced_by="aa" * 32)
    assert events()[-1] == "link.reverted"


def test_later_money_of_an_older_request_changes_no_chosen_amount(tmp_path: Path, database_url: str) -> None:
    with opened(tmp_path, database_url, LATE_PAYMENTS="accept") as shop:
        link_id = shop.link(amount_fiat=None)
        first = shop.request(link_id, "amount=50")
        shop.expire(first)
        refresh(shop, 61_146)
        shop.pay(shop.request(link_id, "amount=10"), depth=6)
        shop.server.wait(minutes=5)
        shop.pay(first, 1_000, depth=1)
        assert shop.money(link_id)[0] == "paid"
        assert events()[-1] == "payment.extra"


def test_the_first_payer_of_a_single_use_link_without_an_amount_decides(shop: LinkShop) -> None:
    link_id = shop.link(amount_fiat=None)
    request = shop.request(link_id, "amount=50")
    assert shop.request(link_id, "amount=30").id == request.id
    shop.pay(request, 10_000, depth=6)
    shop.expire(request)
    refresh(shop, 61_146)
    assert shop.money(link_id) == ("open", "6.11", "43.89")
    assert "Pay the rest" in shop.page(link_id)
    assert shop.request(link_id).amount_fiat == "43.89"


def test_a_reusable_link_adds_up_its_money(shop: LinkShop) -> None:
    """Its status is never `paid`, and its page shows no payments."""
    link_id = shop.donation(thanks="Thank you!")
    first, second = shop.request(link_id, "amount=10"), shop.request(link_id, "amount=20")
    shop.pay(first, depth=6)
    shop.pay(second, second.amount_sats // 2)
    assert shop.money(link_id) == ("open", "19.99", None)
    assert shop.document(link_id)["payment_count"] == 2
    assert "19.99" not in shop.page(link_id)
    assert first.reference not in shop.page(link_id)
    assert not [name for name in events() if name.startswith("link.")]
    assert "Thank you!" in shop.server.get(f"/pay/{first.reference}", NOBODY).body.decode()


# Close and due date


def test_a_closed_link_makes_no_request(shop: LinkShop) -> None:
    """Its request to which nothing came is cancelled, and money that came still counts."""
    link_id = shop.link()
    request = shop.request(link_id)
    reply = shop.server.post(f"/api/v1/links/{link_id}/close")
    assert (reply.status, reply.json["status"]) == (200, "closed")
    [command] = DaemonCommand.select()
    assert (command.kind, command.payment_id) == (CANCEL, request.id)
    again = shop.server.post(f"/api/v1/links/{link_id}/close")
    assert again.json["closed_at"] == reply.json["closed_at"]
    assert "You cannot pay here any more" in shop.page(link_id)
    shop.expire(request)
    assert shop.press(link_id).headers["location"] == f"../../l/{link_id}"
    assert PaymentRequest.select().count() == 1


def test_the_links_of_a_removed_seller_are_closed(shop: LinkShop) -> None:
    link_id = shop.link()
    Seller.update(removed_at=NOW).execute()
    assert "You cannot pay here any more" in shop.page(link_id)
    assert shop.press(link_id).headers["location"] == f"../../l/{link_id}"
    assert PaymentRequest.select().count() == 0


def test_an_overdue_link_can_be_paid(shop: LinkShop) -> None:
    link_id = shop.link(due_at="2026-11-23T12:00:05Z")
    assert shop.document(link_id)["status"] == "open"
    shop.server.wait(seconds=10)
    assert shop.document(link_id)["status"] == "overdue"
    page = shop.page(link_id)
    assert "Was due" in page
    assert "2026-11-23" in page
    assert shop.press(link_id).status == 303


# Limits


def test_a_reusable_link_makes_ten_requests_a_minute(shop: LinkShop) -> None:
    link_id = shop.donation()
    replies = [shop.press(link_id, "amount=5") for _ in range(12)]
    assert [reply.status for reply in replies] == [303] * 10 + [429] * 2
    assert replies[-1].headers["retry-after"] == "60"
    assert "Try again in about 60 seconds." in replies[-1].body.decode()
    shop.server.wait(seconds=61)
    assert shop.press(link_id, "amount=5").status == 303


def test_a_reusable_link_has_thirty_requests_that_wait(shop: LinkShop) -> None:
    link_id = shop.donation()
    made = []
    for _ in range(3):
        made += [shop.request(link_id, "amount=5") for _ in range(10)]
        shop.server.wait(seconds=61)
    refused = shop.press(link_id, "amount=5")
    assert refused.status == 429
    assert refused.headers["retry-after"] == str(900 - 3 * 61)
    assert "Try again in about 12 minutes." in refused.body.decode()
    shop.pay(made[-1])
    assert shop.press(link_id, "amount=5").status == 303


@pytest.mark.parametrize("count", [60, pytest.param(5_000, marks=pytest.mark.broad)])
def test_links_leave_half_of_the_pool_to_the_sellers(tmp_path: Path, database_url: str, count: int) -> None:
    """Presses of many clients use half of the pool, and the sellers' own calls still work."""
    with opened(tmp_path, database_url, addresses=20) as shop:
        links = [shop.link() for _ in range(20)] + [shop.donation()]

        def press(number: int) -> int:
            headers: dict[str, str | None] = {"X-Forwarded-For": f"192.0.2.{number % 250}"}
            reply = shop.press(links[number % len(links)], "amount=5", headers)
            if reply.status in (429, 503):
                assert int(reply.headers["retry-after"]) > 0
                assert b"Please try again soon" in reply.body
            return reply.status

        with ThreadPoolExecutor(16) as pool:
            presses = pool.map(press, range(count))
            own = [shop.server.create(note=str(number)).status for number in range(5)]
            statuses = list(presses)
        assert own == [201] * 5
        assert {303, 503} <= set(statuses) <= {303, 429, 503}
        assert free_count() >= 5
        own = [shop.server.create(note=str(number)).status for number in range(free_count())]
        assert set(own) == {201}


def test_links_leave_half_of_the_sellers_limits(tmp_path: Path, database_url: str) -> None:
    with opened(tmp_path, database_url, MAX_REQUESTS_PER_MINUTE="10") as shop:
        replies = [shop.press(shop.link()) for _ in range(6)]
        assert [reply.status for reply in replies] == [303] * 5 + [429]
        assert [shop.server.create().status for _ in range(6)] == [201] * 5 + [429]


# Pages


def test_texts_are_escaped(shop: LinkShop) -> None:
    hostile = '<script>alert("1")</script>{{7*7}}%if'
    link_id = shop.link(title=hostile, description=hostile, thanks=hostile, order_id=hostile, note="secret")
    shop.pay(shop.request(link_id))
    page = shop.page(link_id)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5
    assert "{{7*7}}" in page
    assert "secret" not in page


def test_an_unknown_link_is_a_page(shop: LinkShop) -> None:
    for path in ("/l/x", "/l/LK-" + "a" * 22, "/l/%00", "/l/LK-x/pay", "/l/"):
        reply = shop.server.get(path, {**NOBODY, "Accept": "text/html"})
        assert reply.status == 404
        assert b"<h1>" in reply.body


def test_a_link_with_a_slash_at_its_end_is_found(shop: LinkShop) -> None:
    link_id = shop.link()
    reply = shop.server.get(f"/l/{link_id}/?utm_source=mail", NOBODY)
    assert (reply.status, reply.headers["location"]) == (303, f"../../l/{link_id}?utm_source=mail")


def test_the_qr_code_has_the_address_of_the_page(shop: LinkShop) -> None:
    reply = shop.server.get(f"/l/{shop.link()}/qr.svg", NOBODY)
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_page_sends_its_form_only_to_nodetill_and_runs_no_script(shop: LinkShop) -> None:
    reply = shop.server.get(f"/l/{shop.link()}", NOBODY)
    assert "form-action 'self'" in reply.headers["content-security-policy"]
    assert b"<script" not in reply.body


def test_a_message_goes_to_the_webhook_and_the_operator(shop: LinkShop) -> None:
    new_webhook(Seller.get())
    shop.pay(shop.request(shop.link()), depth=6)
    [event] = Event.select().where(Event.type == "link.paid")
    assert {message.channel for message in Message.select().where(Message.event == event)} == {
        "email",
        "webhook",
    }
    assert timedelta(0) == event.created_at - shop.server.now
