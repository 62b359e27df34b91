"""`python -m tests.screenshots` takes the README's pictures of the checkout page, into docs/checkout."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from bitcoin import segwit_addr
from playwright.sync_api import Browser

from models.address import add_addresses
from models.rate import store_rates
from tests.browser import open_browser
from tests.checkout_scenes import stage
from tests.web_server import Shop, open_shop

DIRECTORY = Path(__file__).parent.parent / "docs" / "checkout"
SCENES = ("new", "underpaid", "received", "confirming", "confirmed", "expired", "late", "replaced")
WIDTH = 360


def take_all() -> None:
    """A picture of each of SCENES on a phone, and of the first in the dark and on a desktop."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with _stocked_shop() as shop, open_browser() as browser:
        for scene in SCENES:
            _take(shop, browser, scene, scene)
        _take(shop, browser, SCENES[0], "dark", scheme="dark")
        _take(shop, browser, SCENES[0], "desktop", width=900)


def _take(
    shop: Shop,
    browser: Browser,
    scene: str,
    name: str,
    *,
    width: int = WIDTH,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    document = stage(shop, scene, label="Alpaca Direct, order 17", redirect_url="https://shop.example/thanks")
    page = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=scheme, locale="en-GB")
    # Of one moment: the clock stands, and nothing turns.
    page.clock.install()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"http://127.0.0.1:{shop.port}/pay/{document['payment_request_id']}")
    page.screenshot(path=DIRECTORY / f"{name}.png", full_page=True)
    page.close()


@contextmanager
def _stocked_shop() -> Iterator[Shop]:
    """A shop of today, with addresses that look like addresses."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/nodetill.db"
        with open_shop(Path(directory), url, addresses=0) as shop:
            shop.now = datetime.now(UTC)
            programs = [hashlib.sha256(bytes([number])).digest()[:20] for number in range(40)]
            pool = [(segwit_addr.encode("bcrt", 0, program), b"\x00\x14" + program) for program in programs]
            add_addresses(pool, "nodetill", shop.now)
            store_rates("kraken", {"EUR": Decimal("61146.30")}, shop.now)
            store_rates("bitpay", {"EUR": Decimal("61146.30")}, shop.now)
            yield shop


if __name__ == "__main__":
    take_all()
