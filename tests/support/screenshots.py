"""`python -m tests.support.screenshots` writes README's screenshots to docs/checkout, links and operator."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

from bitcoin import segwit_addr
from playwright.sync_api import Browser

from models.address import add_addresses
from models.daemon_status import beat
from models.output import Output
from models.rate import store_rates
from models.seller import Seller
from tests.support.browser import open_browser
from tests.support.checkout_scenes import DUE_SATS, change, create_in_scene
from tests.support.links import LinkShop, link_settings
from tests.support.operator_client import PASSWORD
from tests.support.operator_scenes import add_event
from tests.support.web_server import TIP, WebServer, open_shop

DIRECTORY = Path(__file__).parent.parent.parent / "docs" / "checkout"
OPERATOR = DIRECTORY.with_name("operator")
LINKS = DIRECTORY.with_name("links")
SCENES = ("new", "underpaid", "received", "confirming", "confirmed", "expired", "late", "replaced")
WIDTH = 360


NOTES = ("Alpaca socks", "Alpaca hat", "Two llamas, to be delivered", "Wool, 2 kg", "Felt slippers, size 42")


def take_all() -> None:
    """Take the screenshots of the checkout page and of the operator's pages.

    The checkout page has one on a phone for each of SCENES. The first scene has a dark one and one on
    a desktop, too.
    """
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    OPERATOR.mkdir(parents=True, exist_ok=True)
    with _stocked_shop() as shop, open_browser() as browser:
        for scene in SCENES:
            _take(shop, browser, scene, scene)
        _take(shop, browser, SCENES[0], "dark", scheme="dark")
        _take(shop, browser, SCENES[0], "desktop", width=900)
    with _stocked_shop() as shop, open_browser() as browser:
        late = _fill(shop)
        _take_operator(shop, browser, "payments", "/", height=1000)
        _take_operator(shop, browser, "payment", f"/operator/payments/{late}", height=1000)
        _take_operator(shop, browser, "money", "/operator/money", scheme="dark", height=560)
        _take_operator(shop, browser, "phone", "/", width=WIDTH, height=900)
    with tempfile.TemporaryDirectory() as directory, open_browser() as browser:
        take_links(Path(directory), browser)


def take_links(directory: Path, browser: Browser) -> None:
    """Take the screenshots of the pages of payment links, and of the operator's tab."""
    LINKS.mkdir(parents=True, exist_ok=True)
    url, environ = (
        f"sqlite:///{directory / 'links.db'}",
        {"OPERATOR_PASSWORD": PASSWORD, "ADDRESS_POOL": "20"},
    )
    with open_shop(directory, url, environ, 60) as server:
        shop = LinkShop(server, link_settings(directory, url, environ))
        Seller.update(name="Alpaca Direct").execute()
        due = {"order_id": "2026-17", "due_at": "2026-12-24T23:59:59Z", "description": "Three pairs of socks"}
        pages = {
            "open": shop.link(title="Invoice 2026-17", **due),
            "part": shop.link(title="Invoice 2026-18"),
            "paid": shop.link(title="Invoice 2026-16", thanks="Your socks are on their way."),
            "choose": shop.donation(description="Thank you for keeping us awake.", suggested=[3, 5, 10, 20]),
        }
        shop.pay(shop.request(pages["paid"]), depth=6)
        part = shop.request(pages["part"])
        shop.pay(part, part.amount_sats // 2, depth=6)
        shop.pay(shop.request(pages["choose"], "amount=25"), depth=6)
        shop.expire(part)
        store_rates("kraken", {"EUR": Decimal("61146.30")}, server.now)
        for name, link_id in pages.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": 400}, locale="en-GB")
            page.goto(f"http://127.0.0.1:{server.port}/l/{link_id}")
            page.screenshot(path=LINKS / f"{name}.png", full_page=True)
            page.close()
        _take_operator(server, browser, "links", "/operator/links", height=520)


def _fill(shop: WebServer) -> str:
    """Create the payments of a month, with a late payment to decide about, and return its id."""
    for number in range(60):
        made = create_in_scene(shop, "confirmed", note=NOTES[number % len(NOTES)])
        amount = Decimal(number * 7919 % 20_000) / 100 + 5
        confirmed_at = shop.now - timedelta(days=number * 7 % 31, minutes=number)
        change(made, amount_fiat=f"{amount:.2f}", confirmed_at=confirmed_at, created_at=confirmed_at)
    extra = create_in_scene(shop, "confirmed", note=NOTES[0])
    change(extra, received_sats=DUE_SATS + 50_000, overpaid_sats=50_000)
    for scene in ("expired", "confirming", "underpaid", "received", "new"):
        shop.wait(seconds=7)
        create_in_scene(shop, scene, note=NOTES[len(scene) % len(NOTES)])
    document = create_in_scene(shop, "late", note=NOTES[2], label="Alpaca Direct")
    late: str = document["payment_request_id"]
    shop.wait(seconds=5)
    Output.update(first_seen_at=shop.now, present_since=shop.now).execute()
    change(document, expires_at=shop.now - timedelta(minutes=42))
    for source in ("kraken", "bitpay"):
        store_rates(source, {"EUR": Decimal("58988.50")}, shop.now)
    add_event(shop, {"payment_request_id": late}, "payment.late")
    return late


def _take_operator(
    shop: WebServer,
    browser: Browser,
    name: str,
    path: str,
    *,
    height: int,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    beat(shop.now, TIP, [])
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
    page.goto(f"http://127.0.0.1:{shop.port}/operator/login")
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    page.goto(f"http://127.0.0.1:{shop.port}{path}")
    page.screenshot(path=OPERATOR / f"{name}.png")
    page.close()


def _take(
    shop: WebServer,
    browser: Browser,
    scene: str,
    name: str,
    *,
    width: int = WIDTH,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    document = create_in_scene(
        shop, scene, label="Alpaca Direct, order 17", redirect_url="https://shop.example/thanks"
    )
    page = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=scheme, locale="en-GB")
    # Stop the clock and the animations, so that each run takes the same picture.
    page.clock.install()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"http://127.0.0.1:{shop.port}/pay/{document['payment_request_id']}")
    page.screenshot(path=DIRECTORY / f"{name}.png", full_page=True)
    page.close()


@contextmanager
def _stocked_shop() -> Iterator[WebServer]:
    """Run a web server at today's date, with addresses that look real."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/nodetill.db"
        with open_shop(Path(directory), url, {"OPERATOR_PASSWORD": PASSWORD}, addresses=0) as shop:
            shop.now = datetime.now(UTC)
            programs = [hashlib.sha256(bytes([number])).digest()[:20] for number in range(100)]
            pool = [(segwit_addr.encode("bcrt", 0, program), b"\x00\x14" + program) for program in programs]
            add_addresses(pool, "nodetill", shop.now)
            store_rates("kraken", {"EUR": Decimal("61146.30")}, shop.now)
            store_rates("bitpay", {"EUR": Decimal("61146.30")}, shop.now)
            yield shop


if __name__ == "__main__":
    take_all()
