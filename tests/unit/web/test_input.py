"""Any input is answered by a request, or by a problem that names the fault, and never by a 5xx."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.payment import PaymentRequest
from tests.conftest import KINDS
from tests.support.needs import examples
from tests.support.web_server import BODY, Reply, WebServer, open_shop
from web.http.responses import Problem
from web.http.strict_json import _STRING_OR_BRACKET, MAX_BODY_BYTES, canonical, read_object

pytestmark = pytest.mark.one_database

PAYMENTS = "/api/v1/payments"


@pytest.fixture(scope="module", params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve one web server for all tests. Its pool is empty, so no test creates a request."""
    directory = tmp_path_factory.mktemp("shop")
    url = f"sqlite:///{directory / 'nodetill.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    with open_shop(directory, url, addresses=0) as opened:
        yield opened


def raw(document: bytes, **fields: Any) -> bytes:
    """Return BODY with one more field, as raw bytes."""
    return json.dumps({**BODY, **fields}).encode()[:-1] + b"," + document + b"}"


MALFORMED = [
    b"",
    b" ",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{}{}",
    b"{} x",
    b'{"a": 1,}',
    b"{'a': 1}",
    b"\xef\xbb\xbf{}",
    json.dumps(BODY).encode("utf-16"),
    raw(b'"note": "\xff"'),
    raw(b'"note": "\xed\xa0\x80"'),
    raw(rb'"note": "\ud800"'),
    raw(rb'"note": "\udc00\ud800"'),
    raw(rb'"\ud800": 1'),
    raw(rb'"metadata": {"a": ["\ud800"]}'),
    raw(b'"note": "a", "note": "a"'),
    raw(rb'"note": "a", "n\u006fte": "a"'),
    raw(b'"metadata": {"a": 1, "a": 1}'),
    raw(b'"metadata": {"a": NaN}'),
    raw(b'"metadata": {"a": -Infinity}'),
    raw(b'"metadata": {"a": 1e99999999999999999999}'),
    raw(b'"metadata": {"a": ' + b"9" * 5000 + b"}"),
    raw(b'"metadata": {"a": 0.' + b"9" * 5000 + b"}"),
    raw(b'"metadata": ' + b'{"a":' * 8 + b"1" + b"}" * 8),
    raw(b'"note": "a\nb"'),
    b"[" * MAX_BODY_BYTES,
    b'{"a":' * 3000,
    b'{"\\":' + b"[" * 10_000,
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[-40:]))
def test_a_body_that_is_not_strict_json_is_400(shop: WebServer, body: bytes) -> None:
    """Two readers may interpret such a body differently."""
    assert_problem(shop.post(PAYMENTS, body), 400)


@pytest.mark.parametrize("body", [b'{"a": 1,}', b"{'a': 1}", b"{", b'{"a": "\n"}'])
def test_the_detail_of_broken_json_names_the_place(shop: WebServer, body: bytes) -> None:
    """No word of it is Python's, because these texts differ between versions of Python."""
    detail = shop.post(PAYMENTS, body).json["detail"]
    assert re.fullmatch(r"the body is not JSON: look at line \d, column \d or just before it", detail), detail


def test_the_detail_of_broken_utf_8_names_the_byte(shop: WebServer) -> None:
    detail = shop.post(PAYMENTS, b'{"a": "\xff"}').json["detail"]
    assert detail == "the body is not UTF-8: look at byte 7"


NO_AMOUNTS: list[Any] = [
    *("", "0", "-1", "+1", "1e3", "1_000", "٣", " 1", "1 ", ".5", "5.", "NaN", "Infinity", "0x10"),
    *("135.999", 135.999, 0, -1, True, None, [], {}),
]
INVALID: list[tuple[str, dict[str, Any]]] = [
    ("seller_id", {"seller_id": 1}),
    ("seller_id", {"seller_id": ["company1"]}),
    ("currency", {"currency": "eur"}),
    ("currency", {"currency": "EURO"}),
    ("currency", {"currency": ["EUR"]}),
    ("currency", {"currency": "XAU"}),
    ("currency", {"currency": "ÉUR"}),
    *(("amount_fiat", {"amount_fiat": amount}) for amount in NO_AMOUNTS),
    ("amount_fiat", {"amount_fiat": "1000000000000"}),
    ("amount_fiat", {"amount_fiat": "0.30"}),  # below the dust limit
    ("amount_fiat", {"amount_fiat": "21000001", "currency": "BTC"}),
    ("amount_fiat", {"amount_fiat": "1.5", "currency": "SAT"}),
    ("amount_fiat", {"amount_fiat": "100.5", "currency": "JPY"}),
    ("note", {"note": "x" * 501}),
    ("note", {"note": 5}),
    *(("note", {"note": f"a{character}b"}) for character in "\0\x07\x1b\x7f\x85\r\u2028\u2029"),
    ("label", {"label": ""}),
    ("label", {"label": "a\nb"}),
    ("label", {"label": "x" * 101}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": {"a": "x" * 4096}}),
    ("metadata", {"metadata": {"a": "ä" * 2048}}),
    *(("confirmations", {"confirmations": number}) for number in (-1, 145, True, "6", 6.0, 10**40)),
    *(("expires_in", {"expires_in": number}) for number in (59, 86_401, True, "600", 600.0, 60.5, -(10**40))),
    *(
        ("redirect_url", {"redirect_url": url})
        for url in (
            "",
            "shop.example",
            "//shop.example",
            "javascript:alert(1)",
            "ftp://shop.example",
            "https://",
            "https:///path",
            "https://user:pass@shop.example/",
            "https://user@shop.example/",
            "https://shop.example/\r\nSet-Cookie: a=b",
            "https://shop.example/a b",
            "https://shop.example/\u2028",
            "https://shop.example/<script>",
            'https://shop.example/"onload="',
            "https://shop.example\\@evil.example/",
            "https://[::1/",
            "https://shop.example:99999/",
            "https://shop.example:0/",
            "https://shop..example/",
            "https://-shop.example/",
            "https://" + "x" * 64 + ".example/",
            "https://1.2.3/",
            "https://256.0.0.1/",
            "https://0x7f000001/",
            "https://[::1]x/",
            "https://a[::1]/",
            "https://[1.2.3.4]/",
            "https://[fe80::1%25eth0]/",
            "https://shop%2eexample/",
            "https://shop.example/%",
            "https://shop.example/%zz",
            "https://b\u00fccher.example/",
            "https://shop.example/\u00fc",
            "https://shop.example/" + "x" * 2048,
        )
    ),
    ("webhook_url", {"webhook_url": "https://shop.example"}),
    ("status", {"status": "confirmed"}),
]


@pytest.mark.parametrize(("field", "fields"), INVALID)
def test_an_invalid_field_is_422_by_its_name(shop: WebServer, field: str, fields: dict[str, Any]) -> None:
    """The errors name the field and the allowed values."""
    reply = shop.create(**fields)
    assert_problem(reply, 422)
    errors = reply.json["errors"]
    assert field in [error["field"] for error in errors]
    assert all(error["message"] for error in errors)


@pytest.mark.parametrize("name", ["note", "label", "metadata", "confirmations", "expires_in", "redirect_url"])
def test_null_is_the_default_of_an_optional_field(shop: WebServer, name: str) -> None:
    """No other field may be null."""
    assert shop.create(**{name: None}).json["type"].endswith("no-address")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("https://b\u00fccher.example/", "write xn--bcher-kva.example"),
        ("https://b%C3%BCcher.example/", "xn--"),
        ("https://shop.example/\u00fc", "write %C3%BC for '\\xfc'"),
        ("https://shop.example/a b", "write %20 for ' '"),
        ("https://shop.example/100%", "write %25 for a percent sign"),
        ("https://user:pass@shop.example/", "no user and no password"),
        ("https://2001:db8::1/", "write https://HOST:PORT/PATH"),
        ("https://[::1/", "write https://HOST:PORT/PATH"),
        ("https://[fe80::1%25eth0]/", "without a zone"),
        ("shop.example/thanks", "such as https://shop.example/thanks"),
    ],
)
def test_a_refused_redirect_url_has_advice(shop: WebServer, url: str, advice: str) -> None:
    """The message has the text to write instead."""
    (error,) = shop.create(redirect_url=url).json["errors"]
    assert advice in error["message"]


@pytest.mark.parametrize(
    "url",
    [
        "https://[2001:db8::1]:8443/thanks?order=1#top",
        "http://192.0.2.1:8080",
        "https://xn--bcher-kva.example/a%20b",
        "HTTPS://Shop.Example./?a=[1]&b=~",
        "http://localhost:3000/",
    ],
)
def test_a_valid_redirect_url_is_accepted(shop: WebServer, url: str) -> None:
    """Examples are IPv6, ports, and international names as registries have them."""
    assert shop.create(redirect_url=url).json["type"].endswith("no-address")


SLOW = [
    b'"' + b'\\"' * 8191,
    b'{"' + b'\\"' * 8190,
    b'"' * 16_000,
    b'"\\' * 5000,
    b"[" + b'"a",' * 4000,
    b'{"a":"' + b"\\\\" * 8000,
]


@pytest.mark.parametrize("body", SLOW, ids=range(len(SLOW)))
def test_no_body_is_read_more_than_once(body: bytes) -> None:
    """The reader would block all threads, so it visits each place at most once."""
    steps = [match.span() for match in _STRING_OR_BRACKET.finditer(body.decode())]
    assert sum(end - start for start, end in steps) <= len(body)
    assert not _FAILS_LATE.search(body.decode()[steps[-1][1] :] if steps else "")
    with pytest.raises(Problem):
        read_object(body)


_FAILS_LATE = re.compile('"')
"""A quotation mark that begins no match, from which a search would read to the end without a result."""


def test_numbers_that_metadata_cannot_hold_are_refused(shop: WebServer) -> None:
    """A number is returned as it was sent, or is refused, as one of thirty digits is."""
    for number in (b"0.123456789012345678901234567890", b"1e400", b"1e-400"):
        assert_problem(shop.post(PAYMENTS, raw(b'"metadata": {"a": ' + number + b"}")), 422)
    kept = raw(b'"metadata": {"a": 0.1, "b": 1E5, "c": -0.0, "d": 12345678901234567890}')
    assert shop.post(PAYMENTS, kept).json["type"].endswith("no-address")


def test_amounts_in_exponents_are_refused(shop: WebServer) -> None:
    """A JSON number such as 1e2 is refused, and 135.99 is accepted."""
    rest = b'"seller_id": "company1", "currency": "EUR", "amount_fiat": '
    exponents = (b"1e2", b"1E+2", b"1e-1", b"1.0e1", b"100.0e-1", b"1.00E0", b"1e999999", b"1e-999999")
    for number in (*exponents, b"1e999999999999", b"-5", b"0.0", b'"1.0e1"', b'"1e999999999"'):
        assert_problem(shop.post(PAYMENTS, b"{" + rest + number + b"}"), 422)
    assert shop.post(PAYMENTS, b"{" + rest + b"135.99}").json["type"].endswith("no-address")


def test_zeros_after_the_last_decimal_are_accepted(shop: WebServer) -> None:
    """Many shops write each amount with two decimals."""
    for amount, currency in (
        ("1000.00", "JPY"),
        ("10.5000", "EUR"),
        ("20000.0", "SAT"),
        ("10." + "0" * 50, "EUR"),
    ):
        assert shop.create(amount_fiat=amount, currency=currency).json["type"].endswith("no-address")
        number = b'{"seller_id": "company1", "currency": "%b", "amount_fiat": %b}'
        body = number % (currency.encode(), amount.encode())
        assert shop.post(PAYMENTS, body).json["type"].endswith("no-address")
    assert_problem(shop.create(amount_fiat="1000.01", currency="JPY"), 422)
    assert_problem(shop.create(amount_fiat="10." + "0" * 50 + "1"), 422)
    assert_problem(shop.create(amount_fiat="10." + "0" * 5000), 422)


def test_all_faults_are_named_at_once(shop: WebServer) -> None:
    """One call is enough to learn all faults."""
    reply = shop.post(
        PAYMENTS,
        {"seller_id": 1, "amount_fiat": "x", "currency": "eur", "confirmations": 145, "colour": "red"},
    )
    assert_problem(reply, 422)
    fields = {error["field"] for error in reply.json["errors"]}
    assert fields == {"seller_id", "currency", "amount_fiat", "confirmations", "colour"}
    assert "from 0 to 144" in reply.json["detail"]


def test_a_body_has_at_most_16_kib(shop: WebServer) -> None:
    """A larger one is 413, in one piece or in chunks."""
    fitting = b"{" + b" " * (MAX_BODY_BYTES - 2) + b"}"
    assert_problem(shop.post(PAYMENTS, fitting), 422)
    for spaces in (MAX_BODY_BYTES, 2 * MAX_BODY_BYTES, 1_000_000):
        assert_problem(shop.post(PAYMENTS, b" " * spaces + b"{}"), 413)
    chunked = {"Transfer-Encoding": "chunked"}
    chunks = b"4001\r\n" + b" " * 0x4001 + b"\r\n0\r\n\r\n"
    assert_problem(shop.call("POST", PAYMENTS, chunks, {**chunked, "Content-Length": None}), 413)


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/nowhere", 404, None),
        ("GET", "/api/v1/payments/", 404, None),
        ("GET", "/api/v1/payments/x", 404, None),
        ("GET", "/api/v1/payments/%00", 404, None),
        ("GET", "/api/v1/payments/%ff%fe", 404, None),
        ("GET", "/api/v1/payments/PR-%D9%A3xxxxxxxxxxxxxxxxxxxxx", 404, None),
        ("GET", "/api/v1/payments/..%2f..%2fetc%2fpasswd", 404, None),
        ("GET", "/api/v1/payments/" + "x" * 8000, 404, None),
        ("DELETE", "/api/v1/payments", 405, "GET, HEAD, POST"),
        ("PUT", "/api/v1/payments/PR-x", 405, "GET, HEAD"),
        ("GET", "/api/v1/payments/PR-x/accept", 405, "POST"),
        ("OPTIONS", "/health", 405, "GET, HEAD"),
        ("BREW", "/health", 405, "GET, HEAD"),
        ("PROXY", "/health", 405, "GET, HEAD"),
    ],
)
def test_unknown_paths_are_404_and_other_methods_405(
    shop: WebServer, method: str, path: str, status: int, allowed: str | None
) -> None:
    """A 405 has the header Allow."""
    reply = shop.call(method, path)
    assert_problem(reply, status)
    assert reply.headers.get("allow") == allowed


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [*BODY, "note", "label", "metadata", "confirmations", "expires_in", "redirect_url"]


@settings(max_examples=examples(150))
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6))
def test_no_value_of_a_field_is_a_5xx(shop: WebServer, fields: dict[str, Any]) -> None:
    """Any JSON in any field is refused, or is 503 because the pool is empty."""
    assert_documented(shop.post(PAYMENTS, {**BODY, **fields}))


@settings(max_examples=examples(150))
@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 40))
def test_no_bytes_in_a_body_are_a_5xx(shop: WebServer, noise: bytes, start: int, length: int) -> None:
    """The bytes are inserted into a valid body, or are the whole body."""
    good = json.dumps({**BODY, "note": "\u00e4", "metadata": {"a": [1, 2.5, None]}}).encode()
    assert_documented(shop.post(PAYMENTS, good[:start] + noise + good[start + length :]))
    assert_documented(shop.post(PAYMENTS, noise))


FILTERS = ["status", "currency", "created_after", "created_before", "q", "limit", "cursor"]
filters = st.text(st.characters(codec="utf-8")) | st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](Z|[+-][0-2][0-9]:[0-5][0-9])",
    fullmatch=True,
)


@settings(max_examples=examples(150))
@given(st.dictionaries(st.sampled_from(FILTERS), filters, max_size=3), st.binary(max_size=20))
def test_no_filter_is_a_5xx(shop: WebServer, parameters: dict[str, str], noise: bytes) -> None:
    """Any text in a filter, with any bytes behind it, gives an empty list or a problem."""
    for query in (urlencode(parameters), urlencode(parameters) + "&" + quote_from_bytes(noise, safe="&=%")):
        reply = shop.get(f"{PAYMENTS}?{query}")
        if reply.status == 200:
            assert reply.json["data"] == []
        else:
            assert_problem(reply, reply.status)
            assert reply.status in (400, 422)


@settings(max_examples=examples(100))
@given(st.binary(min_size=1, max_size=40), st.text(st.characters(min_codepoint=32, max_codepoint=255)))
def test_no_path_and_no_header_is_a_5xx(shop: WebServer, path: bytes, header: str) -> None:
    """Any bytes replace an identifier, and any Latin-1 text the headers that are read."""
    reply = shop.get(f"{PAYMENTS}/{quote_from_bytes(path)}", {"If-None-Match": header})
    assert_problem(reply, 400 if "\x7f" in header else 404)  # RFC 9110, 5.5: no control characters
    assert_problem(shop.post(f"{PAYMENTS}/{quote_from_bytes(path)}/events/x/redeliver"), 404)
    for name in ("Idempotency-Key", "Authorization"):
        reply = shop.post(PAYMENTS, b"{}", {name: header})
        assert_problem(reply, reply.status)
        assert reply.status in (400, 401, 422)


@given(st.binary(max_size=200))
def test_the_reader_returns_an_object_or_raises_a_problem(body: bytes) -> None:
    with suppress(Problem):
        assert isinstance(read_object(body), dict)


scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text()


@given(st.dictionaries(st.text(), scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars)))
def test_equal_documents_have_one_canonical_form(document: dict[str, Any]) -> None:
    """Spaces and the order of keys make no difference."""
    backwards = dict(reversed(document.items()))
    loose = json.dumps(document, indent=1).encode()
    tight = json.dumps(backwards, ensure_ascii=False, separators=(",", ":")).encode()
    if max(len(loose), len(tight)) <= MAX_BODY_BYTES:
        assert read_object(loose) == read_object(tight) == document
        assert canonical(read_object(loose)) == canonical(read_object(tight))


def test_the_canonical_form_distinguishes_numbers_from_text() -> None:
    """A body without decimals has the same form as in earlier versions."""
    bodies = [b'{"a": 5.00}', b'{"a": "5.00"}', b'{"a": 5}', b'{"a": "5"}', b'{"a": 5.0}', b'{"a": [5.00]}']
    bodies += [b'{"a": true}', b'{"a": "true"}', b'{"a": null}', b"{}"]
    assert len({canonical(read_object(body)) for body in bodies}) == len(bodies)
    mixed = {"b": [1, None, True, "\u00e4\n"], 'a"': {}}
    usual = json.dumps(mixed, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert canonical(mixed) == usual


def assert_documented(reply: Reply) -> None:
    """Check that a reply is a problem of the client, or the documented 503."""
    assert_problem(reply, reply.status)
    assert reply.status in (400, 403, 413, 422, 503), reply.body
    assert reply.status != 503 or reply.json["type"].endswith("no-address")


def assert_problem(reply: Reply, status: int) -> None:
    """Check that a reply is a problem (RFC 9457) with the usual headers, and that no request was created."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    problem = reply.json
    assert problem["status"] == status
    assert problem["type"].startswith("urn:nodetill:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in problem["detail"]
    assert PaymentRequest.select().count() == 0
