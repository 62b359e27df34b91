"""The page on which the operator gives a shop an API key, over HTTP."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import pytest

from models.api_key import BY_PAGE, ApiKey, hash_of
from models.operator_session import LoginAttempt
from models.seller import Seller
from tests.conftest import NewDatabase
from tests.support.html_document import Document
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.web_server import KEY, NOW, WebServer, add_seller, open_shop, serving, settings_of

pytestmark = pytest.mark.one_database

PATH = "/api-keys/authorize"
HOSTILE = "\"'><script>alert(1)</script>{{7*7}}<!-- &amp; </title>"
SHOP = "https://shop.example/connected"
WOO = (
    "canviewinvoices",
    "cancreateinvoice",
    "canviewstoresettings",
    "canmodifyinvoices",
    "cancreatenonapprovedpullpayments",
    "webhooks.canmodifywebhooks",
)
MAGENTO = (
    "canviewinvoices",
    "cancreateinvoice",
    "webhooks.canmodifywebhooks",
    "canviewstoresettings",
    "canmodifyinvoices",
)
PRESTASHOP = ("canmodifystoresettings", *MAGENTO)


def query_of(permissions: tuple[str, ...] = MAGENTO, **parameters: str) -> str:
    pairs = [("permissions", f"btcpay.store.{each}") for each in permissions]
    return urlencode([*pairs, *({"redirect": SHOP, **parameters}.items())])


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("shop")
    environ = {"OPERATOR_PASSWORD": PASSWORD, "PUBLIC_URL": "https://pay.example"}
    with open_shop(directory, new_database(directory), environ, addresses=0) as opened:
        yield opened


@pytest.fixture(autouse=True)
def only_one_seller(shop: WebServer) -> Iterator[None]:
    yield
    ApiKey.delete().where(ApiKey.key_hash != hash_of(KEY)).execute()
    Seller.delete().where(Seller.id != "company1").execute()


@pytest.fixture(scope="module")
def session(shop: WebServer) -> dict[str, str]:
    """Return the cookies of one login for all tests, because a login takes time."""
    LoginAttempt.delete().execute()
    client = OperatorClient(shop, headers={"Origin": "https://pay.example"})
    assert client.log_in().status == 303
    return client.cookies


@pytest.fixture
def operator(shop: WebServer, session: dict[str, str]) -> OperatorClient:
    return OperatorClient(shop, {**session})


def new_keys() -> list[ApiKey]:
    return list(ApiKey.select().where(ApiKey.key_hash != hash_of(KEY)).order_by(ApiKey.id))


def handed_over(page: OperatorResponse) -> tuple[str, list[tuple[str, str]]]:
    """Return the address and the fields of the form that sends the key to the shop."""
    document = Document(page.text)
    (form,) = document.of("form")
    assert form["method"] == "post"
    fields = [(str(each["name"]), str(each["value"])) for each in document.of("input")]
    return str(form["action"]), fields


@pytest.mark.parametrize(
    ("asked", "granted"), [(WOO, (*WOO[:4], WOO[5])), (MAGENTO, MAGENTO), (PRESTASHOP, PRESTASHOP)]
)
def test_an_approved_shop_gets_exactly_what_it_asked_for(
    operator: OperatorClient, asked: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    """Only the permissions for refunds are left out. Plug-ins refuse a key with other permissions."""
    page = operator.get(f"{PATH}?{query_of(asked, applicationName='My <b>shop</b>')}")
    assert page.status == 200
    assert "shop.example" in page.words
    assert "My <b>shop</b>" in page.words
    assert new_keys() == []
    done = operator.post(PATH, **page.fields)
    assert done.status == 200
    action, fields = handed_over(done)
    (key,) = new_keys()
    names = [f"btcpay.store.{each}" for each in granted]
    assert action == SHOP
    values = dict(fields)
    assert hash_of(values["apiKey"]) == key.key_hash
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", values["apiKey"])
    assert values["userId"]
    sent = [value for name, value in fields if name == "permissions[]"]
    assert sent == [f"{each}:company1" for each in names]
    assert (key.seller_id, key.created_by) == ("company1", BY_PAGE)
    assert key.label == "My <b>shop</b> at shop.example"
    assert {*key.permissions} == {*names}
    assert ("pullpayments" in page.words) is (asked == WOO)
    # Somebody could steal the key from a page in the history or in a cache.
    assert done.headers["Cache-Control"] == "no-store"


def test_the_page_may_send_the_key_only_to_its_host(operator: OperatorClient) -> None:
    """No other site may show the page in a frame."""
    page = operator.get(f"{PATH}?{query_of()}")
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    done = operator.post(PATH, **page.fields)
    assert "form-action https://shop.example;" in done.headers["Content-Security-Policy"]
    for each in (page, done):
        assert "frame-ancestors 'none'" in each.headers["Content-Security-Policy"]
        assert "script-src 'self'" in each.headers["Content-Security-Policy"]
        assert each.headers["X-Frame-Options"] == "DENY"


def test_a_stranger_logs_in_first_and_comes_back(shop: WebServer) -> None:
    """The login leads back to the complete request of the shop, and to no other site."""
    LoginAttempt.delete().execute()
    client = OperatorClient(shop, headers={"Origin": "https://pay.example"})
    path = f"{PATH}?{query_of(applicationName='Wöö & more')}"
    to_login = client.get(path)
    assert (to_login.status, urlsplit(to_login.leads_to).path) == (303, "/operator/login")
    (to,) = parse_qs(urlsplit(to_login.leads_to).query)["to"]
    assert client.get(to_login.leads_to).status == 200
    inside = client.log_in(to=to)
    assert (inside.status, inside.leads_to) == (303, path)
    assert client.get(path).status == 200
    for foreign in ("https://evil.example/", "//evil.example", f"{PATH[1:]}/../x", PATH):
        assert client.get(f"/operator/login?to={quote(foreign)}").leads_to == "/"


def test_a_form_without_a_login_or_from_another_site_makes_no_key(
    shop: WebServer, operator: OperatorClient
) -> None:
    fields = operator.get(f"{PATH}?{query_of()}").fields
    assert OperatorClient(shop).post(PATH, **fields).leads_to == "/operator/login"
    operator.headers["Origin"] = "https://shop.example"
    assert operator.post(PATH, **fields).status == 403
    operator.headers.update({"Origin": "https://pay.example", "Sec-Fetch-Site": "cross-site"})
    assert operator.post(PATH, **fields).status == 403
    assert new_keys() == []


def test_the_approval_is_for_the_request_on_the_page(shop: WebServer, operator: OperatorClient) -> None:
    """A token of another request or of another session approves nothing."""
    fields = operator.get(f"{PATH}?{query_of()}").fields
    LoginAttempt.delete().execute()
    other = OperatorClient(shop)
    other.log_in()
    foreign = other.get(f"{PATH}?{query_of()}").fields
    for changed in (
        {"query": query_of(redirect="https://evil.example/")},
        {"query": query_of(PRESTASHOP)},
        {"query": "ü€"},
        {"query": ""},
        {"token": ""},
        {"token": foreign["token"]},
        {"token": "x" * 64},
    ):
        assert operator.post(PATH, **{**fields, **changed}).status == 403, changed
    assert new_keys() == []


@pytest.mark.parametrize(
    ("redirect", "words"),
    [
        ("javascript:alert(1)", "must be an http or https address"),
        ("http://shop.example/", "must start with https://"),
        ("https://shop.example@evil.example/", "no user"),
        ("https://", "must have a host"),
    ],
)
def test_a_bad_address_gets_no_key(operator: OperatorClient, redirect: str, words: str) -> None:
    """The page names the reason, and explains how to connect by hand."""
    query = query_of(redirect=redirect)
    page = operator.get(f"{PATH}?{query}")
    assert page.status == 422
    assert words in page.words
    assert "https://pay.example" in page.words
    assert "token" not in page.fields


@pytest.mark.parametrize("permissions", [(), ("canmodifyserversettings",)])
def test_a_request_without_a_known_permission_gets_no_key(
    operator: OperatorClient, permissions: tuple[str, ...]
) -> None:
    page = operator.get(f"{PATH}?{query_of(permissions)}")
    assert page.status == 422
    assert "asks for no permission" in page.words


def test_no_text_of_a_shop_becomes_markup(operator: OperatorClient) -> None:
    Seller.update(name=HOSTILE).where(Seller.id == "company1").execute()
    hidden = "x\u202e\u0000y\nz"
    query = query_of((*MAGENTO, HOSTILE), applicationName=f"{HOSTILE} {hidden}", redirect=f"{SHOP}?{HOSTILE}")
    page = operator.get(f"{PATH}?{query}")
    assert page.status == 200
    assert not Document(page.text).of("script")
    assert "\u202e" not in page.text
    fields = page.fields
    assert fields["query"] == query
    action, _ = handed_over(operator.post(PATH, **fields))
    assert action.startswith(f"{SHOP}?%22'%3E%3Cscript%3E")
    Seller.update(name="").where(Seller.id == "company1").execute()


def test_the_operator_chooses_among_several_sellers(operator: OperatorClient) -> None:
    """The choices omit a removed seller. Without a choice, Nodetill makes no key."""
    add_seller("company2", "nt_2")
    add_seller("gone", "nt_3", removed_at=NOW)
    page = operator.get(f"{PATH}?{query_of()}")
    assert "company2" in page.words
    assert "gone" not in page.words
    fields = page.fields
    assert "seller" not in fields
    before = len(new_keys())
    for seller in ({}, {"seller": ""}, {"seller": "gone"}, {"seller": "company1 "}, {"seller": "../x"}):
        again = operator.post(PATH, **fields, **seller)
        assert again.status == 422
        assert "Choose the seller" in again.words
    assert len(new_keys()) == before
    _, sent = handed_over(operator.post(PATH, **fields, seller="company2"))
    assert all(value.endswith(":company2") for name, value in sent if name == "permissions[]")
    named = operator.get(f"{PATH}?{query_of(tuple(f'{each}:company2' for each in MAGENTO))}")
    assert named.fields["seller"] == "company2"


def test_a_new_seller_is_made_with_the_key(operator: OperatorClient) -> None:
    """With a wrong id, Nodetill makes no seller and no key."""
    fields = operator.get(f"{PATH}?{query_of()}").fields
    for wrong in ("", "-a", "a:b", "a/b", "x" * 65, "company1", "<b>"):
        again = operator.post(PATH, **{**fields, "seller": "+", "new_seller": wrong})
        assert again.status == 422, wrong
        assert again.fields["seller"] == "+"
    assert new_keys() == []
    done = operator.post(PATH, **{**fields, "seller": "+", "new_seller": "socks"})
    _, sent = handed_over(done)
    assert ("permissions[]", "btcpay.store.canviewinvoices:socks") in sent
    assert Seller.get(Seller.id == "socks").removed_at is None


def test_a_new_seller_has_the_name_and_the_support_of_the_form(operator: OperatorClient) -> None:
    """A wrong value makes neither seller nor key, and the form keeps what was typed."""
    fields = {**operator.get(f"{PATH}?{query_of()}").fields, "seller": "+", "new_seller": "socks"}
    for wrong in (
        {"support": "nobody"},
        {"support": "javascript://x"},
        {"name": "a\nb"},
        {"name": "x" * 201},
    ):
        again = operator.post(PATH, **{**fields, "name": "Alpaca Socks", **wrong})
        assert again.status == 422, wrong
        assert again.fields["new_seller"] == "socks"
    again = operator.post(PATH, **{**fields, "name": "Alpaca Socks", "support": "?"})
    assert again.fields["name"] == "Alpaca Socks"
    assert new_keys() == []
    done = operator.post(PATH, **{**fields, "name": " Alpaca Socks ", "support": "help@alpaca.example"})
    assert done.status == 200
    seller = Seller.get(Seller.id == "socks")
    assert (seller.name, seller.support) == ("Alpaca Socks", "help@alpaca.example")


def test_a_shop_that_is_not_strict_may_get_less(operator: OperatorClient) -> None:
    page = operator.get(f"{PATH}?{query_of(strict='false')}")
    fields = page.fields
    boxes = [name for name in fields if name.startswith("grant:")]
    assert len(boxes) == len(MAGENTO)
    kept = {name: value for name, value in fields.items() if name not in boxes[1:]}
    _, sent = handed_over(operator.post(PATH, **kept))
    assert len([name for name, _ in sent if name == "permissions[]"]) == 1
    none = {name: value for name, value in fields.items() if name not in boxes}
    assert operator.post(PATH, **none).status == 422


def test_without_an_address_the_key_is_shown_once(operator: OperatorClient) -> None:
    """The operator enters it in the shop."""
    query = urlencode([("permissions", f"btcpay.store.{each}") for each in MAGENTO])
    done = operator.post(PATH, **operator.get(f"{PATH}?{query}").fields)
    assert done.status == 200
    shown = re.search(r"nt_[A-Za-z0-9_-]{43}", unescape(done.text))
    assert shown is not None
    (key,) = new_keys()
    assert key.key_hash == hash_of(shown[0])
    assert not Document(done.text).of("form")


@pytest.mark.parametrize(
    "path", [f"{PATH}/", f"/{PATH}", "/API-Keys/Authorize", "/Api-Keys/authorize/", f"/{PATH}/"]
)
def test_other_spellings_lead_to_the_page(operator: OperatorClient, path: str) -> None:
    """Shopware adds a slash, and does not encode the address. A merchant may type a slash at the end."""
    query = f"permissions=btcpay.store.canviewinvoices&redirect={SHOP}?a=1"
    page = operator.get(f"{path}?{query}")
    assert page.status == 303
    leads_to = urljoin(f"https://pay.example{path}", page.headers["Location"])
    assert leads_to == f"https://pay.example{PATH}?{query}"
    found = operator.get(f"{PATH}?{query}")
    assert handed_over(operator.post(PATH, **found.fields))[0] == f"{SHOP}?a=1"


def test_names_of_parameters_have_any_case(operator: OperatorClient) -> None:
    query = f"Permissions[]=btcpay.store.canviewinvoices&Redirect={SHOP}&APPLICATIONNAME=Odoo"
    page = operator.get(f"{PATH}?{query}")
    assert page.status == 200
    assert "Odoo" in page.words


@pytest.mark.usefixtures("shop")
def test_without_a_password_the_page_explains_the_way_by_hand(tmp_path: Path) -> None:
    """The page names the reason, because the shop has sent the merchant to it."""
    with serving(settings_of(tmp_path, "sqlite:///unused.db")) as bare:
        page = OperatorClient(bare).get(f"{PATH}?{query_of()}")
    assert page.status == 403
    assert "OPERATOR_PASSWORD" in page.words
    assert "key add" in page.words
