"""The operator's pages in a real browser update themselves, are accessible, and run no foreign script."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from models.command import ACCEPT_LATE, REDELIVER, DaemonCommand
from models.daemon_status import beat
from models.operator_session import OperatorSession
from models.payment import PaymentRequest
from models.queries.attention import ActionNeeded, needs_action
from payments.greenfield.permissions import POLICIES
from tests.conftest import NewDatabase
from tests.functional.test_checkout_browser import AA_CONTRAST, CONTRASTS
from tests.support.checkout_scenes import DUE_SATS, change, create_in_scene
from tests.support.operator_client import PASSWORD
from tests.support.operator_scenes import add_event, create_action_needed
from tests.support.web_server import NOW, TIP, WebServer, give_key, open_shop, stored

SELLER = "/operator/sellers/company1"
OpenPage = Callable[..., Page]
WIDTHS = (320, 360, 768, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MARKUP = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
LONG = "Donaudampfschifffahrtsgesellschaftskapitänskajüte" * 4
PATIENCE = 60_000


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Open a shop with an operator, and with a payment for each kind of decision."""
    directory = tmp_path_factory.mktemp("shop")
    settings = {"OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, new_database(directory), settings, addresses=200) as opened:
        give_key("company1", "nt_shop", label=LONG[:100], permissions=["x" * 100, *POLICIES])
        give_key("company1", "nt_old", label=MARKUP[:100], revoked_at=NOW)
        create_action_needed(opened, note=f"{MARKUP} {LONG}", label=MARKUP, metadata={MARKUP: LONG})
        yield opened


@pytest.fixture(scope="module")
def key(shop: WebServer, browser: Browser) -> Any:
    """Return the cookies of a browser that has logged in once, because a login takes time."""
    context = browser.new_context()
    log_in(context, shop).wait_for_url("**/")
    cookies = context.cookies()
    context.close()
    return cookies


@pytest.fixture
def open_page(shop: WebServer, browser: Browser, key: Any) -> Iterator[OpenPage]:
    """Return a function that opens a page as the operator, in a browser with these properties.

    The test fails if a page logs a message or an error.
    """
    faults: list[str] = []
    contexts = []

    def open_it(path: str = "/", **properties: Any) -> Page:
        contexts.append(browser.new_context(**{"locale": "en-GB", **properties}))
        contexts[-1].add_cookies(key)
        page: Page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


def log_in(context: BrowserContext, shop: WebServer, path: str = "/operator/login") -> Page:
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}{path}")
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    return page


def path_of(document: dict[str, Any]) -> str:
    return f"/operator/payments/{document['payment_request_id']}"


def row_of(page: Page, document: dict[str, Any], need: str = "") -> Any:
    return page.locator(f"[id='{need}{document['payment_request_id']}']")


def all_paths() -> list[str]:
    """Return the path of a page of each kind, and of a payment for each kind of decision."""
    rows = [PaymentRequest.select().where(needs_action(need)).get() for need in ActionNeeded]
    pages = ["/", "/?needs=late", "/?needs=undelivered", "/operator/money", "/operator/sellers", SELLER]
    pages += ["/operator/new", "/operator/till"]
    return [*pages, *(f"/operator/payments/{row.reference}" for row in rows)]


def test_an_operator_logs_in_and_out(shop: WebServer, browser: Browser) -> None:
    """The keyboard is enough for the login, which leads to the requested page. A logout closes all pages."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/operator/money")
    field = page.get_by_label("Operator password")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("autocomplete", "current-password")
    page.keyboard.type("open barley")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The password is wrong.")
    shop.wait(seconds=1)
    page.get_by_label("Operator password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Money received")
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    assert set(cookies) == {"nodetill-session", "nodetill-browser"}
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies.values())
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_label("Operator password")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Operator password")).to_be_visible()
    context.close()


def test_a_key_is_made_and_revoked_in_a_browser(shop: WebServer, open_page: OpenPage) -> None:
    """The page with the key does not reload itself. A second visit shows the key without its text."""
    page = open_page("/operator/sellers")
    page.get_by_role("link", name="company1").click()
    page.get_by_label("Label, for you (optional)").fill("Bookkeeping")
    page.get_by_label("Only this:").check()
    page.get_by_label("See the payment requests of this seller").check()
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New key of company1")
    key = page.get_by_text("nt_").inner_text()
    assert shop.get("/api/v1/rates", {"Authorization": f"token {key}"}).status == 200
    page.get_by_role("link", name="Back to company1").click()
    row = page.get_by_role("row").filter(has_text="Bookkeeping")
    expect(row).to_contain_text("See the payment requests of this seller")
    row.get_by_text("Revoke…").click()
    row.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Bookkeeping")).to_have_count(0)
    assert shop.get("/api/v1/rates", {"Authorization": f"token {key}"}).status == 401


def test_all_text_has_enough_contrast(shop: WebServer, open_page: OpenPage) -> None:
    """The contrast is at least 4.5 to 1 (WCAG AA), in the light and in the dark scheme."""
    page = open_page()
    for path in all_paths():
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            contrasts = page.evaluate(CONTRASTS)
            assert len(contrasts) > 8
            assert [(text, ratio) for text, ratio in contrasts if ratio < AA_CONTRAST] == [], (path, scheme)


def test_no_page_is_wider_than_the_screen(shop: WebServer, open_page: OpenPage) -> None:
    """The screens go from the smallest phone to a desktop, and the pages have a very long word."""
    page = open_page()
    for path in all_paths():
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_a_screen_reader_can_use_each_page(shop: WebServer, open_page: OpenPage) -> None:
    """Each page has one main part and one headline. Each table, field, button and link has a name."""
    page = open_page()
    for path in all_paths():
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        expect(page.get_by_role("main")).to_have_count(1)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        nameless = """[...document.querySelectorAll("a, button, table, [type=search], select")].filter(
            (e) => !(e.getAttribute("aria-label") ?? e.caption?.textContent ?? e.labels?.[0]?.textContent
            ?? e.textContent).trim()).length"""
        assert page.evaluate(nameless) == 0
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))
    page.goto(f"http://127.0.0.1:{shop.port}/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    names = page.get_by_role("button", name="Mark as done").evaluate_all(
        "all => all.map((e) => e.textContent)"
    )
    assert len(names) == len(set(names)) > 1


def test_no_script_in_a_text_runs(shop: WebServer, open_page: OpenPage) -> None:
    """Notes, labels and metadata are shown as they were written."""
    page = open_page()
    for path in all_paths():
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        assert "taken" not in page.title()
        assert page.locator("main img:not(.qr)").count() == 0
    expect(page.get_by_text("<script>document.title").first).to_be_visible()


def test_pages_load_only_files_of_this_server(shop: WebServer, open_page: OpenPage) -> None:
    page = open_page()
    loaded = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert loaded
    assert all(url.startswith(f"http://127.0.0.1:{shop.port}/") for url in loaded)


def test_the_list_updates_itself(shop: WebServer, open_page: OpenPage) -> None:
    """New payments, statuses and decisions appear without a reload. The focus and a half-typed text stay."""
    page = open_page()
    page.evaluate("window.isTheSamePage = true")
    page.get_by_text("Find…").click()
    search = page.get_by_role("searchbox")
    search.fill("half a wo")
    made = create_in_scene(shop, "new", note="fresh")
    row = row_of(page, made)
    expect(row).to_contain_text("fresh", timeout=PATIENCE)
    expect(row.locator(".status")).to_have_text("new")
    link = row.get_by_role("link")
    link.focus()
    change(made, status="expired", received_sats=DUE_SATS, due_sats=0, is_late=True)
    expect(row).to_contain_text("late", timeout=PATIENCE)
    expect(row_of(page, made, "late-")).to_be_visible(timeout=PATIENCE)
    expect(link).to_be_focused()
    expect(search).to_have_value("half a wo")
    assert page.evaluate("window.isTheSamePage")


def test_late_money_is_accepted_with_a_click(shop: WebServer, open_page: OpenPage) -> None:
    """The list asks before it accepts. The row then has a line on it, and the daemon gets the command."""
    made = create_in_scene(shop, "late")
    page = open_page("/?needs=late")
    row = row_of(page, made)
    expect(row).to_contain_text("Came 1 s late.")
    expect(row.get_by_role("button", name="Accept")).to_be_hidden()
    row.get_by_text("Accept…").click()
    other = create_in_scene(shop, "late")
    expect(row_of(page, other)).to_be_visible(timeout=PATIENCE)
    row.get_by_role("button", name="Accept at the old price").click()
    page.wait_for_url("**/?needs=late&done=*")
    expect(page.get_by_role("status").get_by_text("This cannot be undone.")).to_be_visible()
    expect(row).to_contain_text("Accepted: the daemon will count it.")
    page.goto(f"http://127.0.0.1:{shop.port}{path_of(made)}")
    assert (
        DaemonCommand.select()
        .where((DaemonCommand.kind == ACCEPT_LATE) & (DaemonCommand.payment == stored(made)))
        .count()
        == 1
    )
    change(made, status="confirmed", late_accepted_at=shop.now)
    expect(page.locator("#facts .status").first).to_have_text("confirmed", timeout=PATIENCE)
    expect(page.get_by_text("Late money accepted")).to_be_visible()


def test_a_message_is_sent_again_with_a_click(shop: WebServer, open_page: OpenPage) -> None:
    """A decision that is marked as done leaves the list."""
    made = create_in_scene(shop, "confirmed")
    add_event(shop, made, "payment.confirmed", webhook={"failed_at": shop.now, "last_error": "HTTP 500"})
    page = open_page()
    row_of(page, made, "undelivered-").get_by_role("link").click()
    box = page.locator(".attention")
    expect(box.get_by_text("HTTP 500")).to_be_visible()
    box.get_by_role("button", name="Send again").click()
    expect(box.get_by_text("The daemon will send it again.")).to_be_visible()
    assert (
        DaemonCommand.select()
        .where((DaemonCommand.kind == REDELIVER) & (DaemonCommand.payment == stored(made)))
        .count()
        == 1
    )
    page.get_by_label("Your comment").fill("The shop has a new address.")
    page.get_by_role("button", name="Mark as done").click()
    expect(page.get_by_role("status").get_by_text("Done.")).to_be_visible()
    expect(page.get_by_text("The shop has a new address.")).to_be_visible()
    expect(page.get_by_role("button", name="Mark as done PR")).to_have_count(0)
    page.goto(f"http://127.0.0.1:{shop.port}/")
    expect(row_of(page, made)).to_be_visible()
    expect(row_of(page, made, "undelivered-")).to_have_count(0)


@pytest.mark.parametrize("has_script", [True, False], ids=["with a script", "without one"])
def test_payments_are_found_and_exported(
    shop: WebServer, open_page: OpenPage, tmp_path: Path, has_script: bool
) -> None:
    """The list and the CSV have the payments that match the form."""
    note = f"Ærø {has_script}"
    made, _ = create_in_scene(shop, "confirmed", note=note), create_in_scene(shop, "new", note=note)
    page = open_page(java_script_enabled=has_script)
    page.get_by_text("Find…").click()
    page.get_by_role("searchbox").fill(note)
    page.get_by_label("Status").select_option("confirmed")
    page.get_by_label("To", exact=True).fill("2026-11-23")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(row_of(page, made)).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value(note)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["payment_request_id"] for row in rows] == [made["payment_request_id"]]
    page.get_by_role("link", name="All payments").click()
    expect(page.get_by_role("searchbox")).to_have_count(0)
    page.get_by_text("Find…").click()
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_a_mark_as_done_can_be_undone_in_the_list(shop: WebServer, open_page: OpenPage) -> None:
    """The undo keeps the list's filter, and needs no JavaScript."""
    made = create_in_scene(shop, "expired_partly")
    for has_script in (True, False):
        # The time of a form identifies its decisions, so two forms need different times.
        shop.wait(seconds=1)
        page = open_page("/?needs=part", java_script_enabled=has_script)
        row = row_of(page, made)
        row.get_by_role("button", name="Mark as done").click()
        page.wait_for_url("**/?needs=part&done=*")
        expect(row).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(row).to_be_visible()


def test_a_phone_shows_the_decisions_first(shop: WebServer, open_page: OpenPage) -> None:
    """The first screen of a phone has a decision. Health is one line, and the filters are closed."""
    page = open_page(viewport={"width": 360, "height": 800})
    decision = page.locator("#questions tbody tr").first.bounding_box()
    assert decision is not None
    assert decision["y"] + decision["height"] <= 800
    health = page.locator("#health").bounding_box()
    assert health is not None
    assert decision["y"] < health["y"]
    assert health["height"] < 80
    expect(page.get_by_text("All is well · block")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_be_hidden()
    page.goto(f"http://127.0.0.1:{shop.port}/?q=x")
    expect(page.get_by_role("searchbox")).to_be_visible()


def test_a_problem_opens_the_health_section(shop: WebServer, open_page: OpenPage) -> None:
    """A section that the reader has opened stays open."""
    page = open_page()
    page.get_by_text("All is well").click()
    beat(shop.now, TIP + 1, [])
    expect(page.locator("#health")).to_contain_text(f"block {TIP + 1:,}", timeout=PATIENCE)
    expect(page.get_by_text("Payments checked")).to_be_visible()
    page.get_by_text("All is well").click()
    beat(shop.now, TIP, ["bitcoind does not answer"])
    expect(page.locator("#problems")).to_contain_text("bitcoind does not answer", timeout=PATIENCE)
    expect(page.get_by_text("Payments checked")).to_be_visible()
    beat(shop.now, TIP, [])


def test_no_two_landmarks_have_the_same_name(shop: WebServer, open_page: OpenPage) -> None:
    """A screen reader lists the landmarks by their names (axe: landmark-unique)."""
    page = open_page()
    for path in all_paths():
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        names = page.evaluate(
            """[...document.querySelectorAll("section[aria-label], section[aria-labelledby], [role=region]")]
            .map((e) => e.getAttribute("aria-label")
                ?? document.getElementById(e.getAttribute("aria-labelledby")).textContent)"""
        )
        assert len(names) == len(set(names)), (path, names)


def test_a_visitor_finds_the_link_to_the_login(shop: WebServer, browser: Browser) -> None:
    """The first page has an inconspicuous link, and no password field."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/")
    expect(page.get_by_text("open the link that the shop gave you")).to_be_visible()
    expect(page.get_by_label("Operator password")).to_have_count(0)
    page.get_by_role("link", name="Operator login").click()
    expect(page.get_by_label("Operator password")).to_be_visible()
    context.close()


def test_a_lost_connection_is_shown(shop: WebServer, browser: Browser, key: Any) -> None:
    """The page may be out of date, and shows a message until the connection is back."""
    context = browser.new_context()
    context.add_cookies(key)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/")
    context.set_offline(True)
    expect(page.get_by_text("No connection to Nodetill")).to_be_visible(timeout=PATIENCE)
    context.set_offline(False)
    expect(page.get_by_text("No connection to Nodetill")).to_have_count(0, timeout=PATIENCE)
    context.close()


def test_an_ended_session_leads_to_the_login(shop: WebServer, browser: Browser) -> None:
    """The page redirects by itself. The login leads back to the same page."""
    context = browser.new_context()
    page = log_in(context, shop, "/?status=confirmed")
    page.wait_for_url("**/?status=confirmed")
    session = next(each["value"] for each in context.cookies() if each["name"] == "nodetill-session")
    OperatorSession.delete().where(OperatorSession.id == session.partition(".")[0]).execute()
    field = page.get_by_label("Operator password")
    expect(field).to_be_visible(timeout=PATIENCE)
    field.fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/?status=confirmed")
    context.close()


def test_a_link_on_another_site_needs_no_second_login(shop: WebServer, open_page: OpenPage) -> None:
    """SameSite=Strict withholds the cookies at first, but an operator with a session is still logged in."""
    page = open_page()
    page.goto(f"http://localhost:{shop.port}/docs")
    page.evaluate(f"location.href = 'http://127.0.0.1:{shop.port}/operator/money?days=7'")
    page.wait_for_url(f"http://127.0.0.1:{shop.port}/operator/money?days=7")
    expect(page.get_by_role("heading", level=1)).to_have_text("Money received")


def test_each_chart_has_a_table(shop: WebServer, open_page: OpenPage) -> None:
    """The table has the amounts that the bars show."""
    change(create_in_scene(shop, "confirmed"), confirmed_at=shop.now, currency="CHF", amount_fiat="1234.50")
    page = open_page("/operator/money")
    expect(page.get_by_role("img", name="CHF by day")).to_be_visible()
    section = page.get_by_role("region", name="CHF", exact=True)
    section.get_by_text("By day", exact=True).click()
    expect(section.get_by_role("row").nth(1)).to_contain_text("1,234.50\xa0CHF")
    page.get_by_role("link", name="Months").click()
    page.get_by_role("region", name="CHF", exact=True).get_by_text("By seller", exact=True).click()
    expect(page.get_by_role("region", name="CHF by seller")).to_contain_text("1,234.50\xa0CHF")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert "2026-11,CHF,company1,1,1234.50," in download.value.path().read_text("utf-8-sig")
