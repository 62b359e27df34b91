"""The daemon's interface to bitcoind: one method for each call, with its result as a value.

A client belongs to one thread. The RPC reference is
https://bitcoincore.org/en/doc/ (version 29).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Any

from config import Settings
from daemon.node.calls import RPC_CALLS
from daemon.node.credentials import credentials
from daemon.node.errors import (
    NO_SUCH_LABEL,
    NOT_FOUND,
    OUT_OF_RANGE,
    WALLET_LOADED,
    NodeError,
    NodeRefused,
    RpcError,
)
from daemon.node.rest import Rest
from daemon.node.rpc import Rpc
from daemon.node.types import MempoolEntry, NodeTip, Publication
from models.db.connection import chunked
from payments.transaction import (
    Block,
    MalformedTransaction,
    Transaction,
    block_from_rpc,
    outpoint,
    parse_block,
    parse_transaction,
    split_outpoint,
    transaction_from_rpc,
)

GET_BLOCKS_BACK = "get it back with bitcoin-cli getblockfrompeer"

LABEL = "nodetill"
"""The label of our addresses in the wallet."""

_LOADING = Lock()


class BlockMissing(NodeError):
    """A block that we need cannot be read, for example because it is pruned."""


class Bitcoind:
    """A connection to bitcoind for one thread."""

    def __init__(self, settings: Settings, rpc: Rpc | None = None) -> None:
        self._settings = settings
        self._wallet = settings.bitcoind_wallet
        self._rpc = rpc or Rpc(
            settings.rpc_url_without_credentials, partial(credentials, settings), calls=RPC_CALLS
        )
        self._rest = Rest(self._rpc.connection)
        self._has_rest = settings.bitcoind_rest == "auto"

    def on_wait(self, callback: Callable[[str | None], None]) -> None:
        """Set the callback for slow calls, see `Rpc.on_wait`. The callback covers REST, too."""
        self._rpc.on_wait(callback)

    # The chain

    def tip(self) -> NodeTip:
        """Return the tip of the node's active chain."""
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
            signet_challenge=info.get("signet_challenge"),
        )

    def block_hash(self, height: int) -> str | None:
        """Return the hash of the active chain's block at this height, or None above the tip."""
        found: str | None = self._rpc.call_or_none("getblockhash", height, none_on_code=OUT_OF_RANGE)
        return found

    def header(self, block_hash: str) -> dict[str, Any] | None:
        """Return a block's header (`height`, `time`, `chainwork`, ...), or None for an unknown block."""
        found: dict[str, Any] | None = self._rpc.call_or_none(
            "getblockheader", block_hash, none_on_code=NOT_FOUND
        )
        return found

    def block(self, block_hash: str) -> Block:
        """Return a block, read by REST where bitcoind serves REST.

        Where our parser fails, bitcoind's parser reads the block. Raise BlockMissing for a pruned block.
        """
        raw = self._rest_block(block_hash)
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
            raise NodeError(f"bitcoind returned block {block.hash} for a request of {block_hash}")
        return block

    # The mempool

    def is_mempool_loaded(self) -> bool:
        """Return whether bitcoind has loaded its saved mempool. Before that, the mempool proves nothing."""
        return bool(self._rpc.call("getmempoolinfo")["loaded"])

    def mempool_entry(self, txid: str) -> MempoolEntry | None:
        """Return the transaction's entry, or None where the transaction is not in the mempool."""
        entry = self._rpc.call_or_none("getmempoolentry", txid, none_on_code=NOT_FOUND)
        if entry is None:
            return None
        return MempoolEntry(datetime.fromtimestamp(entry["time"], UTC), entry["ancestorcount"] - 1)

    def in_mempool(self, txids: Sequence[str]) -> set[str]:
        """Return the given transactions that are in the mempool, by one batch of calls."""
        entries = self._rpc.batch("getmempoolentry", [[txid] for txid in txids], none_on_code=NOT_FOUND)
        return {txid for txid, entry in zip(txids, entries, strict=True) if entry is not None}

    def mempool_txids(self) -> frozenset[str]:
        return frozenset(self._rpc.call("getrawmempool"))

    def mempool_ancestors(self, txid: str) -> list[str]:
        """Return a transaction's unconfirmed ancestors. Return none where it has left the mempool."""
        return self._rpc.call_or_none("getmempoolancestors", txid, none_on_code=NOT_FOUND) or []

    def mempool_dependents(self, txids: Sequence[str]) -> list[str]:
        """Return the given transactions that are in the mempool and have unconfirmed ancestors there.

        All calls are one batch.
        """
        calls = [[txid] for txid in txids]
        entries = self._rpc.batch("getmempoolentry", calls, none_on_code=NOT_FOUND)
        return [t for t, e in zip(txids, entries, strict=True) if e is not None and e["ancestorcount"] > 1]

    def mempool_transactions(self, txids: Sequence[str]) -> list[Transaction]:
        """Return the given transactions that bitcoind has, by one batch of calls.

        With txindex=1 bitcoind also has the transactions of all blocks, even of stale blocks. So only a
        mempool entry proves that a transaction is in the mempool.
        """
        calls = [[txid] for txid in txids]
        raws = self._rpc.batch("getrawtransaction", calls, none_on_code=NOT_FOUND)
        return [self.read_transaction(bytes.fromhex(raw)) for raw in raws if raw is not None]

    def mempool_spenders(self, outpoints: Sequence[bytes]) -> dict[bytes, str]:
        """Map each of these outpoints that is spent in the mempool to the spending txid."""
        parameters = [dict(zip(("txid", "vout"), split_outpoint(key), strict=True)) for key in outpoints]
        rows = self._rpc.call("gettxspendingprevout", parameters) if parameters else []
        return {
            outpoint(row["txid"], row["vout"]): row["spendingtxid"] for row in rows if "spendingtxid" in row
        }

    def read_transaction(self, raw: bytes) -> Transaction:
        """Parse a raw transaction. Where our parser fails, bitcoind's parser reads the transaction.

        Raise MalformedTransaction where bitcoind's parser fails, too.
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
        """Return the wallet's unconfirmed transactions. The cost does not depend on the mempool's size.

        Raise NodeError where the tip has left the chain, and RpcError where the wallet is not loaded.
        """
        try:
            rows = self._rpc.call("listsinceblock", tip_hash, wallet=self._wallet)["transactions"]
        except RpcError as error:
            if error.code == NOT_FOUND:
                raise NodeError("bitcoind's chain moves while it is read") from error
            raise
        return list(dict.fromkeys(row["txid"] for row in rows if row["confirmations"] == 0))

    def paid_heights(self, block_hash: str) -> dict[str, int]:
        """Map each wallet address that is paid since this block to the first height that pays it.

        The block may have left the chain. For an unknown block, the whole chain counts.
        """
        rows = self._rpc.call_or_none(
            "listsinceblock", block_hash, none_on_code=NOT_FOUND, wallet=self._wallet
        )
        if rows is None:
            rows = self._rpc.call("listsinceblock", wallet=self._wallet)
        paid = [row for row in rows["transactions"] if row["confirmations"] > 0 and "address" in row]
        heights: dict[str, int] = {}
        for row in paid:
            height = row["blockheight"]
            heights[row["address"]] = min(height, heights.get(row["address"], height))
        return heights

    def wallet_received_at(self, txid: str) -> datetime | None:
        """Return when the wallet received a transaction, or None where that is unknown or forbidden."""
        try:
            found = self._rpc.call("gettransaction", txid, wallet=self._wallet)
        except (RpcError, NodeRefused):
            return None
        return datetime.fromtimestamp(found["timereceived"], UTC)

    def is_address_known(self, address: str) -> bool:
        """Return whether the wallet owns or watches this address."""
        return _is_ours(self._rpc.call("getaddressinfo", address, wallet=self._wallet))

    def known_addresses(self, addresses: Sequence[str]) -> set[str]:
        """Return the given addresses that the wallet owns or watches.

        Raise RpcError where an address is not valid for this node.
        """
        known: set[str] = set()
        for batch in chunked(addresses):
            calls = [[address] for address in batch]
            infos = self._rpc.batch("getaddressinfo", calls, wallet=self._wallet)
            known |= {address for address, info in zip(batch, infos, strict=True) if _is_ours(info)}
        return known

    def new_addresses(self, count: int) -> list[tuple[str, bytes]]:
        """Return `count` fresh addresses of the wallet, each with its script, by one batch of calls."""
        call = [LABEL, self._settings.address_type]
        addresses = self._rpc.batch("getnewaddress", [call] * count, wallet=self._wallet)
        return list(zip(addresses, self.scripts_of(addresses), strict=True))

    def derive(self, descriptor: str, begin: int, end: int) -> list[str]:
        """Return the addresses of a descriptor from index `begin` to `end`, without the last."""
        if begin >= end:
            return []
        found: list[str] = self._rpc.call("deriveaddresses", descriptor, [begin, end - 1])
        return found

    def scripts_of(self, addresses: Sequence[str]) -> list[bytes]:
        """Return the output script of each of these addresses."""
        answers = self._rpc.batch("validateaddress", [[address] for address in addresses])
        return [bytes.fromhex(answer["scriptPubKey"]) for answer in answers]

    def addresses(self) -> list[str]:
        """Return every address that `new_addresses` has made in this wallet."""
        found = self._rpc.call_or_none(
            "getaddressesbylabel", LABEL, none_on_code=NO_SUCH_LABEL, wallet=self._wallet
        )
        return list(found or ())

    def load_wallet(self) -> bool:
        """Load the wallet if necessary. Return whether that was necessary.

        Raise RpcError where the wallet cannot be loaded.
        """
        # bitcoind returns an error to a second thread that loads the same wallet.
        with _LOADING:
            if self._wallet in self._rpc.call("listwallets"):
                return False
            try:
                self._rpc.call("loadwallet", self._wallet)
            except RpcError as error:
                if error.code != WALLET_LOADED:
                    raise
            return True

    def is_wallet_scanning(self) -> bool:
        """Return whether the wallet is rescanning, because its results have gaps until then."""
        return bool(self._rpc.call("getwalletinfo", wallet=self._wallet)["scanning"])

    # The feed

    def relays_transactions(self) -> bool | None:
        """Return whether bitcoind requests transactions from its peers, or None if this call is refused."""
        try:
            return bool(self._rpc.call("getnetworkinfo")["localrelay"])
        except NodeRefused:
            return None

    def publications(self) -> list[Publication]:
        """Return the topics that bitcoind publishes over ZMQ."""
        rows = self._rpc.call("getzmqnotifications")
        return [Publication(row["type"].removeprefix("pub"), row["address"], row["hwm"]) for row in rows]

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        self._rpc.close()
        self._rest.close()

    def _rest_block(self, block_hash: str) -> bytes | None:
        """Return a block's bytes, or None where REST is off or does not serve this block."""
        self._rpc.last_call = "REST"
        return self._rest.block(block_hash) if self._has_rest else None


def _is_ours(address_info: Mapping[str, Any]) -> bool:
    return bool(address_info["ismine"] or address_info.get("iswatchonly"))
