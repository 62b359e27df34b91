"""bitcoind as the daemon sees it: the calls we make, and their answers as values.

One thread's: see daemon/node/rpc.py. RPC reference: https://bitcoincore.org/en/doc/ (version 29).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from config import Settings
from daemon.node.rest import Rest
from daemon.node.rpc import (
    NO_SUCH_LABEL,
    NOT_FOUND,
    OUT_OF_RANGE,
    WALLET_LOADED,
    NodeError,
    NodeRefused,
    Rpc,
    RpcError,
)
from daemon.node.types import MempoolEntry, NodeTip, Publication
from models.db.connection import chunked
from payments.transaction import (
    Block,
    MalformedTransaction,
    Transaction,
    block_from_rpc,
    header_hashes,
    outpoint,
    parse_block,
    parse_transaction,
    split_outpoint,
    transaction_from_rpc,
)

GET_BLOCKS_BACK = "get it back with bitcoin-cli getblockfrompeer, or restart bitcoind with -prune=0 -reindex"

HEADERS_AT_ONCE = 1999
"""One less than Bitcoin Core's MAX_REST_HEADERS_RESULTS, since the block asked from is among them."""

LABEL = "nodetill"
"""What the wallet is told to call our addresses."""

_LOADING = Lock()


class BlockMissing(NodeError):
    """A block that we need is pruned."""


class Bitcoind:
    """A connection to bitcoind for one thread."""

    def __init__(self, settings: Settings, rpc: Rpc | None = None) -> None:
        self._settings = settings
        self._rpc = rpc or Rpc(settings)
        self._rest = Rest(self._rpc.connection)
        self._has_rest = settings.bitcoind_rest == "auto"

    def while_waiting(self, live_on: Callable[[str | None], None]) -> None:
        """As `Rpc.while_waiting`, for REST too."""
        self._rpc.while_waiting(live_on)

    # The chain

    def tip(self) -> NodeTip:
        """Where the node's active chain ends."""
        info = self._rpc.call("getblockchaininfo")
        return NodeTip(
            chain=info["chain"],
            hash=info["bestblockhash"],
            height=info["blocks"],
            headers=info["headers"],
            chainwork=info["chainwork"],
            median_time=datetime.fromtimestamp(info["mediantime"], UTC),
            pruned_below=info.get("pruneheight", 0),
            is_initial_download=info["initialblockdownload"],
        )

    def block_hash(self, height: int) -> str | None:
        """The active chain's block at this height; None above its tip."""
        found: str | None = self._rpc.call_or_none("getblockhash", height, absent=OUT_OF_RANGE)
        return found

    def hashes_after(self, block_hash: str, height: int, last_height: int) -> list[str]:
        """The active chain's next blocks after this one, which is at `height`: some, up to `last_height`.

        Empty where this block has left the active chain. By REST they come at once, else one by one.
        """
        count = min(last_height - height, HEADERS_AT_ONCE)
        path = f"/rest/headers/{block_hash}.bin?count={count + 1}"
        raw = self._rest_answer(path, "rest.headers") if count > 1 else None
        if raw is None:
            found = self.block_hash(height + 1)
            return [] if found is None else [found]
        return header_hashes(raw)[1:]

    def header(self, block_hash: str) -> dict[str, Any] | None:
        """A block's header, with its `height`, `time`, `chainwork`; None where the node doesn't know it."""
        found: dict[str, Any] | None = self._rpc.call_or_none("getblockheader", block_hash, absent=NOT_FOUND)
        return found

    def block(self, block_hash: str) -> Block:
        """A block, by REST where it is served; what our parser can't read is read by bitcoind's.

        Raises BlockMissing where the node has pruned it.
        """
        raw = self._rest_answer(f"/rest/block/{block_hash}.bin", "rest.block")
        try:
            if raw is None:
                raw = bytes.fromhex(self._rpc.call("getblock", block_hash, 0))
            try:
                block = parse_block(raw)
            except MalformedTransaction:
                block = block_from_rpc(self._rpc.call("getblock", block_hash, 2))
        except RpcError as error:
            raise BlockMissing(
                f"block {block_hash} cannot be read from bitcoind ({error}), and is not skipped, "
                f"since payments may be in it. Where it is pruned, {GET_BLOCKS_BACK}"
            ) from error
        if block.hash != block_hash:
            raise NodeError(f"bitcoind answered with block {block.hash} when asked for {block_hash}")
        return block

    # The mempool

    def is_mempool_loaded(self) -> bool:
        """Whether the mempool saved at the last shutdown is read again: before that it tells nothing."""
        return bool(self._rpc.call("getmempoolinfo")["loaded"])

    def mempool_entry(self, txid: str) -> MempoolEntry | None:
        """The transaction's entry; None where it is not in the mempool."""
        entry = self._rpc.call_or_none("getmempoolentry", txid, absent=NOT_FOUND)
        if entry is None:
            return None
        return MempoolEntry(datetime.fromtimestamp(entry["time"], UTC), entry["ancestorcount"] - 1)

    def in_mempool(self, txids: Sequence[str]) -> set[str]:
        """Return those of these transactions that are in the mempool; one batch of calls."""
        entries = self._rpc.batch("getmempoolentry", [[txid] for txid in txids], absent=NOT_FOUND)
        return {txid for txid, entry in zip(txids, entries, strict=True) if entry is not None}

    def mempool_txids(self) -> frozenset[str]:
        """All transactions in the mempool."""
        return frozenset(self._rpc.call("getrawmempool"))

    def mempool_ancestors(self, txid: str) -> list[str]:
        """A transaction's unconfirmed ancestors; none where it has left the mempool."""
        return self._rpc.call_or_none("getmempoolancestors", txid, absent=NOT_FOUND) or []

    def mempool_dependents(self, txids: Sequence[str]) -> list[str]:
        """Those of these transactions that are in the mempool, and have unconfirmed ancestors there. They are
        asked for all at once."""
        calls = [[txid] for txid in txids]
        entries = self._rpc.batch("getmempoolentry", calls, absent=NOT_FOUND)
        return [t for t, e in zip(txids, entries, strict=True) if e is not None and e["ancestorcount"] > 1]

    def mempool_transactions(self, txids: Sequence[str]) -> list[Transaction]:
        """Return those of these transactions that bitcoind has; one batch of calls.

        With txindex=1 bitcoind also has those of every block that it ever read, stale ones included. So only
        an entry shows that one is in the mempool.
        """
        calls = [[txid] for txid in txids]
        raws = self._rpc.batch("getrawtransaction", calls, absent=NOT_FOUND)
        return [self.read_transaction(bytes.fromhex(raw)) for raw in raws if raw is not None]

    def mempool_spenders(self, outpoints: Sequence[bytes]) -> dict[bytes, str]:
        """Which of these outpoints are spent in the mempool, and by which transaction."""
        asked = [dict(zip(("txid", "vout"), split_outpoint(key), strict=True)) for key in outpoints]
        rows = self._rpc.call("gettxspendingprevout", asked) if asked else []
        return {
            outpoint(row["txid"], row["vout"]): row["spendingtxid"] for row in rows if "spendingtxid" in row
        }

    def read_transaction(self, raw: bytes) -> Transaction:
        """A raw transaction; what our parser can't read is read by bitcoind's.

        Raises MalformedTransaction where bitcoind can't read it either.
        """
        try:
            return parse_transaction(raw)
        except MalformedTransaction:
            try:
                return transaction_from_rpc(self._rpc.call("decoderawtransaction", raw.hex()))
            except RpcError as error:
                raise MalformedTransaction(str(error)) from error

    # The wallet

    def wallet_mempool_txids(self, tip_hash: str) -> list[str]:
        """The wallet's unconfirmed transactions, whatever the mempool's size.

        Raises NodeError where the tip has left the chain, RpcError where the wallet is not loaded.
        """
        try:
            rows = self._rpc.call("listsinceblock", tip_hash, wallet=True)["transactions"]
        except RpcError as error:
            if error.code == NOT_FOUND:
                raise NodeError("bitcoind's chain moves while it is read") from error
            raise
        return list(dict.fromkeys(row["txid"] for row in rows if row["confirmations"] == 0))

    def paid_heights(self, block_hash: str) -> dict[str, int]:
        """Map each address that the wallet knows to be paid since this block to the first height of it.

        The block may have left the chain; one that the node doesn't know stands for the first.
        """
        rows = self._rpc.call_or_none("listsinceblock", block_hash, absent=NOT_FOUND, wallet=True)
        if rows is None:
            rows = self._rpc.call("listsinceblock", wallet=True)
        paid = [row for row in rows["transactions"] if row["confirmations"] > 0 and "address" in row]
        heights: dict[str, int] = {}
        for row in paid:
            height = row["blockheight"]
            heights[row["address"]] = min(height, heights.get(row["address"], height))
        return heights

    def wallet_received_at(self, txid: str) -> datetime | None:
        """Return when the wallet received a transaction; None where no wallet knows it, or may be asked."""
        try:
            found = self._rpc.call("gettransaction", txid, wallet=True)
        except (RpcError, NodeRefused):
            return None
        return datetime.fromtimestamp(found["timereceived"], UTC)

    def is_address_known(self, address: str) -> bool:
        """Whether the wallet watches this address."""
        return _is_ours(self._rpc.call("getaddressinfo", address, wallet=True))

    def known_addresses(self, addresses: Sequence[str]) -> set[str]:
        """Return those of these addresses that the wallet watches.

        Raise RpcError where one is no address to this node.
        """
        known: set[str] = set()
        for batch in chunked(addresses):
            calls = [[address] for address in batch]
            infos = self._rpc.batch("getaddressinfo", calls, wallet=True)
            known |= {address for address, info in zip(batch, infos, strict=True) if _is_ours(info)}
        return known

    def new_addresses(self, count: int) -> list[tuple[str, bytes]]:
        """So many fresh addresses of the wallet, each with its script. They are asked for all at once."""
        call = [LABEL, self._settings.address_type]
        addresses = self._rpc.batch("getnewaddress", [call] * count, wallet=True)
        return list(zip(addresses, self.scripts_of(addresses), strict=True))

    def scripts_of(self, addresses: Sequence[str]) -> list[bytes]:
        """What an output has to hold to pay each of these addresses."""
        answers = self._rpc.batch("validateaddress", [[address] for address in addresses])
        return [bytes.fromhex(answer["scriptPubKey"]) for answer in answers]

    def addresses(self) -> list[str]:
        """Every address that `new_addresses` ever made in this wallet."""
        return list(
            self._rpc.call_or_none("getaddressesbylabel", LABEL, absent=NO_SUCH_LABEL, wallet=True) or ()
        )

    def load_wallet(self) -> bool:
        """Load the wallet if it is not loaded, and return whether that was so.

        Raise RpcError where the wallet cannot be loaded.
        """
        name = self._settings.bitcoind_wallet
        # To a second thread that loads the same wallet, bitcoind returns an error.
        with _LOADING:
            if name in self._rpc.call("listwallets"):
                return False
            try:
                self._rpc.call("loadwallet", name)
            except RpcError as error:
                if error.code != WALLET_LOADED:
                    raise
            return True

    def is_wallet_scanning(self) -> bool:
        """Whether the wallet is rescanning, so that its answers have gaps."""
        return bool(self._rpc.call("getwalletinfo", wallet=True)["scanning"])

    # The feed

    def relays_transactions(self) -> bool | None:
        """Return whether bitcoind asks its peers for transactions; None where this user may not know."""
        try:
            return bool(self._rpc.call("getnetworkinfo")["localrelay"])
        except NodeRefused:
            return None

    def publications(self) -> list[Publication]:
        """What bitcoind publishes over ZMQ."""
        rows = self._rpc.call("getzmqnotifications")
        return [Publication(row["type"].removeprefix("pub"), row["address"], row["hwm"]) for row in rows]

    def close(self) -> None:
        """Let the connections go; the next call makes new ones."""
        self._rpc.close()
        self._rest.close()

    def _rest_answer(self, path: str, failpoint: str) -> bytes | None:
        """None where it is not to be asked, or does not serve that."""
        self._rpc.asked = "REST"
        return self._rest.get(path, failpoint) if self._has_rest else None


def _is_ours(address_info: Mapping[str, Any]) -> bool:
    return bool(address_info["ismine"] or address_info.get("iswatchonly"))
