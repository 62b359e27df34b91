"""A request's JSON has the fields of docs/spec.md 4, with their names and types."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.document import PaymentDocument, depth, payment_document, payment_uri, timestamp

NOON = datetime(2026, 11, 23, 12, 0, 0, 999_999, tzinfo=UTC)
BECH32 = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
TXID, BLOCK_HASH, OTHER_TXID = "ab" * 32, "cd" * 32, "ef" * 32


@dataclass
class FakeRequest:
    """The example of docs/spec.md 4."""

    reference: str = "PR-3kTMd0Zk6bW1vJrXq2nVhA"
    seller_id: str = "company1"
    amount_fiat: str = "135.99"
    currency: str = "EUR"
    price: str = "61142.30"
    price_at: datetime = datetime(2026, 12, 10, 8, 53, 20, tzinfo=UTC)
    price_source: str = "coinbase, kraken, bitpay"
    amount_sats: int = 222416
    confirmations_required: int = 6
    required_depth: int | None = None
    unpublished_height: int | None = None
    created_at: datetime = NOON
    expires_at: datetime = NOON + timedelta(seconds=900)
    order_id: str | None = None
    note: str = "Alpaca socks"
    label: str | None = None
    redirect_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    status: str = "confirming"
    covered_height: int | None = 907001
    received_sats: int = 222416
    due_sats: int = 0
    overpaid_sats: int = 0
    is_late: bool = False
    txid: str | None = TXID
    received_at: datetime | None = NOON
    confirmed_at: datetime | None = None


@dataclass
class FakeOutput:
    """A mined output."""

    txid: str = TXID
    vout: int = 1
    amount_sats: int = 222416
    state: str = "mined"
    block_hash: str | None = BLOCK_HASH
    block_height: int | None = 907001
    first_seen_at: datetime = NOON
    replaced_by: str | None = None


def document(
    request: FakeRequest | None = None, *parts: FakeOutput, tip_height: int = 907002
) -> PaymentDocument:
    return payment_document(
        request or FakeRequest(),
        BECH32,
        parts,
        tip_height=tip_height,
        network="main",
        public_url="https://pay.example",
    )


def test_a_document_is_the_example_of_the_contract() -> None:
    """The contract's POST has `label` besides `note`, so the document has it, too."""
    assert document(None, FakeOutput()) == {
        "payment_request_id": "PR-3kTMd0Zk6bW1vJrXq2nVhA",
        "seller_id": "company1",
        "network": "main",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price_btc": "61142.30",
        "price_timestamp": 1796892800,
        "price_source": "coinbase, kraken, bitpay",
        "amount_btc": "0.00222416",
        "amount_sats": 222416,
        "address": BECH32,
        "payment_uri": f"bitcoin:{BECH32.upper()}?amount=0.00222416",
        "checkout_url": "https://pay.example/pay/PR-3kTMd0Zk6bW1vJrXq2nVhA",
        "order_id": None,
        "note": "Alpaca socks",
        "label": None,
        "metadata": {},
        "link_id": None,
        "redirect_url": None,
        "status": "confirming",
        "confirmations": 2,
        "confirmations_required": 6,
        "received_sats": 222416,
        "due_sats": 0,
        "overpaid_sats": 0,
        "late": False,
        "txid": TXID,
        "transactions": [
            {
                "txid": TXID,
                "vout": 1,
                "amount_sats": 222416,
                "state": "mined",
                "confirmations": 2,
                "block_hash": BLOCK_HASH,
                "block_height": 907001,
                "first_seen_at": "2026-11-23T12:00:00Z",
                "replaced_by": None,
            }
        ],
        "created_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-23T12:15:00Z",
        "received_at": "2026-11-23T12:00:00Z",
        "confirmed_at": None,
    }


def test_a_new_request_has_null_times_and_no_transactions() -> None:
    new = replace(FakeRequest(), status="new", covered_height=None, txid=None, received_at=None)
    found = document(new)
    assert [found[name] for name in ("txid", "received_at", "confirmed_at")] == [None, None, None]
    assert (found["transactions"], found["confirmations"]) == ([], 0)


def test_an_output_in_no_block_has_no_confirmations() -> None:
    """This holds in the mempool, and after a replacement by a named transaction."""
    waiting = FakeOutput(state="mempool", block_hash=None, block_height=None)
    replaced = replace(waiting, state="replaced", replaced_by=OTHER_TXID)
    parts = document(None, waiting, replaced)["transactions"]
    assert [part["confirmations"] for part in parts] == [0, 0]
    assert [(part["state"], part["replaced_by"]) for part in parts] == [
        ("mempool", None),
        ("replaced", OTHER_TXID),
    ]


def test_a_document_needs_no_json_encoder_of_its_own() -> None:
    found = document(replace(FakeRequest(), metadata={"order": [1, "zwei"]}), FakeOutput())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(("height", "expected"), [(None, 0), (100, 1), (95, 6), (101, 0)])
def test_confirmations_are_one_at_the_tip(height: int | None, expected: int) -> None:
    """They are 0 in no block, and never negative while the daemon catches up."""
    assert depth(height, tip_height=100) == expected


def test_times_are_rfc_3339_in_utc() -> None:
    """Any time zone is accepted, and fractions of a second are cut off."""
    assert timestamp(NOON.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-23T12:00:00Z"
    assert timestamp(None) is None


@pytest.mark.parametrize(
    "address",
    [
        BECH32,
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ],
)
def test_a_segwit_address_is_in_capitals_in_the_uri(address: str) -> None:
    """BIP173 allows it, and a QR code of capitals is smaller."""
    assert payment_uri(address, 1) == f"bitcoin:{address.upper()}?amount=0.00000001"


@pytest.mark.parametrize(
    "address",
    [
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
        "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
    ],
)
def test_a_base58_address_is_unchanged_in_the_uri(address: str) -> None:
    """Base58 distinguishes capitals."""
    assert payment_uri(address, 100_000_000) == f"bitcoin:{address}?amount=1.00000000"


def test_a_label_is_percent_encoded() -> None:
    """BIP21 encodes UTF-8, and a space is %20, never a plus sign."""
    assert payment_uri(BECH32, 5000, "Müller & Söhne") == (
        f"bitcoin:{BECH32.upper()}?amount=0.00005000&label=M%C3%BCller%20%26%20S%C3%B6hne"
    )
    assert document(replace(FakeRequest(), label="a/b"))["payment_uri"].endswith("&label=a%2Fb")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_label_is_read_from_the_uri_unchanged(label: str) -> None:
    """A label cannot add a parameter, such as another amount."""
    parameters = parse_qs(urlsplit(payment_uri(BECH32, 5000, label)).query, strict_parsing=True)
    assert parameters == {"amount": ["0.00005000"], "label": [label]}
