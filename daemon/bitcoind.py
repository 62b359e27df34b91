"""bitcoind as the daemon sees it: the calls we make, their answers as values, and errors of our own.

Nothing here may be asked twice at once: python-bitcoinrpc's connection is one thread's. RPC reference:
https://bitcoincore.org/en/doc/ (version 29).
"""

import http.client
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bitcoinrpc.authproxy import JSONRPCException

from config import Settings
from daemon.failpoint import reach
from daemon.node_answers import MempoolEntry, NodeTip, Publication
from daemon.patience import ANSWER_SECONDS, PatientConnection
from daemon.rest import Rest
from daemon.rpc_proxy import NOT_JSON, RpcProxy
from payments.transaction import (
    Block,
    MalformedTransaction,
    Transaction,
    decoded_block,
    decoded_transaction,
    header_hashes,
    outpoint,
    outpoint_parts,
    parse_block,
    parse_transaction,
)

# From Bitcoin Core's rpc/protocol.h.
MISC_ERROR, NOT_FOUND, OUT_OF_RANGE, NO_SUCH_LABEL = -1, -5, -8, -11
WALLET_ERROR, WALLET_NOT_FOUND, WALLET_NOT_SPECIFIED, WALLET_LOADED = -4, -18, -19, -35
IN_WARMUP = -28

RPC_CALLS = frozenset(
    "getblockchaininfo getblockhash getblockheader getblock getmempoolinfo getmempoolentry "
    "getmempoolancestors getrawmempool getrawtransaction gettxspendingprevout decoderawtransaction "
    "getzmqnotifications getnewaddress getaddressesbylabel validateaddress getaddressinfo getwalletinfo "
    "loadwallet listwallets listsinceblock".split()
)
"""All that the daemon asks of bitcoind: bitcoin.conf.example's rpcwhitelist is held to it by a test."""

GET_BLOCKS_BACK = "get it back with bitcoin-cli getblockfrompeer, or restart bitcoind with -prune=0 -reindex"

HEADERS_AT_ONCE = 1999
"""One less than Bitcoin Core's MAX_REST_HEADERS_RESULTS, since the block asked from is among them."""

LABEL = "nodetill"
"""What the wallet is told to call our addresses."""


class NodeError(Exception):
    """bitcoind has no answer now; ask again later. The message is one line that says what to do."""


class NodeRefused(NodeError):
    """bitcoind does not let us in, or not make this call."""


class BlockMissing(NodeError):
    """A block that we need is pruned."""


class RpcError(Exception):
    """bitcoind answered with an error, by its code in rpc/protocol.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Bitcoind:
    """A connection to bitcoind for one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.rpc_url_without_credentials
        self._node: RpcProxy | None = None
        self._wallet: RpcProxy | None = None
        self._rest = Rest(self._connection)
        self._has_rest = settings.bitcoind_rest == "auto"
        self._asked = ""
        self._live_on: Callable[[str | None], None] | None = None

    def while_waiting(self, live_on: Callable[[str | None], None]) -> None:
        """Have `live_on` called five times a second while bitcoind takes its time, with what is to be told of
        it, if anything; what it raises ends the call."""
        self._live_on = live_on

    # The chain

    def tip(self) -> NodeTip:
        """Where the node's active chain ends."""
        info = self._call("getblockchaininfo")
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
        found: str | None = self._call_or_none("getblockhash", height, absent=OUT_OF_RANGE)
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
        found: dict[str, Any] | None = self._call_or_none("getblockheader", block_hash, absent=NOT_FOUND)
        return found

    def block(self, block_hash: str) -> Block:
        """A block, by REST where it is served; what our parser can't read is read by bitcoind's.

        Raises BlockMissing where the node has pruned it.
        """
        raw = self._rest_answer(f"/rest/block/{block_hash}.bin", "rest.block")
        try:
            if raw is None:
                raw = bytes.fromhex(self._call("getblock", block_hash, 0))
            try:
                block = parse_block(raw)
            except MalformedTransaction:
                block = decoded_block(self._call("getblock", block_hash, 2))
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
        return bool(self._call("getmempoolinfo")["loaded"])

    def mempool_entry(self, txid: str) -> MempoolEntry | None:
        """The transaction's entry; None where it is not in the mempool."""
        entry = self._call_or_none("getmempoolentry", txid, absent=NOT_FOUND)
        if entry is None:
            return None
        return MempoolEntry(datetime.fromtimestamp(entry["time"], UTC), entry["ancestorcount"] - 1)

    def mempool_txids(self) -> frozenset[str]:
        """All transactions in the mempool."""
        return frozenset(self._call("getrawmempool"))

    def mempool_ancestors(self, txid: str) -> list[str]:
        """A transaction's unconfirmed ancestors; none where it has left the mempool."""
        return self._call_or_none("getmempoolancestors", txid, absent=NOT_FOUND) or []

    def mempool_dependents(self, txids: Sequence[str]) -> list[str]:
        """Those of these transactions that are in the mempool, and have unconfirmed ancestors there. They are
        asked for all at once."""
        calls = [[txid] for txid in txids]
        entries = self._call("getmempoolentry", calls, NOT_FOUND, each=True) if calls else []
        return [t for t, e in zip(txids, entries, strict=True) if e is not None and e["ancestorcount"] > 1]

    def mempool_transactions(self, txids: Sequence[str]) -> list[Transaction]:
        """Those of these transactions that the mempool still has. They are asked for all at once."""
        calls = [[txid] for txid in txids]
        raws = self._call("getrawtransaction", calls, NOT_FOUND, each=True) if calls else []
        return [self.read_transaction(bytes.fromhex(raw)) for raw in raws if raw is not None]

    def mempool_spenders(self, outpoints: Sequence[bytes]) -> dict[bytes, str]:
        """Which of these outpoints are spent in the mempool, and by which transaction."""
        asked = [dict(zip(("txid", "vout"), outpoint_parts(key), strict=True)) for key in outpoints]
        rows = self._call("gettxspendingprevout", asked) if asked else []
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
                return decoded_transaction(self._call("decoderawtransaction", raw.hex()))
            except RpcError as error:
                raise MalformedTransaction(str(error)) from error

    # The wallet

    def wallet_mempool_txids(self, tip_hash: str) -> list[str]:
        """The wallet's unconfirmed transactions, whatever the mempool's size.

        Raises NodeError where the tip has left the chain, RpcError where the wallet is not loaded.
        """
        try:
            rows = self._call("listsinceblock", tip_hash, wallet=True)["transactions"]
        except RpcError as error:
            if error.code == NOT_FOUND:
                raise NodeError("bitcoind's chain moves while it is read") from error
            raise
        return list(dict.fromkeys(row["txid"] for row in rows if row["confirmations"] == 0))

    def is_address_known(self, address: str) -> bool:
        """Whether the wallet watches this address."""
        info = self._call("getaddressinfo", address, wallet=True)
        return bool(info["ismine"] or info.get("iswatchonly"))

    def new_addresses(self, count: int) -> list[tuple[str, bytes]]:
        """So many fresh addresses of the wallet, each with its script. They are asked for all at once."""
        call = [LABEL, self._settings.address_type]
        addresses = self._call("getnewaddress", [call] * count, wallet=True, each=True)
        return list(zip(addresses, self.scripts_of(addresses), strict=True))

    def scripts_of(self, addresses: Sequence[str]) -> list[bytes]:
        """What an output has to hold to pay each of these addresses."""
        answers = self._call("validateaddress", [[address] for address in addresses], each=True)
        return [bytes.fromhex(answer["scriptPubKey"]) for answer in answers]

    def addresses(self) -> list[str]:
        """Every address that `new_addresses` ever made in this wallet."""
        return list(self._call_or_none("getaddressesbylabel", LABEL, absent=NO_SUCH_LABEL, wallet=True) or ())

    def load_wallet(self) -> bool:
        """Load the wallet if it is not; whether it had to be. Raises RpcError where it can't be loaded."""
        name = self._settings.bitcoind_wallet
        if name in self._call("listwallets"):
            return False
        try:
            self._call("loadwallet", name)
        except RpcError as error:
            if error.code != WALLET_LOADED:
                raise
        return True

    def is_wallet_scanning(self) -> bool:
        """Whether the wallet is rescanning, so that its answers have gaps."""
        return bool(self._call("getwalletinfo", wallet=True)["scanning"])

    # The feed

    def publications(self) -> list[Publication]:
        """What bitcoind publishes over ZMQ."""
        rows = self._call("getzmqnotifications")
        return [Publication(row["type"].removeprefix("pub"), row["address"], row["hwm"]) for row in rows]

    def close(self) -> None:
        """Let the connections go; the next call makes new ones."""
        for proxy in (self._node, self._wallet):
            if proxy is not None:
                proxy.close()
        self._rest.close()
        self._node = self._wallet = None

    def _call_or_none(self, method: str, *parameters: Any, absent: int, wallet: bool = False) -> Any:
        try:
            return self._call(method, *parameters, wallet=wallet)
        except RpcError as error:
            if error.code == absent:
                return None
            raise

    def _call(self, method: str, *parameters: Any, wallet: bool = False, each: bool = False) -> Any:
        """Ask once more where the connection was lost: bitcoind closes one that is idle for 30 seconds.

        With `each`, the parameters are those of RpcProxy.each.
        """
        is_new = (self._wallet if wallet else self._node) is None
        try:
            return self._ask(method, parameters, wallet, each)
        except (http.client.HTTPException, ConnectionError) as error:
            self.close()
            if is_new:
                raise self._unreachable(error) from error
        try:
            return self._ask(method, parameters, wallet, each)
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error

    def _ask(self, method: str, parameters: tuple[Any, ...], wallet: bool, each: bool) -> Any:
        assert method in RPC_CALLS, method
        self._asked = method
        try:
            call = getattr(self._proxy(wallet), method)
            answer = call.each(*parameters) if each else call(*parameters)
        except JSONRPCException as error:
            reach(f"rpc.{method}")
            raise self._translated(error, method) from error
        except (http.client.HTTPException, ConnectionError):
            raise
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            self.close()
            raise NodeError(
                f"what answers at {self._address} is not bitcoind ({type(error).__name__}): "
                "is BITCOIND_RPC_URL right?"
            ) from error
        reach(f"rpc.{method}")
        return answer

    def _translated(self, error: JSONRPCException, method: str) -> Exception:
        code, message = error.code, " ".join(str(error.message).split())
        if code == IN_WARMUP:
            return NodeError(f"bitcoind is starting ({message.rstrip('.…')}): wait until it is done")
        if code not in (NOT_JSON, -343):
            return RpcError(code or MISC_ERROR, message)
        # python-bitcoinrpc's connection has an answer left in it, and is of no use any more.
        self.close()
        if "'401" in message:
            return NodeRefused(
                f"bitcoind at {self._address} refuses our password: "
                "correct BITCOIND_RPC_URL or BITCOIND_COOKIE_FILE"
            )
        if "'403" in message:
            return NodeRefused(
                f"bitcoind does not let this user call {method}: add it to rpcwhitelist in bitcoin.conf"
            )
        cure = "" if "'503" in message else "; is BITCOIND_RPC_URL right?"
        return NodeError(f"bitcoind at {self._address} gave no answer: {message}{cure}")

    def _unreachable(self, error: Exception) -> NodeError:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        return NodeError(
            f"bitcoind at {self._address} cannot be reached ({reason}): "
            "is it running, and is BITCOIND_RPC_URL right?"
        )

    def _proxy(self, wallet: bool) -> RpcProxy:
        if wallet:
            if self._wallet is None:
                self._wallet = self._connect(f"/wallet/{quote(self._settings.bitcoind_wallet, safe='')}")
            return self._wallet
        if self._node is None:
            self._node = self._connect("/")
        return self._node

    def _connect(self, path: str) -> RpcProxy:
        return RpcProxy(self._address + path, self._credentials(), self._connection())

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._address)
        if parts.scheme == "https":
            # What can be read of TLS need not be the beginning of an answer.
            return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
        return PatientConnection(parts.hostname or "", parts.port or 80, self._meanwhile)

    def _meanwhile(self, seconds: float | None) -> None:
        if self._live_on is not None:
            silence = f"bitcoind at {self._address} has not answered {self._asked} for {seconds or 0:.0f} s"
            self._live_on(silence if seconds else None)

    def _credentials(self) -> str:
        """From the URL, or from the cookie file, which bitcoind writes anew at each start."""
        settings = self._settings
        if settings.rpc_username is not None:
            password = settings.rpc_password
            return f"{settings.rpc_username}:{password.reveal() if password else ''}"
        cookie: Path = settings.bitcoind_cookie_file
        try:
            return cookie.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise NodeRefused(
                f"the cookie file {cookie} cannot be read ({reason}): is bitcoind running, "
                "and is BITCOIND_COOKIE_FILE right?"
            ) from error

    def _rest_answer(self, path: str, failpoint: str) -> bytes | None:
        """None where it is not to be asked, or does not serve that."""
        self._asked = "REST"
        return self._rest.get(path, failpoint) if self._has_rest else None
