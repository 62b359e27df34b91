"""Prices are read from the sources' real formats, and only valid prices are stored."""

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from config import load_settings
from daemon.rates.client import MAX_RESPONSE_BYTES
from daemon.rates.sources import NoRates, read_rates
from daemon.rates.updater import RateKeeper
from models.db.connection import database, disconnect, is_sqlite
from models.rate import quotes, store_rates
from tests.conftest import NewDatabase
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.endpoint import Behaviour, Endpoint, Request, answers, hangs, sends, trickles
from tests.support.needs import cases
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_payment
from tests.support.waiting import wait_until

NOW = datetime(2026, 12, 10, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
READ_ONLY = "PRAGMA query_only = 1"

COINBASE = b"""{"data":{"currency":"BTC","rates":{"AED":"224548.12","BTC":"1","ETH":"17.2","EUR":"61142.3",
"JPY":"9612345.5","SATS":"100000000","USD":"66123.455","XAU":"14.9"}}}"""
KRAKEN = b"""{"error":[],"result":{
"XBTAUD":{"a":["101000.1","1","1.000"],"c":["100998.70000","0.00125000"],"o":"100001.0"},
"XBTCHF":{"a":["53000.1","1","1.000"],"c":["52990.20000","0.00010000"],"o":"52001.0"},
"XBTUSDT":{"c":["66100.00000","0.1"]},"XETHZEUR":{"c":["3500.00000","0.1"]},
"XXBTZEUR":{"a":["61141.0","2","2.000"],"b":["61140.0","1","1.000"],"c":["61140.10000","0.01000000"],
"v":["412.1","900.2"],"p":["61000.1","60900.2"],"t":[10234,20111],"l":["60001.0","59900.0"],
"h":["61900.0","62000.0"],"o":"60500.10000"}}}"""
BITPAY = b"""{"data":[{"code":"BTC","name":"Bitcoin","rate":1},
{"code":"BCH","name":"Bitcoin Cash","rate":120.5},
{"code":"USD","name":"US Dollar","rate":66120.07},{"code":"EUR","name":"Eurozone Euro","rate":61150.2}]}"""
COINGECKO = b"""{"rates":{"btc":{"name":"Bitcoin","unit":"BTC","value":1.0,"type":"crypto"},
"eth":{"name":"Ether","unit":"ETH","value":17.21,"type":"crypto"},
"usd":{"name":"US Dollar","unit":"$","value":66118.901,"type":"fiat"},
"eur":{"name":"Euro","unit":"\\u20ac","value":61139.9,"type":"fiat"},
"xau":{"name":"Gold - Troy Ounce","unit":"XAU","value":14.9,"type":"commodity"}}}"""
# 1796900000 is ten days after NOW, so it counts as NOW.
MEMPOOL = b"""{"time":1796900000,"USD":66121,"EUR":61140,"GBP":53001,"CAD":-1,"CHF":52990,"AUD":0,
"JPY":9612345}"""
YADIO = b"""{"BTC":{"AED":242840.01,"ARS":93012345.67,"BTC":1,"EUR":61139.9,"USD":66119.2,"XAU":14.9},
"base":"BTC","timestamp":1796900000123}"""
ANSWERS = {
    "coinbase": COINBASE,
    "kraken": KRAKEN,
    "bitpay": BITPAY,
    "mempool": MEMPOOL,
    "yadio": YADIO,
    "coingecko": COINGECKO,
}


class Clock:
    """A time of day and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


class Market:
    """Rate sources on this machine, and a keeper that requests them in the test's own thread."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.clock = Clock()
        self.endpoints: dict[str, Endpoint] = {}

    def endpoint(self, behave: Behaviour) -> Endpoint:
        """Start an HTTP server that runs until the end of the test."""
        return self._stack.enter_context(Endpoint(behave))

    def keeper(self, behaviours: Mapping[str, Behaviour], refresh: int = 60) -> RateKeeper:
        """Return a keeper of sources with these names and behaviours."""
        for name, behave in behaviours.items():
            self.endpoints[name] = self.endpoint(behave)
        environ = {f"RATE_URL_{name.upper()}": server.url for name, server in self.endpoints.items()}
        return self.keeper_with(
            {**environ, "RATE_SOURCES": ",".join(behaviours), "RATE_REFRESH": str(refresh)}
        )

    def keeper_with(self, environ: dict[str, str]) -> RateKeeper:
        """Return a keeper with these settings."""
        settings = load_settings(environ, self._directory)
        inline: Callable[[Callable[[], None]], None] = lambda work: work()  # noqa: E731
        return RateKeeper(settings, lambda: self.clock.now, lambda: self.clock.seconds, inline, 2.0)

    def request_count(self, name: str) -> int:
        """Return the number of requests that a source has received."""
        return len(self.endpoints[name].requests)


@pytest.fixture
def market(new_database: NewDatabase, tmp_path: Path) -> Iterator[Market]:
    """Open a database for the prices."""
    open_prepared(new_database(tmp_path))
    with ExitStack() as stack:
        yield Market(tmp_path, stack)
    disconnect()


def refresh(keeper: RateKeeper) -> None:
    """Request the sources, and store the answers."""
    keeper.run_once()
    keeper.run_once()


def stored(currency: str = "EUR") -> dict[str, Decimal]:
    """Return the prices in the database, by source."""
    return {quote.source: quote.price for quote in quotes(currency)}


def prices_in(source: str, answer: bytes) -> Mapping[str, Decimal]:
    return read_rates(source, answer).prices


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("coinbase", {"AED": "224548.12", "EUR": "61142.3", "JPY": "9612345.5", "USD": "66123.455"}),
        ("kraken", {"AUD": "100998.70000", "CHF": "52990.20000", "EUR": "61140.10000"}),
        ("bitpay", {"USD": "66120.07", "EUR": "61150.2"}),
        (
            "mempool",
            {"USD": "66121", "EUR": "61140", "GBP": "53001", "CHF": "52990", "JPY": "9612345"},
        ),
        ("yadio", {"AED": "242840.01", "ARS": "93012345.67", "EUR": "61139.9", "USD": "66119.2"}),
        ("coingecko", {"USD": "66118.901", "EUR": "61139.9"}),
    ],
)
def test_a_sources_answer_is_read_to_the_last_digit(source: str, expected: dict[str, str]) -> None:
    """Only money is read: no coin, no metal, and no bitcoin in bitcoin."""
    rates = prices_in(source, ANSWERS[source])
    assert {currency: str(price) for currency, price in rates.items()} == expected


ODD_VALUES = [
    *("NaN", "Infinity", "-Infinity", "0", "-1", '"NaN"', '"0"', '"-5"', "null", "true", "[]", "{}"),
    *('""', '"text"', '"1e5"', "1e-999999999999999999999", "1e999999999999999999999", "9" * 5000, '"\xff"'),
    *(
        '{"c":[]}',
        '{"c":null}',
        '{"c":{"0":1}}',
        '{"type":"fiat"}',
        '{"type":"fiat","value":null}',
        "[[[7]]]",
    ),
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
]
OFTEN = ("NaN", "0", '"-5"', "null", "[]", '"text"', '"1e5"', '{"c":null}', ODD_VALUES[-2])
ODD_ENTRIES = {
    "coinbase": ['"CHF":{value}'],
    "kraken": ['"XBTCHF":{value}', '"XBTCHF":{{"c":{value}}}', '"XBTCHF":{{"c":[{value}]}}', '"":{value}'],
    "bitpay": [
        "{value}",
        '{{"code":"CHF","rate":{value}}}',
        '{{"code":{value},"rate":70000}}',
        '{{"code":"CHF"}}',
    ],
    "mempool": ['"PLN":{value}', '"":{value}'],
    "yadio": ['"CHF":{value}', '"":{value}'],
    "coingecko": [
        *(
            '"chf":{value}',
            '"chf":{{"type":{value},"value":70000}}',
            '"chf":{{"type":"fiat","value":{value}}}',
        ),
        '"\u00df":{value}',
    ],
}
FIRST_ENTRY = {
    "coinbase": b'"AED":',
    "kraken": b'"XBTAUD":',
    "bitpay": b'{"code":"BTC"',
    "mempool": b'"USD":',
    "yadio": b'"AED":',
    "coingecko": b'"btc":',
}


@pytest.mark.parametrize("value", cases(ODD_VALUES, OFTEN), ids=lambda value: value[:20])
@pytest.mark.parametrize(
    ("source", "entry"), [(source, entry) for source, entries in ODD_ENTRIES.items() for entry in entries]
)
def test_an_invalid_entry_removes_no_other_price(source: str, entry: str, value: str) -> None:
    answer, first = ANSWERS[source], FIRST_ENTRY[source]
    expected = prices_in(source, answer)
    odd = entry.format(value=value).encode("latin-1")
    assert prices_in(source, answer.replace(first, odd + b"," + first)) == expected


def test_a_price_beside_an_invalid_one_of_the_same_currency_counts() -> None:
    good, odd = '{"code":"EUR","rate":61150.2}', '{"code":"EUR","rate":null}'
    for entries in (f"{good},{odd}", f"{odd},{good}"):
        assert prices_in("bitpay", f'{{"data":[{entries}]}}'.encode()) == {"EUR": Decimal("61150.2")}


@pytest.mark.parametrize(
    "error", ['["WGeneral:x"]', '["WGeneral:x","WOther"]', "null", '""', "[]", "[null]", "[7,{}]"]
)
def test_a_warning_of_kraken_is_no_error(error: str) -> None:
    """The prices beside a warning are valid."""
    answer = KRAKEN.replace(b'"error":[]', f'"error":{error}'.encode())
    assert prices_in("kraken", answer) == prices_in("kraken", KRAKEN)
    assert prices_in("kraken", KRAKEN.replace(b'"error":[],', b"")) == prices_in("kraken", KRAKEN)


@pytest.mark.parametrize("error", ['["EService:Unavailable"]', '["WGeneral:x","EGeneral:y"]', '["other"]'])
def test_an_error_of_kraken_gives_no_rates(error: str) -> None:
    """The prices beside an error are not used, and its text is not quoted."""
    with pytest.raises(NoRates) as caught:
        prices_in("kraken", KRAKEN.replace(b'"error":[]', f'"error":{error}'.encode()))
    assert str(caught.value) == "the source returned an error"


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("kraken", b'{"error":["EService:Unavailable"],"result":{"XXBTZEUR":{"c":["61140.1","1"]}}}'),
        ("kraken", b'{"error":["EQuery:Unknown asset pair"]}'),
        ("kraken", b'{"error":[],"result":{"XXBTZEUR":{"c":[]}}}'),
        ("kraken", b'{"error":[],"result":{}}'),
        ("coinbase", COINBASE.replace(b'"currency":"BTC"', b'"currency":"BCH"')),
        ("coinbase", b'{"data":{"currency":"BTC","rates":{"EUR":"1e-999999999999999999999"}}}'),
        ("coinbase", b'{"data":{"currency":"BTC","rates":{"EUR":1e-999999999999999999999}}}'),
        ("coinbase", b'{"data":{"currency":"BTC","rates":{"EUR":1e999999}}}'),
        ("coinbase", b'{"data":{"currency":"BTC","rates":{"EUR":' + b"9" * 5000 + b"}}}"),
        ("bitpay", b'{"data":{"EUR":1}}'),
        ("mempool", b'{"time":1796900000,"USD":-1,"EUR":-1}'),
        ("mempool", b"[1]"),
        ("yadio", b'{"error":"unknown base"}'),
        ("yadio", b'{"BCH":{"EUR":500},"base":"BCH","timestamp":1796900000123}'),
        ("yadio", YADIO.replace(b'"base":"BTC"', b'"base":"USD"')),
        ("bitpay", b"[" * 100_000),
        ("coingecko", COINGECKO[:100]),
        ("coingecko", b"\xff\xfe"),
        ("coingecko", b"<html>Too many requests</html>"),
        ("coingecko", b""),
    ],
)
def test_an_answer_of_another_form_gives_no_rates(source: str, answer: bytes) -> None:
    with pytest.raises(NoRates):
        prices_in(source, answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["EUR", "BTC", "fiat"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "data rates error result c code rate type eur XXBTZEUR BTC EUR time timestamp".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from(sorted(ANSWERS)), json_values)
def test_any_json_gives_prices_or_no_rates(source: str, document: Any) -> None:
    try:
        rates = prices_in(source, json.dumps(document).encode())
    except NoRates:
        return
    assert rates
    assert all(price > 0 and price.is_finite() for price in rates.values())


@pytest.mark.parametrize(
    "answer",
    [
        b'"' + b'\\"' * (MAX_RESPONSE_BYTES // 2 - 1) + b"\\",
        b'"\\' * (MAX_RESPONSE_BYTES // 3),
        b'{"' + b"\\\\" * (MAX_RESPONSE_BYTES // 2 - 1),
        b"[" * MAX_RESPONSE_BYTES,
        b'["' * (MAX_RESPONSE_BYTES // 2),
        b"9" * MAX_RESPONSE_BYTES,
    ],
    ids=range(6),
)
def test_no_answer_is_read_more_than_once(answer: bytes) -> None:
    """These are the largest answers, each of a form that takes a backtracking search hours."""
    with pytest.raises(NoRates):
        prices_in("kraken", answer)


def test_all_sources_are_requested_and_stored(market: Market) -> None:
    """A price has the time of its answer."""
    keeper = market.keeper({name: answers(200, answer) for name, answer in ANSWERS.items()})
    refresh(keeper)
    assert stored() == {
        "bitpay": Decimal("61150.2"),
        "coinbase": Decimal("61142.3"),
        "coingecko": Decimal("61139.9"),
        "kraken": Decimal("61140.10000"),
        "mempool": Decimal(61140),
        "yadio": Decimal("61139.9"),
    }
    assert {quote.fetched_at for quote in quotes()} == {NOW}
    request = market.endpoints["coinbase"].requests[0]
    assert request.line == "GET /hook?key=secret HTTP/1.1"
    assert request.headers["user-agent"] == "Nodetill"


def test_a_source_is_requested_again_after_rate_refresh(market: Market) -> None:
    keeper = market.keeper({"coinbase": answers(200, COINBASE)})
    refresh(keeper)
    market.clock.advance(59)
    refresh(keeper)
    assert market.request_count("coinbase") == 1
    market.clock.advance(1)
    refresh(keeper)
    assert market.request_count("coinbase") == 2
    assert {quote.fetched_at for quote in quotes()} == {NOW + MINUTE}


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (answers(500), "HTTP 500"),
        (answers(429), "HTTP 429"),
        (answers(302, b"", "Location: http://127.0.0.1:1/"), "HTTP 302"),
        (answers(200, b"<html>"), "another form"),
        (answers(200, b"{}"), "another form"),
        (answers(200, COINBASE + b" " * MAX_RESPONSE_BYTES), "more than"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + COINBASE[:-10]), "cut short"),
        (sends(b""), "closed"),
        (hangs, "timed out"),
        (trickles(b"HTTP/1.1 200 OK\r\n\r\n"), "timed out"),
    ],
)
def test_a_failing_source_removes_no_price(market: Market, behave: Behaviour, problem: str) -> None:
    """Its earlier price stays and becomes old, and the other sources are requested as usual."""
    store_rates("coinbase", {"EUR": Decimal(60000)}, NOW - MINUTE)
    keeper = market.keeper({"coinbase": behave, "kraken": answers(200, KRAKEN)})
    with capture_logs() as lines:
        refresh(keeper)
    assert stored() == {"coinbase": Decimal(60000), "kraken": Decimal("61140.10000")}
    assert [line["source"] for line in lines] == ["coinbase"]
    assert problem in lines[0]["reason"]
    assert "secret" not in str(lines)


def kraken(endpoint: Endpoint, connection: socket.socket, request: Request) -> None:
    """Answer as Kraken does, which returns no price at all if one pair is unknown."""
    pairs = parse_qs(urlsplit(request.line.split(" ")[1]).query)["pair"][0].split(",")
    tickers = json.loads(KRAKEN)["result"]
    if set(pairs) <= set(tickers):
        document = {"error": [], "result": {pair: tickers[pair] for pair in pairs}}
    else:
        document = {"error": ["EQuery:Unknown asset pair"]}
    answers(200, json.dumps(document).encode())(endpoint, connection, request)


def test_a_pair_that_is_unknown_to_kraken_removes_no_other_price(market: Market) -> None:
    """Each pair is then requested by itself."""
    endpoint = market.endpoint(kraken)
    pairs = "XXBTZEUR,XBTFOO,XBTCHF"
    url = f"http://127.0.0.1:{endpoint.port}/0/public/Ticker?pair={pairs}"
    keeper = market.keeper_with({"RATE_SOURCES": "kraken", "RATE_URL_KRAKEN": url})
    with capture_logs() as lines:
        refresh(keeper)
    assert (stored(), stored("CHF")) == (
        {"kraken": Decimal("61140.10000")},
        {"kraken": Decimal("52990.20000")},
    )
    assert lines == []


def test_kraken_without_a_known_pair_gives_no_prices(market: Market) -> None:
    """The log has the reason."""
    url = f"http://127.0.0.1:{market.endpoint(kraken).port}/0/public/Ticker?pair=XBTFOO,XBTBAR"
    keeper = market.keeper_with({"RATE_SOURCES": "kraken", "RATE_URL_KRAKEN": url})
    with capture_logs() as lines:
        refresh(keeper)
    assert [line["reason"] for line in lines] == ["the source supports none of the pairs in its address"]


def test_a_source_is_reached_by_a_live_address(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of its name drops every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    endpoint = market.endpoint(answers(200, COINBASE))
    url = f"http://{NAME}:{endpoint.port}/"
    keeper = market.keeper_with({"RATE_SOURCES": "coinbase", "RATE_URL_COINBASE": url})
    with dead_address("::1", endpoint.port):
        refresh(keeper)
    assert stored() == {"coinbase": Decimal("61142.3")}


def test_no_text_of_a_sources_answer_is_logged(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    """This holds for each level, and for libraries."""
    caplog.set_level(logging.DEBUG)
    for raw in (
        b'HTTP/1.1 200 OK\r\n\r\n{"error":["ESecret:hidden"]}',
        b"HTTP/1.1 200 OK\r\nhidden\r\n\r\n{}",
        b"HTTP/1.1 500 hidden\r\nX: hidden\r\n\r\nhidden",
        b"hidden\r\n\r\n",
    ):
        with capture_logs() as lines:
            refresh(market.keeper({"kraken": sends(raw)}))
        assert len(lines) == 1
        assert "hidden" not in str(lines) + caplog.text
        assert "secret" not in str(lines) + caplog.text


def test_an_outage_is_logged_at_its_start_and_its_end(market: Market) -> None:
    """A failed source is requested again after 5, 10 and 20 s, but never later than RATE_REFRESH."""
    keeper = market.keeper({"coinbase": answers(503)}, refresh=15)
    requested_after = []
    with capture_logs() as lines:
        for _ in range(60):
            before = market.request_count("coinbase")
            refresh(keeper)
            if market.request_count("coinbase") > before:
                requested_after.append(market.clock.seconds - 1000)
            market.clock.advance(1)
        market.endpoints["coinbase"].behave = answers(200, COINBASE)
        market.clock.advance(15)
        refresh(keeper)
    assert requested_after == [0, 5, 15, 30, 45]
    assert [line["event"] for line in lines] == ["rate source failed", "rate source answers again"]


def test_a_source_with_a_deviating_price_is_logged_once(market: Market) -> None:
    """It is logged again after it was right in between."""
    far_off = COINBASE.replace(b"61142.3", b"71142.3")
    others = {"kraken": answers(200, KRAKEN), "bitpay": answers(200, BITPAY)}
    keeper = market.keeper({"coinbase": answers(200, far_off), **others})
    logged = []
    for answer in (far_off, far_off, COINBASE, far_off):
        market.endpoints["coinbase"].behave = answers(200, answer)
        with capture_logs() as lines:
            refresh(keeper)
        logged.append([(line["source"], line["currencies"]) for line in lines])
        market.clock.advance(60)
    assert logged == [[("coinbase", "EUR")], [], [], [("coinbase", "EUR")]]


def test_two_sources_that_disagree_are_logged(market: Market) -> None:
    """There is then no price."""
    far_off = COINBASE.replace(b"61142.3", b"71142.3")
    keeper = market.keeper({"coinbase": answers(200, far_off), "kraken": answers(200, KRAKEN)})
    with capture_logs() as lines:
        refresh(keeper)
    assert [(line["event"], line["currencies"]) for line in lines] == [
        ("no price: the sources disagree", "EUR")
    ]


@pytest.mark.parametrize(("days", "level"), [(8, "info"), (6, "warning")])
def test_a_disagreement_is_a_warning_only_in_a_currency_that_shops_use(
    market: Market, days: int, level: str
) -> None:
    """A currency is in use for seven days after a request."""
    new_payment(currency="EUR", created_at=NOW - timedelta(days=days))
    new_payment(1001, currency="USD", created_at=NOW)
    far_off = KRAKEN.replace(b"61140.10000", b"71140.10000")
    keeper = market.keeper({"coinbase": answers(200, COINBASE), "kraken": answers(200, far_off)})
    with capture_logs() as lines:
        refresh(keeper)
    assert [(line["currencies"], line["log_level"]) for line in lines] == [("EUR", level)]


def test_a_price_that_waited_for_the_database_is_as_old_as_its_answer(market: Market) -> None:
    """After three hours without the database the source is requested again at once."""
    keeper = market.keeper({"coinbase": answers(200, COINBASE)})
    keeper.run_once()
    for _ in range(3):
        database.execute_sql(READ_ONLY if is_sqlite() else "SET default_transaction_read_only = on")
        market.clock.advance(3600)
        keeper.run_once()
        assert quotes() == []
    keeper.run_once()
    assert {quote.fetched_at for quote in quotes()} == {NOW}
    keeper.run_once()
    assert {quote.fetched_at for quote in quotes()} == {NOW + timedelta(hours=3)}


# The source's own time


@pytest.mark.parametrize("source", ["mempool", "yadio"])
def test_a_price_is_as_old_as_its_source_says(market: Market, source: str) -> None:
    """It counts for RATE_MAX_AGE from that time on, and is then refused."""
    stated = {"mempool": int(NOW.timestamp()), "yadio": int(NOW.timestamp() * 1000)}[source]
    answer = re.sub(rb'("time(?:stamp)?":)\d+', rb"\g<1>%d" % stated, ANSWERS[source])
    keeper = market.keeper({source: answers(200, answer)})
    market.clock.advance(600)
    refresh(keeper)
    assert {quote.fetched_at for quote in quotes()} == {NOW}
    market.clock.advance(60)
    with capture_logs() as lines:
        refresh(keeper)
    assert {quote.fetched_at for quote in quotes()} == {NOW}
    assert [line["reason"] for line in lines] == [
        "the source's own prices are 660 s old, and RATE_MAX_AGE is 600"
    ]


@pytest.mark.parametrize(
    ("stated", "as_of"),
    [
        ("1796900000", 1_796_900_000),
        ("1796900000123", 1_796_900_000),
        ('"1796900000"', 1_796_900_000),
        ("0", 0),
        *((text, None) for text in ("null", '"soon"', "{}", "[]", "1e999", "NaN", "9" * 400)),
    ],
)
def test_the_time_of_an_answer_is_read_in_seconds_or_milliseconds(stated: str, as_of: int | None) -> None:
    """An invalid time is no time, and removes no price."""
    rates = read_rates("mempool", f'{{"time":{stated},"EUR":61140}}'.encode())
    assert rates.prices == {"EUR": Decimal(61140)}
    assert (None if rates.as_of is None else int(rates.as_of.timestamp())) == as_of


# A source of the operator's own


def custom(environ: Mapping[str, str], endpoint: Endpoint, path: str, query: str = "") -> dict[str, str]:
    url = f"http://127.0.0.1:{endpoint.port}/ticker{query}"
    return {"RATE_SOURCES": "custom", "RATE_URL_CUSTOM": url, "RATE_PATH_CUSTOM": path, **environ}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ('{"data":{"EUR":{"last":"61142.30"},"CHF":{"last":0},"BTC":{"last":1}}}', "data.{currency}.last"),
        ('{"result":{"XBTEUR":{"c":["61142.30","1"]}}}', "result.XBT{currency}.c.0"),
        ('[{},{"eur":61142.30,"usd":null}]', "1.{currency_lower}"),
        ('{"EUR":61142.30,"0":{}}', "{currency}"),
    ],
)
def test_a_custom_source_names_all_its_currencies_in_one_answer(
    market: Market, document: str, path: str
) -> None:
    """Names lead into objects, and numbers into arrays."""
    endpoint = market.endpoint(answers(200, document.encode()))
    refresh(market.keeper_with(custom({}, endpoint, path)))
    assert [(quote.currency, str(quote.price)) for quote in quotes()] == [("EUR", "61142.30")]
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"<html>", "the response is no JSON"),
        (b'{"data":{}}', "the response contains no prices"),
        (b'{"data":[]}', "the response contains no prices"),
        (b"7", "the response contains no prices"),
    ],
)
def test_a_custom_answer_without_prices_is_logged(market: Market, document: bytes, reason: str) -> None:
    keeper = market.keeper_with(custom({}, market.endpoint(answers(200, document)), "data.{currency}.last"))
    with capture_logs() as lines:
        refresh(keeper)
    assert [line["reason"] for line in lines] == [reason]
    assert quotes() == []


def ticker(endpoint: Endpoint, connection: socket.socket, request: Request) -> None:
    """Answer for one currency of the address: EUR has a price, CHF an odd answer, any other is unknown."""
    known = {"btceur": b'{"last":"61142.30"}', "btcchf": b'{"error":"closed"}'}
    body = known.get(urlsplit(request.line.split(" ")[1]).query)
    answers(404 if body is None else 200, body or b"{}")(endpoint, connection, request)


def test_a_custom_source_can_have_an_address_for_each_currency(market: Market) -> None:
    """A currency that it does not have removes no other."""
    endpoint = market.endpoint(ticker)
    currencies = {"RATE_CURRENCIES_CUSTOM": "SEK,EUR,CHF"}
    keeper = market.keeper_with(custom(currencies, endpoint, "last", "?btc{currency_lower}"))
    with capture_logs() as lines:
        refresh(keeper)
    assert [(quote.currency, str(quote.price)) for quote in quotes()] == [("EUR", "61142.30")]
    assert [request.line.split("?")[1].split(" ")[0] for request in endpoint.requests] == [
        "btcsek",
        "btceur",
        "btcchf",
    ]
    assert lines == []


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (ticker, "the responses contain no prices at RATE_PATH_CUSTOM"),
        (answers(503), "HTTP 503"),
        (answers(429), "HTTP 429"),
    ],
)
def test_a_failing_custom_source_removes_no_price(market: Market, behave: Behaviour, reason: str) -> None:
    store_rates("custom", {"EUR": Decimal(60000)}, NOW - MINUTE)
    keeper = market.keeper_with(custom({}, market.endpoint(behave), "ask", "?btc{currency_lower}"))
    with capture_logs() as lines:
        refresh(keeper)
    assert [line["reason"] for line in lines] == [reason]
    assert stored() == {"custom": Decimal(60000)}


def test_a_source_gets_its_header_and_no_other(market: Market) -> None:
    """The value is a secret."""
    environ = {"RATE_HEADER_COINGECKO": "x-cg-demo-api-key: hunter2", "RATE_SOURCES": "coingecko,coinbase"}
    for name in ("coingecko", "coinbase"):
        market.endpoints[name] = market.endpoint(answers(200, ANSWERS[name]))
        environ[f"RATE_URL_{name.upper()}"] = market.endpoints[name].url
    refresh(market.keeper_with(environ))
    assert market.endpoints["coingecko"].requests[0].headers["x-cg-demo-api-key"] == "hunter2"
    assert "hunter2" not in str(market.endpoints["coinbase"].requests[0].headers)
    assert len(stored()) == 2


def test_fixed_rates_are_stored_at_each_refresh(market: Market) -> None:
    """They never become old, and need no network."""
    keeper = market.keeper_with({"RATE_SOURCES": "fixed:EUR=50000,USD=54000.5"})
    refresh(keeper)
    market.clock.advance(60)
    refresh(keeper)
    assert [(q.source, q.currency, q.price, q.fetched_at) for q in quotes()] == [
        ("fixed", "EUR", Decimal(50000), NOW + MINUTE),
        ("fixed", "USD", Decimal("54000.5"), NOW + MINUTE),
    ]


def test_prices_of_removed_sources_are_deleted_at_the_start(market: Market) -> None:
    """A fixed rate of a test must not be mixed with public ones for ten minutes."""
    store_rates("fixed", {"EUR": Decimal(1000)}, NOW)
    store_rates("coinbase", {"EUR": Decimal(60000)}, NOW)
    refresh(market.keeper({"coinbase": answers(500)}))
    assert stored() == {"coinbase": Decimal(60000)}


def test_the_thread_starts_and_stops_at_once(new_database: NewDatabase, tmp_path: Path) -> None:
    """This holds even while a source hangs."""
    open_prepared(new_database(tmp_path))
    with Endpoint(hangs) as hanging, Endpoint(answers(200, KRAKEN)) as good:
        environ = {
            "RATE_SOURCES": "coinbase,kraken",
            "RATE_URL_COINBASE": hanging.url,
            "RATE_URL_KRAKEN": good.url,
        }
        keeper = RateKeeper(load_settings(environ, tmp_path), lambda: NOW)
        keeper.start()
        wait_until(lambda: "kraken" in stored(), what="the price of the source that answers")
        assert keeper.is_alive()
        assert keeper.stop(5)
    disconnect()
