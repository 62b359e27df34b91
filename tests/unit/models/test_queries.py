"""The queries return the right rows on both databases, also with several callers at once."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import peewee
import pytest

from models.address import (
    Address,
    add_addresses,
    claim_address,
    find_scripts,
    free_count,
    held_count,
    hold_unclaimed,
    newest_address_id,
    pool_ends,
    retire,
    retire_free,
    retire_others,
    unclaimed_addresses,
    unknown_addresses,
)
from models.api_key import (
    USE_NOTED_EVERY,
    add_key,
    is_use_to_note,
    key_holder,
    keys_of,
    note_use,
    replace_own_keys,
    revoke,
    working_keys,
)
from models.block import BLOCKS_KEPT, Block, add_blocks, block_at, forget_old_blocks, stored_tip
from models.command import (
    add_acceptance,
    add_chain_to_follow,
    add_transaction_check,
    blocks_to_follow,
    pending_commands,
    request_redelivery,
)
from models.daemon_status import beat, daemon_report, update_report
from models.db.connection import database, disconnect
from models.outbox import Message, delete_done, events_of, messages_of, prunable_messages
from models.output import (
    Output,
    add_watched_outpoints,
    all_watched_outpoints,
    count_own_inputs,
    forget_outpoints_of,
    outpoints_of,
    outputs_at,
    outputs_by_address,
    outputs_of,
    states_of,
    txids_believed_in_mempool,
    unconfirmed_outputs,
)
from models.payment import (
    ANY_HEIGHT,
    ASSESSED,
    PaymentRequest,
    mark_for_reassessment,
    next_assessment,
    payment_by_idempotency_key,
    payment_by_reference,
    payments_to_reassess,
    sample_addresses,
)
from models.queries.links import addresses_of_parts_beside, txids_beside_new_money
from models.rate import quotes, store_rates
from payments.price import Quote
from payments.status import Status, assess
from tests.support.prepared_database import open_prepared
from tests.support.programs import finish, run_program
from tests.support.rows import (
    BLOCK_HASH,
    NOW,
    TXID,
    fill_pool,
    new_event,
    new_key,
    new_link,
    new_message,
    new_output,
    new_payment,
    new_seller,
    script,
)

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[str]:
    """Open a migrated database, and return its URL."""
    open_prepared(database_url)
    yield database_url
    disconnect()


def references(payments: list[PaymentRequest]) -> set[str]:
    return {payment.reference for payment in payments}


# Addresses


def test_find_scripts_returns_only_scripts_of_the_table() -> None:
    """Sets have any size, and scripts have any bytes."""
    fill_pool(1203)
    strange = {b"", b"\x00", b"'", b"%s", bytes(range(256)) * 40, b"\xff" * 10_000}
    scripts = {*(script(number) for number in range(1100, 1300)), *strange, script(3)}
    found = find_scripts(scripts)
    assert set(found) == {script(3), *(script(number) for number in range(1100, 1203))}
    assert all(type(key) is bytes for key in found)
    assert Address.get_by_id(found[script(3)]).script == script(3)
    assert len(find_scripts({script(number) for number in range(2000)})) == 1203
    assert find_scripts(set()) == find_scripts(strange) == {}


def test_an_empty_table_has_the_highest_id_zero() -> None:
    assert newest_address_id() == 0
    fill_pool(2)
    assert newest_address_id() == 2


def test_an_address_is_added_once_and_never_changed() -> None:
    """A pool that is filled twice with the same address does not free it again."""
    fill_pool(3)
    claim_address(NOW)
    fill_pool(4)
    add_addresses([], "nodetill", NOW)
    assert (Address.select().count(), free_count()) == (4, 3)


def test_an_unknown_address_is_found_and_can_be_added_as_not_free() -> None:
    """It is then watched, and no request claims it."""
    fill_pool(1200)
    (known, *_), lost = list(Address.select()), ("bcrt1qlost", b"\x00\x14" + b"\xff" * 20)
    assert unknown_addresses([known.address, lost[0]]) == [lost[0]]
    add_addresses([lost], "nodetill", NOW, are_free=False)
    assert unknown_addresses([lost[0], known.address]) == []
    assert free_count() == 1200
    assert set(find_scripts({lost[1]})) == {lost[1]}


def test_the_oldest_free_address_is_claimed() -> None:
    """Each address is claimed once; without a free one the result is None."""
    fill_pool(2)
    claimed = [claim_address(NOW) for _ in range(3)]
    assert [address and address.script for address in claimed] == [script(0), script(1), None]
    assert [row.claimed_at for row in Address.select()] == [NOW, NOW]
    assert free_count() == 0


def test_an_address_that_a_failed_request_claimed_is_free_again() -> None:
    fill_pool(1)
    with database.atomic() as transaction:
        assert claim_address(NOW)
        transaction.rollback()
    assert free_count() == 1


def test_a_retired_address_is_not_claimed() -> None:
    """Somebody paid it before a request used it. A claimed address keeps its time."""
    fill_pool(3)
    first = claim_address(NOW - timedelta(days=1))
    assert first
    retire(find_scripts({script(0), script(1)}).values(), NOW)
    assert free_count() == 1
    assert Address.get_by_id(first.id).claimed_at == NOW - timedelta(days=1)


def test_free_addresses_of_a_former_wallet_are_retired() -> None:
    """Its claimed addresses are still watched."""
    fill_pool(3)
    claimed = claim_address(NOW - timedelta(days=1))
    add_addresses([("bcrt1qother", b"other")], "other", NOW)
    assert (free_count(), free_count("nodetill"), free_count("other")) == (3, 2, 1)
    assert retire_others("other", NOW) == 2
    assert (free_count(), retire_others("other", NOW)) == (1, 0)
    assert claimed
    assert Address.get_by_id(claimed.id).claimed_at == NOW - timedelta(days=1)


def test_a_held_address_is_not_claimed_until_it_is_released() -> None:
    """A claimed address cannot be held."""
    fill_pool(4)
    claimed = claim_address(NOW)
    assert claimed
    first, second, third = [row.id for row in unclaimed_addresses()]
    assert hold_unclaimed([claimed.id, first, second], NOW) == 2
    assert (free_count(), held_count(), [row.id for row in pool_ends()]) == (1, 2, [third])
    assert hold_unclaimed([second], NOW) == 0
    assert [row.id for row in pool_ends()] == [first, third]
    given = [claim_address(NOW) for _ in range(3)]
    assert [address and address.id for address in given] == [first, third, None]
    assert retire_free(NOW) == 1
    assert (held_count(), unclaimed_addresses()) == (0, [])


def test_sample_addresses_has_the_ends_of_each_wallet() -> None:
    """They are the oldest and the newest address, also of a wallet that was replaced and used again."""
    assert sample_addresses() == []
    fill_pool(1)
    claim_address(NOW)
    open_request = new_payment(1)
    new_payment(2, closed_at=NOW)
    add_addresses([(f"bcrt1qother{number}", b"%d" % number) for number in range(3)], "other", NOW)
    fill_pool(3, first=3)
    sampled = [address.script for address in sample_addresses()]
    assert sampled == [open_request.address.script, b"0", b"2", script(5)]


def test_threads_that_claim_at_once_get_different_addresses() -> None:
    """They claim as many as there are, and then None."""
    fill_pool(30)
    claimed: list[bytes | None] = []
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        for _ in range(8):
            with database.atomic():
                address = claim_address(NOW)
            claimed.append(None if address is None else address.script)
        disconnect()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(s for s in claimed if s) == [script(number) for number in range(30)]
    assert claimed.count(None) == 2


CLAIMS = """
import sys
from datetime import UTC, datetime
from models.address import claim_address
from models.db.connection import database
from models.db.schema import open_database
open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    with database.atomic():
        address = claim_address(datetime.now(UTC))
        print(address.script.hex())
"""


def test_processes_that_claim_at_once_get_different_addresses(opened: str) -> None:
    """Two web processes can share a database."""
    fill_pool(60)
    with ExitStack() as stack:
        processes = [stack.enter_context(run_program(CLAIMS, opened)) for _ in range(2)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        claimed = [line for process in processes for line in finish(process).split()]
    assert sorted(claimed) == [script(number).hex() for number in range(60)]


# Payment requests


def test_a_request_is_found_by_reference_and_only_by_its_seller() -> None:
    new_payment(1)
    new_seller("company2")
    found = payment_by_reference("PR-1", "company1")
    assert found
    assert found.address.script == script(1)
    assert payment_by_reference("PR-1") == found
    assert payment_by_reference("PR-1", "company2") is None
    assert payment_by_reference("PR-2") is None


def test_a_request_is_found_by_its_sellers_idempotency_key() -> None:
    """Each seller has keys of its own."""
    own = new_payment(1, idempotency_key="order-1")
    foreign = new_payment(2, idempotency_key="order-1", seller=new_seller("company2"))
    assert payment_by_idempotency_key("company1", "order-1") == own
    assert payment_by_idempotency_key("company2", "order-1") == foreign
    assert payment_by_idempotency_key("company1", "order-2") is None


def test_requests_are_due_at_their_height_and_after_their_deadline() -> None:
    """A request is due at the height itself, but not at the very moment of its deadline."""
    new_payment(1, reassess_at_height=100)
    new_payment(2, reassess_at=NOW)
    new_payment(3, reassess_at_height=100, reassess_at=NOW)
    new_payment(4)
    before, after = NOW - MICROSECOND, NOW + MICROSECOND
    assert references(payments_to_reassess(99, before)) == set()
    assert references(payments_to_reassess(99, NOW)) == set()
    assert references(payments_to_reassess(100, NOW)) == {"PR-1", "PR-3"}
    assert references(payments_to_reassess(99, after)) == {"PR-2", "PR-3"}
    assert references(payments_to_reassess(101, after)) == {"PR-1", "PR-2", "PR-3"}
    assert len(payments_to_reassess(101, after, limit=2)) == 2


def test_a_marked_request_is_due_at_any_tip() -> None:
    """This includes a closed request, and one that waits for a height."""
    one, two = new_payment(1, closed_at=NOW), new_payment(2, reassess_at_height=900_000)
    new_payment(3)
    mark_for_reassessment([one.address_id, two.address_id])
    assert references(payments_to_reassess(0, NOW)) == {"PR-1", "PR-2"}


def test_any_number_of_addresses_can_be_marked() -> None:
    """A reorg of many blocks changes more outputs than a statement has parameters."""
    payments = [new_payment(number) for number in range(2)]
    others = range(payments[1].address_id + 1, 70_000)
    assert mark_for_reassessment([payments[0].address_id, *others, payments[1].address_id]) == len(payments)


def test_the_next_assessment_is_at_once_or_at_the_earliest_deadline() -> None:
    """The time is None if no request waits for a time."""
    new_payment(1, reassess_at_height=800_000)
    assert next_assessment() == (False, None)
    new_payment(2, reassess_at=NOW + MICROSECOND)
    new_payment(3, reassess_at=NOW)
    assert next_assessment() == (False, NOW)
    new_payment(4, reassess_at_height=ANY_HEIGHT)
    assert next_assessment() == (True, NOW)


def assess_at(payment: PaymentRequest, as_of: datetime, tip_height: int = 105) -> PaymentRequest:
    """Assess the stored request as the daemon does, and return the row read again."""
    assessment = assess(
        payment.terms,
        [output.received_output for output in outputs_at(payment.address_id)],
        tip_height=tip_height,
        as_of=as_of,
        was_confirmed=payment.last_known_state.status is Status.CONFIRMED,
    )
    payment.apply(assessment, as_of)
    payment.save(only=ASSESSED)
    stored: PaymentRequest = PaymentRequest.get_by_id(payment.id)
    return stored


def test_an_assessment_is_stored_in_full() -> None:
    """The times of confirmation and closing keep their first values."""
    payment = new_payment(amount_sats=1000, due_sats=1000)
    output = new_output(payment, state="mined", block_hash=BLOCK_HASH, block_height=100, amount_sats=1200)
    found = assess_at(payment, NOW)
    assert (found.last_known_state.status, found.covered_height, found.txid) == (Status.CONFIRMED, 100, TXID)
    assert (found.received_sats, found.due_sats, found.overpaid_sats) == (1200, 0, 200)
    assert (found.received_at, found.confirmed_at, found.closed_at) == (NOW, NOW, None)
    assert (found.reassess_at_height, found.reassess_at) == (199, found.monitored_until)
    later = assess_at(found, NOW + timedelta(minutes=1), tip_height=199)
    assert (later.confirmed_at, later.closed_at) == (NOW, NOW + timedelta(minutes=1))
    assert (later.reassess_at_height, later.reassess_at, later.last_known_state.is_closed) == (
        None,
        None,
        True,
    )
    assert assess_at(later, NOW + timedelta(minutes=2), tip_height=200).closed_at == later.closed_at
    output.state, output.block_hash, output.block_height = "dropped", None, None
    output.save()
    reverted = assess_at(later, NOW + timedelta(minutes=3), tip_height=200)
    assert (reverted.status, reverted.confirmed_at, reverted.closed_at) == ("new", None, None)


def test_late_money_counts_once_it_is_accepted() -> None:
    payment = new_payment(amount_sats=1000)
    new_output(payment, first_seen_at=payment.expires_at + MICROSECOND)
    found = assess_at(payment, payment.expires_at + timedelta(hours=1))
    assert (found.status, found.last_known_state.is_late) == ("expired", True)
    found.late_accepted_at = NOW
    assert assess_at(found, payment.expires_at + timedelta(hours=2)).status == "received"


# Outputs and blocks


def test_outputs_are_found_by_address_and_by_transaction() -> None:
    """They are in the order of their arrival."""
    one, two = new_payment(1), new_payment(2)
    first, second = new_output(one, vout=1), new_output(one, vout=0)
    other = new_output(two, vout=2)
    another = new_output(two, txid=BLOCK_HASH)
    assert outputs_at(one.address_id) == [first, second]
    assert set(outputs_of([TXID])) == {first, second, other}
    assert set(outputs_of([TXID, BLOCK_HASH])) == {first, second, other, another}
    assert outputs_of([]) == []


def test_any_number_of_txids_can_be_queried() -> None:
    """PostgreSQL accepts 65,535 parameters a statement, and there may be more transactions."""
    output = new_output(new_payment())
    add_watched_outpoints([(TXID, b"outpoint", TXID)])
    many = [*(f"{number:064x}" for number in range(70_000)), TXID]
    assert states_of(many) == {(TXID, 0): "mempool"}
    assert outputs_of(many) == [output]
    assert [spend.outpoint for spend in outpoints_of(many)] == [b"outpoint"]


def test_own_inputs_are_counted_without_those_of_ancestors() -> None:
    """They are forgotten together."""
    parent, other = "aa" * 32, "bb" * 32
    add_watched_outpoints(
        [(TXID, b"1", TXID), (TXID, b"2", TXID), (TXID, b"3", parent), (other, b"4", other)]
    )
    assert count_own_inputs([TXID, other, parent]) == {TXID: 2, other: 1}
    forget_outpoints_of([TXID], tip_height=100)
    assert count_own_inputs([TXID, other, parent]) == {other: 1}
    assert outpoints_of([TXID]) == []


def test_outputs_are_grouped_by_address_in_the_order_of_arrival() -> None:
    """An unpaid address is absent."""
    one, other, never = new_payment(1), new_payment(2), new_payment(3)
    first, second, third = new_output(one), new_output(other, vout=1), new_output(one, vout=2)
    found = outputs_by_address([never.address_id, other.address_id, one.address_id])
    assert found == {one.address_id: [first, third], other.address_id: [second]}


def test_only_live_outputs_are_live_receipts() -> None:
    """Replaced and dropped outputs are facts, too."""
    payment = new_payment()
    mined = new_output(payment, vout=0, state="mined", block_hash=BLOCK_HASH, block_height=7)
    waiting = new_output(payment, vout=1)
    replaced = new_output(payment, vout=2, state="replaced", replaced_by=BLOCK_HASH)
    dropped = new_output(payment, vout=3, state="dropped")
    received = [output.received_output for output in (mined, waiting, replaced, dropped)]
    assert [output.is_live for output in received] == [True, True, False, False]
    assert [output.block_height for output in received] == [7, None, None, None]


def test_a_transaction_is_beside_new_money_until_its_request_is_assessed() -> None:
    """Only live outputs of the same request count."""
    payment, other = new_payment(1, received_sats=1000), new_payment(2)
    new_output(payment, txid="aa" * 32, amount_sats=1000)
    new_output(payment, txid="bb" * 32, amount_sats=500, state="dropped")
    new_output(other, txid="cc" * 32, amount_sats=0)
    txids = ["aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32]
    assert txids_beside_new_money(txids) == set()
    new_output(payment, txid="dd" * 32, amount_sats=1)
    assert txids_beside_new_money(txids) == {"aa" * 32, "bb" * 32, "dd" * 32}
    assert txids_beside_new_money(["aa" * 32]) == {"aa" * 32}
    PaymentRequest.update(received_sats=1001).where(PaymentRequest.id == payment.id).execute()
    assert txids_beside_new_money(txids) == txids_beside_new_money([]) == set()


def test_the_requests_of_a_single_use_link_count_together() -> None:
    """New money of one request concerns the money of the others. A reusable link adds nothing up."""
    for number, is_reusable in enumerate((False, True)):
        link = new_link(number, is_reusable=is_reusable)
        old, new = (
            new_payment(10 * number + part, link=link, received_sats=1000 - 1000 * part) for part in range(2)
        )
        txids = [f"{number}{part}" * 32 for part in range(2)]
        new_output(old, txid=txids[0])
        assert txids_beside_new_money(txids) == set()
        new_output(new, txid=txids[1])
        assert txids_beside_new_money(txids) == set(txids[is_reusable:])
        beside = addresses_of_parts_beside([new.address_id])
        assert beside == (set() if is_reusable else {old.address_id})
    assert addresses_of_parts_beside([]) == set()


def test_unconfirmed_outputs_are_those_of_open_requests_in_no_block() -> None:
    """Replaced and dropped outputs may come back. A closed request whose facts changed counts as open."""

    def fact(output: Output) -> tuple[str, str, str | None]:
        return output.txid, output.state, output.replaced_in

    waiting, closed = new_payment(1), new_payment(2, closed_at=NOW)
    expected = [
        new_output(waiting, vout=0),
        new_output(waiting, vout=1, state="dropped"),
        new_output(waiting, vout=2, state="replaced", replaced_by=BLOCK_HASH),
    ]
    new_output(waiting, vout=3, state="mined", block_hash=BLOCK_HASH, block_height=7)
    at_closed = new_output(closed, vout=4)
    assert unconfirmed_outputs() == [fact(output) for output in expected]
    mark_for_reassessment([closed.address_id])
    assert unconfirmed_outputs() == [fact(output) for output in [*expected, at_closed]]


def test_an_output_without_a_request_is_unconfirmed_until_it_is_mined_or_gone() -> None:
    """No request closes it, so the daemon checks it until it is mined, dropped, or replaced in a block."""
    add_addresses([("bcrt1qstray", script(99))], "nodetill", NOW, are_free=False)
    stray = Address.get(Address.address == "bcrt1qstray")

    def fresh(vout: int, **values: Any) -> Output:
        return Output.create(
            address=stray, txid="cd" * 32, vout=vout, amount_sats=1000, first_seen_at=NOW, **values
        )

    fresh(0, state="mempool")
    fresh(1, state="replaced", replaced_by=BLOCK_HASH)
    fresh(2, state="replaced", replaced_by=BLOCK_HASH, replaced_in=BLOCK_HASH)
    fresh(3, state="dropped")
    fresh(4, state="mined", block_hash=BLOCK_HASH, block_height=7)
    assert [state for _, state, _ in unconfirmed_outputs()] == ["mempool", "replaced"]
    assert set(txids_believed_in_mempool()) == {"cd" * 32, BLOCK_HASH}


def test_txids_believed_in_mempool_are_payments_and_their_replacements() -> None:
    """Payments that are dropped, mined, replaced in a block or at a closed request are not expected there."""
    waiting, closed = new_payment(1), new_payment(2, closed_at=NOW)
    new_output(waiting, vout=0, state="dropped")
    assert txids_believed_in_mempool() == []
    new_output(closed, vout=1)
    new_output(waiting, vout=2, state="replaced", replaced_by="ef" * 32)
    assert txids_believed_in_mempool() == ["ef" * 32]
    here = new_output(waiting, vout=3)
    assert set(txids_believed_in_mempool()) == {"ef" * 32, here.txid}


def test_equal_txids_of_spends_share_one_string() -> None:
    """A payment may depend on thousands of outpoints, so this saves memory."""
    add_watched_outpoints([("ab" * 32, bytes([n]), "ab" * 32) for n in range(3)])
    assert len({id(name) for txid, _, spender in all_watched_outpoints() for name in (txid, spender)}) == 1


def test_spends_of_several_pages_are_read_once_each() -> None:
    spends = {(f"{number % 7:064x}", number.to_bytes(36), "ab" * 32) for number in range(2500)}
    add_watched_outpoints(spends)
    found = list(all_watched_outpoints())
    assert (len(found), set(found)) == (2500, spends)


def test_the_newest_blocks_are_kept() -> None:
    """They are enough for the deepest reorg that is followed block by block."""
    assert (stored_tip(), block_at(0)) == (None, None)
    heights = (0, 1, 2, BLOCKS_KEPT, BLOCKS_KEPT + 1)
    add_blocks(Block(height=h, hash=f"{h:064x}", chainwork=f"{h:064x}", mined_at=NOW) for h in heights)
    tip = stored_tip()
    assert tip
    assert (tip.height, tip.mined_at) == (BLOCKS_KEPT + 1, NOW)
    forget_old_blocks(tip.height)
    assert [block.height for block in Block.select().order_by(Block.height)] == [
        2,
        BLOCKS_KEPT,
        BLOCKS_KEPT + 1,
    ]
    found = block_at(2)
    assert found
    assert found.hash == f"{2:064x}"


def test_two_blocks_of_one_height_are_refused() -> None:
    """The transaction then stores neither, because the right chain is unknown."""
    blocks = [Block(height=7, hash=letter * 64, chainwork="0" * 64, mined_at=NOW) for letter in "ab"]
    with pytest.raises(peewee.IntegrityError), database.atomic():
        add_blocks(blocks)
    assert stored_tip() is None


# Events, commands and the daemon's report


def test_messages_of_an_event_are_found_in_each_state() -> None:
    event = new_event(new_payment(), payload={"status": "received"})
    for name in "ab":
        new_message(event, recipient=name)
    new_message(event, recipient="c", next_attempt_at=None, delivered_at=NOW)
    new_message(event, recipient="d", next_attempt_at=None, failed_at=NOW)
    assert len(messages_of(events_of(event.payment))) == 4
    assert messages_of([]) == []


def test_delivered_messages_of_long_closed_requests_are_pruned() -> None:
    """Undelivered messages and the events stay."""
    long_ago, border = NOW - timedelta(days=31), NOW - timedelta(days=30)
    cases = [(long_ago, long_ago), (border, long_ago), (long_ago, NOW), (long_ago, None), (None, long_ago)]
    for number, (closed_at, delivered_at) in enumerate(cases):
        event = new_event(new_payment(number, closed_at=closed_at))
        new_message(event, delivered_at=delivered_at)
    outdated = prunable_messages(border)
    assert len(outdated) == 1
    Message.update(delivered_at=None).where(Message.id.in_(outdated)).execute()
    assert delete_done(outdated) == 0, "a message that is sent again must stay"
    Message.update(delivered_at=long_ago).where(Message.id.in_(outdated)).execute()
    assert delete_done(outdated) == 1
    assert Message.select().count() == len(cases) - 1
    assert len(events_of(PaymentRequest.get(PaymentRequest.reference == "PR-0"))) == 1


def test_commands_are_returned_in_the_order_of_their_arrival() -> None:
    payment = new_payment()
    message = new_message(new_event(payment))
    add_transaction_check(payment, TXID, NOW)
    add_acceptance(payment, NOW)
    request_redelivery(message, NOW, database.atomic)
    found = [
        (command.kind, command.payment_id, command.txid, command.message_id) for command in pending_commands()
    ]
    assert found == [
        ("transaction", payment.id, TXID, None),
        ("accept", payment.id, None, None),
        ("redeliver", payment.id, None, message.id),
    ]
    assert len(pending_commands(limit=2)) == 2


def test_a_source_replaces_its_earlier_rates() -> None:
    """Each digit is kept, and other sources keep their rates."""
    store_rates("kraken", {"EUR": Decimal("1.00"), "USD": Decimal(2)}, NOW)
    store_rates("bitpay", {"EUR": Decimal("61142.30")}, NOW)
    store_rates("kraken", {"EUR": Decimal("1E+5")}, NOW + MICROSECOND)
    assert quotes("EUR") == [
        Quote("bitpay", "EUR", Decimal("61142.30"), NOW),
        Quote("kraken", "EUR", Decimal(100000), NOW + MICROSECOND),
    ]
    assert str(quotes("EUR")[0].price) == "61142.30"
    assert quotes("USD") == []
    store_rates("kraken", {}, NOW)
    assert [quote.source for quote in quotes()] == ["bitpay"]


def test_parts_of_the_daemon_write_to_one_report() -> None:
    """The report is empty before the first write."""
    empty = daemon_report()
    assert (empty.heartbeat_at, empty.assessed_height, empty.problems) == (None, 0, [])
    update_report(chain="regtest", assessed_height=100)
    beat(NOW, 101, ["no wallet"])
    found = daemon_report()
    assert (found.chain, found.assessed_height) == ("regtest", 100)
    assert (found.heartbeat_at, found.node_height, found.problems) == (NOW, 101, ["no wallet"])


def test_a_removed_sellers_key_finds_no_seller() -> None:
    seller = new_seller("company1")
    key = new_key(seller, key_hash="a", label="shop", permissions=["x"], last_used_at=NOW)
    new_key(new_seller("company2", removed_at=NOW), key_hash="b")
    found = key_holder("a", NOW)
    assert found is not None
    columns = ("id", "reference", "seller_id", "label", "permissions", "created_at", "last_used_at")
    for name in columns:
        assert getattr(found, name) == getattr(key, name)
    assert (found.seller.id, found.seller.created_at) == ("company1", NOW)
    assert [key_holder(each, NOW) for each in "bc"] == [None, None]


def test_a_key_works_until_its_time() -> None:
    """A revoked key does not, whatever its time is."""
    until = NOW + timedelta(hours=1)
    seller = new_seller("company1")
    times: dict[str, dict[str, Any]] = {
        "new": {},
        "old": {"expires_at": until},
        "revoked": {"revoked_at": NOW},
        "both": {"revoked_at": NOW, "expires_at": until},
    }
    for name, values in times.items():
        new_key(seller, key_hash=name, **values)
    last = until - timedelta(microseconds=1)
    assert [key_holder(name, last) is not None for name in times] == [True, True, False, False]
    assert [key_holder(name, until) is not None for name in times] == [True, False, False, False]
    assert [key.key_hash for key in working_keys("company1", until)] == ["new"]


def test_a_key_is_found_with_its_seller_by_one_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the API runs it."""
    new_key(new_seller("company1"), key_hash="a")
    statements: list[str] = []
    execute = database.obj.execute_sql

    def counted(sql: str, *parameters: Any) -> Any:
        statements.append(sql)
        return execute(sql, *parameters)

    monkeypatch.setattr(database.obj, "execute_sql", counted)
    found = key_holder("a", NOW)
    assert found is not None
    assert (found.seller.id, found.permissions, found.works(NOW)) == ("company1", None, True)
    assert len(statements) == 1


def test_a_use_is_noted_at_most_every_ten_minutes() -> None:
    """A time in the future comes from a wrong clock, and the next use replaces it."""
    key = new_key(new_seller("company1"))
    assert is_use_to_note(key, NOW)
    note_use(key, NOW)
    stored = keys_of("company1")[0]
    assert stored.last_used_at == NOW
    almost = NOW + USE_NOTED_EVERY - timedelta(microseconds=1)
    assert [is_use_to_note(stored, at) for at in (NOW, almost)] == [False, False]
    assert is_use_to_note(stored, NOW + USE_NOTED_EVERY)
    assert is_use_to_note(stored, NOW - timedelta(seconds=1))


def test_a_key_is_revoked_once() -> None:
    """The first time stays."""
    key = new_key(new_seller("company1"))
    assert revoke(key, NOW)
    assert not revoke(key, NOW + timedelta(hours=1))
    assert keys_of("company1")[0].revoked_at == NOW


def test_new_own_keys_leave_keys_with_a_list_of_permissions() -> None:
    """Without an overlap each other key stops. With an overlap the key that was to expire stops."""
    seller, hour = new_seller("company1"), timedelta(hours=1)
    new_key(new_seller("company2"), key_hash="other")
    new_key(seller, key_hash="limited", permissions=[])
    first, _ = add_key("company1", NOW)
    second, _ = replace_own_keys("company1", hour, NOW)
    names = {first.key_hash: "first", second.key_hash: "second", "limited": "limited", "other": "other"}

    def working(at: datetime) -> list[str]:
        return [names[name] for name in names if key_holder(name, at)]

    assert working(NOW) == ["first", "second", "limited", "other"]
    assert working(NOW + hour) == ["second", "limited", "other"]
    third, _ = replace_own_keys("company1", hour, NOW)
    names[third.key_hash] = "third"
    assert working(NOW) == ["second", "limited", "other", "third"]
    replace_own_keys("company1", timedelta(0), NOW)
    assert working(NOW) == ["limited", "other"]


def test_a_command_to_follow_a_chain_is_stored_once() -> None:
    """The operator may repeat the command, or give it for another chain."""
    assert blocks_to_follow() == []
    for block_hash in ("ab" * 32, "ab" * 32, "cd" * 32):
        add_chain_to_follow(block_hash, NOW)
    assert len(pending_commands()) == 2
    assert blocks_to_follow() == ["ab" * 32, "cd" * 32]
