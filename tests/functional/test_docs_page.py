"""The page /docs in a real browser, and its code in the three languages."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page
from standardwebhooks import Webhook

from models.webhook import new_webhook_secret
from regtest.fetch import fetched_command
from tests.conftest import NewDatabase
from tests.functional.test_checkout_browser import AA_CONTRAST, CONTRASTS
from tests.support.nodejs import node_command
from tests.support.web_server import WebServer, open_shop

ROOT = Path(__file__).parent.parent.parent
SECRET, OTHER_SECRET = new_webhook_secret(), new_webhook_secret()
WIDTHS = (320, 360, 768, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# Elements whose content is wider than they are, so that a reader has to scroll sideways.
CUT_OFF = """() => [document.documentElement, ...document.querySelectorAll("body, body *")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== "inline")
  .map((each) => each.outerHTML.slice(0, 200))"""

Verify = Callable[[str, Mapping[str, str], bytes], bool]


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server with a public URL of usual length."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), {"PUBLIC_URL": "https://pay.example.com"}) as opened:
        yield opened


@pytest.fixture
def page(shop: WebServer, browser: Browser) -> Iterator[Page]:
    """Yield the page in a browser. At the end, it may have had no fault."""
    faults: list[str] = []
    opened = browser.new_page()
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(f"http://127.0.0.1:{shop.port}/docs")
    yield opened
    opened.close()
    assert faults == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_on_the_docs_page_is_cut_off(page: Page, width: int) -> None:
    """No line of code, no table and no word is wider than its element."""
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_on_the_docs_page_has_enough_contrast(page: Page, scheme: Literal["light", "dark"]) -> None:
    """The minimum is that of WCAG 2.2, AA."""
    page.emulate_media(color_scheme=scheme)
    weak = [text for text, contrast in page.evaluate(CONTRASTS) if contrast < AA_CONTRAST]
    assert weak == []


def test_a_keyboard_reaches_each_example(page: Page) -> None:
    """A reader with a large font has to scroll in an example."""
    examples = page.locator("pre")
    assert examples.count() >= 8
    for index in range(examples.count()):
        assert examples.nth(index).get_attribute("tabindex") == "0"
        examples.nth(index).focus()
        assert examples.nth(index).evaluate("each => each === document.activeElement")


def test_the_headings_leave_out_no_level(page: Page) -> None:
    """A screen reader uses the levels for navigation."""
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_link_of_a_problem_type_leads_to_its_row(page: Page) -> None:
    """The link is on the page, and the author of a program can open it too."""
    page.get_by_role("link", name="idempotency-key-expired").click()
    assert page.url.endswith("#problem-idempotency-key-expired")
    row = page.locator("#problem-idempotency-key-expired")
    assert row.evaluate("each => each.getBoundingClientRect().top < innerHeight")


def python_verifier(code: str, directory: Path) -> Verify:
    """Return the verifier of the page, which runs in another process."""
    runner = (
        "import json, sys\n"
        "call = json.loads(sys.stdin.read())\n"
        "signed = is_signed(call['secret'], call['headers'], call['body'].encode())\n"
        "print(json.dumps(signed))\n"
    )
    return _verifier([sys.executable], directory / "verify.py", f"{code}\n\n\n{runner}")


def php_verifier(code: str, directory: Path) -> Verify:
    """Return the verifier of the page, in the PHP of the path or of Debian."""
    found = shutil.which("php")
    command = [found] if found else fetched_command("php-cli", ROOT / ".php", "php[0-9]*")
    runner = (
        "$call = json_decode(stream_get_contents(STDIN), true);\n"
        "echo json_encode(is_signed($call['secret'], $call['headers'], $call['body']));\n"
    )
    return _verifier([*command, "-n"], directory / "verify.php", f"{code}\n{runner}")


def javascript_verifier(code: str, directory: Path) -> Verify:
    """Return the verifier of the page, in the Node.js of playwright."""
    runner = (
        'import { readFileSync } from "node:fs";\n'
        "const { secret, headers, body } = JSON.parse(readFileSync(0));\n"
        "console.log(JSON.stringify(isSigned(secret, headers, Buffer.from(body))));\n"
    )
    return _verifier(node_command(), directory / "verify.mjs", f"{code}\n{runner}")


def _verifier(command: list[str], path: Path, program: str) -> Verify:
    path.write_text(program)

    def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
        call = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        done = subprocess.run([*command, str(path)], input=call, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        is_signed = json.loads(done.stdout)
        assert isinstance(is_signed, bool)
        return is_signed

    return verify


def signed(body: bytes, moment: datetime, *secrets: str) -> dict[str, str]:
    """Return the headers of a webhook that these secrets sign."""
    signatures = [Webhook(secret).sign("evt_1", moment, body.decode()) for secret in secrets]
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


VERIFIERS = {"python": python_verifier, "php": php_verifier, "javascript": javascript_verifier}


@pytest.mark.parametrize("language", VERIFIERS)
def test_the_code_verifies_a_webhook(page: Page, language: str, tmp_path: Path) -> None:
    """The code accepts a real signature, and refuses a forged or old one."""
    shown = page.locator(f"#verify-{language}").inner_text()
    verify = VERIFIERS[language](shown, tmp_path)
    body, now = '{"type":"payment.confirmed","data":{"note":"Wörter"}}'.encode(), datetime.now(UTC)
    good = signed(body, now, SECRET)
    assert verify(SECRET, good, body)
    assert verify(SECRET, signed(body, now, OTHER_SECRET, SECRET), body)
    assert not verify(SECRET, signed(body, now, OTHER_SECRET), body)
    assert not verify(SECRET, good, body.replace(b"confirmed", b"received"))
    assert not verify(SECRET, {**good, "webhook-id": "evt_2"}, body)
    for hours in (-1, 1):
        assert not verify(SECRET, signed(body, now + timedelta(hours=hours), SECRET), body)
    for name in good:
        assert not verify(SECRET, {**good, name: "ü"}, body)
        assert not verify(SECRET, {key: value for key, value in good.items() if key != name}, body)
