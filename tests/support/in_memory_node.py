"""A bitcoind in the test's own process: chain, mempool, replacement, reorgs and a wallet.

The node answers the JSON-RPC calls of Nodetill and the tests, as Bitcoin Core 29 answers them. It checks no
scripts, signatures or proofs of work. tests/functional/test_in_memory_node.py compares it with a real
bitcoind. The rules of the mempool are those of Core's validation.cpp (`PreChecks`, `ReplacementChecks`,
`MaybeUpdateMempoolForReorg`) and policy/rbf.cpp.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Protocol

from daemon.node.errors import RpcError
from payments.money import SATS_PER_BTC
from payments.transaction import Transaction, outpoint, parse_block, parse_transaction, split_outpoint

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
GENESIS_TIME = 1_296_688_602
COINBASE_MATURITY = 100
MAX_ANCESTORS = MAX_DESCENDANTS = 25
MAX_REPLACED = 100
INCREMENTAL_SATS_PER_VBYTE = 1
MEDIAN_OF = 11
DAY_SECONDS = 86_400

# Version and lock time; amount; outpoint, empty script and sequence.
FRAME_BYTES, AMOUNT_BYTES, INPUT_BYTES = 8, 8, 41

# Bitcoin Core's rpc/protocol.h.
NOT_FOUND, OUT_OF_RANGE, NO_SUCH_LABEL = -5, -8, -11
MISSING_INPUTS, REJECTED, ALREADY_IN_CHAIN, NO_SUCH_METHOD = -25, -26, -27, -32601


def error(code: int, message: str) -> RpcError:
    """Return the exception for an error of bitcoind."""
    return RpcError(code, message)


class Subscriber(Protocol):
    """A reader of the node's feed."""

    def publish(self, raw: bytes) -> None: ...
    def publish_tip(self) -> None: ...
    def reconnect(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block that was submitted. `work` counts blocks, since all of them have the same difficulty."""

    hash: str
    previous: str | None
    height: int
    time: int
    raw: bytes = b""
    content: tuple[Transaction, ...] = ()

    @property
    def work(self) -> int:
        return 2 * (self.height + 1)


@dataclass(frozen=True, slots=True)
class Utxo:
    """An unspent output of the chain."""

    amount_sats: int
    height: int
    is_coinbase: bool


@dataclass(slots=True)
class Entry:
    """A transaction in the mempool."""

    sent: Transaction
    fee_sats: int
    entered_at: int


@dataclass(slots=True)
class InMemoryWallet:
    """Addresses with their labels, and the transactions that paid them.

    `received` has the time of each transaction, and `outputs` has its rows in `listsinceblock`.
    """

    labels: dict[str, str] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class InMemoryNode:
    """One node on regtest."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        genesis = StoredBlock(GENESIS, None, 0, GENESIS_TIME)
        self._blocks = {GENESIS: genesis}
        self._chain = [genesis]
        self._flushed_height = 0
        self._invalid: set[str] = set()
        self._mock_time = 0
        self._utxos: dict[bytes, Utxo] = {}
        self._spent: dict[str, list[tuple[bytes, Utxo]]] = {}
        self._mempool: dict[str, Entry] = {}
        self._spenders: dict[bytes, str] = {}
        self._scripts: dict[str, bytes] = {}
        self._addresses: dict[bytes, str] = {}
        self._owners: dict[bytes, str] = {}
        self._wallets: defaultdict[str, InMemoryWallet] = defaultdict(InMemoryWallet)
        self.feeds: list[Subscriber] = []

    # The interface of regtest.node.RegtestNode

    def rpc(self, method: str, *arguments: Any, wallet: str | None = None, seconds: float = 0) -> Any:
        """Answer one call. Raises RpcError with the code that bitcoind gives."""
        call = getattr(self, f"_rpc_{method}", None)
        if call is None:
            raise error(NO_SUCH_METHOD, f"Method not found: {method}")
        return call(*arguments) if wallet is None else call(*arguments, wallet=wallet)

    def restart(self, *extra: str) -> None:
        """Restart with the saved mempool. The subscribers lose their queued messages."""
        for feed in self.feeds:
            feed.reconnect()

    def kill(self) -> None:
        """Lose the mempool and every block since the last flush, as a killed bitcoind can."""
        self._mempool.clear()
        self._spenders.clear()
        while self._tip.height > self._flushed_height:
            self._disconnect(self._tip)
        self._blocks = {block.hash: block for block in self._chain}

    def launch(self) -> None:
        """Start again after `kill`."""
        self.restart()

    # The chain

    @property
    def _tip(self) -> StoredBlock:
        return self._chain[-1]

    def _rpc_getblockchaininfo(self) -> dict[str, Any]:
        tip = self._tip
        return {
            "chain": "regtest",
            "blocks": tip.height,
            "headers": max(block.height for block in self._blocks.values()),
            "bestblockhash": tip.hash,
            "chainwork": f"{tip.work:064x}",
            "mediantime": self._median_time(tip),
            "time": tip.time,
            "initialblockdownload": tip.time < self._time() - DAY_SECONDS,
            "pruned": False,
        }

    def _rpc_getbestblockhash(self) -> str:
        return self._tip.hash

    def _rpc_getblockcount(self) -> int:
        return self._tip.height

    def _rpc_getblockhash(self, height: int) -> str:
        if not 0 <= height < len(self._chain):
            raise error(OUT_OF_RANGE, "Block height out of range")
        return self._chain[height].hash

    def _rpc_getblockheader(self, block_hash: str) -> dict[str, Any]:
        block = self._block(block_hash)
        return {
            "hash": block.hash,
            "confirmations": self._confirmations(block),
            "height": block.height,
            "time": block.time,
            "mediantime": self._median_time(block),
            "chainwork": f"{block.work:064x}",
            "previousblockhash": block.previous,
        }

    def _rpc_getblock(self, block_hash: str, verbosity: int = 1) -> Any:
        block = self._block(block_hash)
        if verbosity == 0:
            return block.raw.hex()
        return self._rpc_getblockheader(block_hash) | {"tx": [sent.txid for sent in block.content]}

    def _rpc_submitblock(self, raw_hex: str) -> str | None:
        raw = bytes.fromhex(raw_hex)
        parsed = parse_block(raw)
        if parsed.hash in self._blocks:
            return "duplicate"
        previous = self._blocks.get(parsed.previous_hash)
        if previous is None:
            return "prev-blk-not-found"
        content = tuple(parsed.transactions)
        block = StoredBlock(parsed.hash, previous.hash, previous.height + 1, parsed.time, raw, content)
        self._blocks[block.hash] = block
        if block.work <= self._tip.work:
            return "inconclusive"
        self._activate(block)
        return None

    def _activate(self, block: StoredBlock) -> None:
        """Make `block` the tip: disconnect the blocks above the fork, then connect the new branch."""
        branch = [block]
        while not self._is_active(parent := self._block(branch[-1].previous or "")):
            branch.append(parent)
        fork = branch[-1].height - 1
        disconnected: list[Transaction] = []
        while self._tip.height > fork:
            gone = self._tip
            self._disconnect(gone)
            disconnected = [*gone.content, *disconnected]
        for connected in reversed(branch):
            self._connect(connected)
            mined = {sent.txid for sent in connected.content}
            disconnected = [sent for sent in disconnected if sent.txid not in mined]
        self._resurrect(disconnected)
        for feed in self.feeds:
            feed.publish_tip()

    def _connect(self, block: StoredBlock) -> None:
        spent: list[tuple[bytes, Utxo]] = []
        for number, sent in enumerate(block.content):
            spent += [(key, self._utxos.pop(key)) for key in sent.inputs]
            for vout, (amount_sats, _) in enumerate(sent.outputs):
                self._utxos[outpoint(sent.txid, vout)] = Utxo(amount_sats, block.height, number == 0)
        self._spent[block.hash] = spent
        self._chain.append(block)
        for sent in block.content:
            self._leave(sent.txid)
            for key in sent.inputs:
                if rival := self._spenders.get(key):
                    self._evict(rival)
            self._note_received(sent)
            self._publish(sent)

    def _disconnect(self, block: StoredBlock) -> None:
        for sent in block.content:
            for vout in range(len(sent.outputs)):
                self._utxos.pop(outpoint(sent.txid, vout), None)
        created = {sent.txid for sent in block.content}
        for key, utxo in self._spent.pop(block.hash):
            if split_outpoint(key)[0] not in created:
                self._utxos[key] = utxo
        self._chain.pop()
        self._flushed_height = min(self._flushed_height, self._tip.height)
        for sent in block.content:
            self._publish(sent)

    def _resurrect(self, disconnected: Iterable[Transaction]) -> None:
        """Put the disconnected transactions back into the mempool if they are still valid."""
        for sent in disconnected:
            try:
                if not sent.inputs:
                    raise error(REJECTED, "coinbase")
                self._accept(sent)
            except RpcError:
                self._evict_children(sent)
        for txid in list(self._mempool):
            entry = self._mempool.get(txid)
            if entry is not None and not self._is_mature(entry.sent):
                self._evict(txid)

    def _block(self, block_hash: str) -> StoredBlock:
        block = self._blocks.get(block_hash)
        if block is None:
            raise error(NOT_FOUND, "Block not found")
        return block

    def _is_active(self, block: StoredBlock) -> bool:
        return block.height < len(self._chain) and self._chain[block.height].hash == block.hash

    def _confirmations(self, block: StoredBlock) -> int:
        return self._tip.height - block.height + 1 if self._is_active(block) else -1

    def _median_time(self, block: StoredBlock) -> int:
        times: list[int] = []
        walk: StoredBlock | None = block
        while walk is not None and len(times) < MEDIAN_OF:
            times.append(walk.time)
            walk = None if walk.previous is None else self._blocks[walk.previous]
        return sorted(times)[len(times) // 2]

    def _time(self) -> int:
        return self._mock_time or int(self._now().timestamp())

    # The mempool

    def _rpc_sendrawtransaction(self, raw_hex: str, max_fee_rate: Any = None) -> str:
        raw = bytes.fromhex(raw_hex)
        sent = parse_transaction(raw)
        if any(outpoint(sent.txid, v) in self._utxos for v in range(len(sent.outputs))):
            raise error(ALREADY_IN_CHAIN, "Transaction outputs already in utxo set")
        if sent.txid not in self._mempool:
            self._accept(sent)
        return sent.txid

    def _accept(self, sent: Transaction) -> None:
        """Add a transaction to the mempool, and remove the transactions that it replaces."""
        inputs = sent.inputs
        amounts = [self._amount(key) for key in inputs]
        if None in amounts:
            raise error(MISSING_INPUTS, "bad-txns-inputs-missingorspent")
        if not self._is_mature(sent):
            raise error(REJECTED, "bad-txns-premature-spend-of-coinbase")
        fee_sats = sum(a or 0 for a in amounts) - sum(sats for sats, _ in sent.outputs)
        rivals = {self._spenders[key] for key in inputs if key in self._spenders}
        replaced = {txid for rival in rivals for txid in (rival, *self._descendants(rival))}
        ancestors = self._ancestors_of(inputs)
        if ancestors & rivals:
            raise error(REJECTED, "bad-txns-spends-conflicting-tx")
        if len(ancestors) >= MAX_ANCESTORS or any(
            len(self._descendants(txid)) + 2 > MAX_DESCENDANTS for txid in ancestors
        ):
            raise error(REJECTED, "too-long-mempool-chain")
        if rivals:
            self._check_replacement(sent, fee_sats, rivals, replaced)
        for rival in rivals:
            self._evict(rival)
        self._mempool[sent.txid] = Entry(sent, fee_sats, self._time())
        self._spenders.update(dict.fromkeys(inputs, sent.txid))
        self._note_received(sent)
        self._publish(sent)

    def _check_replacement(
        self, sent: Transaction, fee_sats: int, rivals: set[str], replaced: set[str]
    ) -> None:
        """Apply the rules of BIP 125, without its signal: Core replaces any transaction since version 28."""
        for rival in rivals:
            entry = self._mempool[rival]
            if fee_sats * _vbytes(entry.sent) <= entry.fee_sats * _vbytes(sent):
                raise error(REJECTED, "insufficient fee, the new feerate is not higher")
        parents = {split_outpoint(key)[0] for key in sent.inputs}
        known = {split_outpoint(key)[0] for rival in rivals for key in self._mempool[rival].sent.inputs}
        if (parents & self._mempool.keys()) - known:
            raise error(REJECTED, "replacement-adds-unconfirmed")
        if len(replaced) > MAX_REPLACED:
            raise error(REJECTED, "too many potential replacements")
        added_sats = fee_sats - sum(self._mempool[txid].fee_sats for txid in replaced)
        if added_sats < INCREMENTAL_SATS_PER_VBYTE * _vbytes(sent):
            raise error(REJECTED, "insufficient fee")

    def _amount(self, key: bytes) -> int | None:
        if utxo := self._utxos.get(key):
            return utxo.amount_sats
        txid, vout = split_outpoint(key)
        entry = self._mempool.get(txid)
        if entry is None or vout >= len(entry.sent.outputs):
            return None
        return entry.sent.outputs[vout][0]

    def _is_mature(self, sent: Transaction) -> bool:
        coins = [utxo for key in sent.inputs if (utxo := self._utxos.get(key))]
        return all(
            not coin.is_coinbase or self._tip.height + 1 - coin.height >= COINBASE_MATURITY for coin in coins
        )

    def _ancestors_of(self, inputs: Iterable[bytes]) -> set[str]:
        found: set[str] = set()
        unread = [split_outpoint(key)[0] for key in inputs]
        while unread:
            txid = unread.pop()
            if txid in self._mempool and txid not in found:
                found.add(txid)
                unread += [split_outpoint(key)[0] for key in self._mempool[txid].sent.inputs]
        return found

    def _children(self, sent: Transaction) -> Iterator[str]:
        for vout in range(len(sent.outputs)):
            if child := self._spenders.get(outpoint(sent.txid, vout)):
                yield child

    def _descendants(self, txid: str) -> set[str]:
        found: set[str] = set()
        unread = [txid]
        while unread:
            fresh = set(self._children(self._mempool[unread.pop()].sent)) - found
            found |= fresh
            unread += fresh
        return found

    def _leave(self, txid: str) -> None:
        """Remove one transaction that is now in a block; its descendants stay."""
        entry = self._mempool.pop(txid, None)
        if entry is not None:
            for key in entry.sent.inputs:
                del self._spenders[key]

    def _evict(self, txid: str) -> None:
        """Remove a transaction and its descendants."""
        for gone in (*self._descendants(txid), txid):
            self._leave(gone)

    def _evict_children(self, sent: Transaction) -> None:
        for child in list(self._children(sent)):
            if child in self._mempool:
                self._evict(child)

    def evict(self, txid: str) -> None:
        """Remove a transaction and its descendants, as a full mempool does."""
        self._evict(txid)

    def _entry(self, txid: str) -> Entry:
        entry = self._mempool.get(txid)
        if entry is None:
            raise error(NOT_FOUND, "Transaction not in mempool")
        return entry

    def _rpc_getrawmempool(self) -> list[str]:
        return list(self._mempool)

    def _rpc_getmempoolinfo(self) -> dict[str, Any]:
        return {"loaded": True, "size": len(self._mempool)}

    def _rpc_getmempoolentry(self, txid: str) -> dict[str, Any]:
        entry = self._entry(txid)
        inputs = entry.sent.inputs
        parents = {split_outpoint(key)[0] for key in inputs}
        return {
            "time": entry.entered_at,
            "ancestorcount": len(self._ancestors_of(inputs)) + 1,
            "descendantcount": len(self._descendants(txid)) + 1,
            "depends": sorted(parents & self._mempool.keys()),
            "spentby": sorted(set(self._children(entry.sent))),
        }

    def _rpc_getmempoolancestors(self, txid: str) -> list[str]:
        return list(self._ancestors_of(self._entry(txid).sent.inputs))

    def _rpc_gettxspendingprevout(self, outpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = ((row, self._spenders.get(outpoint(row["txid"], row["vout"]))) for row in outpoints)
        return [row if spender is None else row | {"spendingtxid": spender} for row, spender in found]

    def _rpc_getrawtransaction(self, txid: str) -> str:
        if txid not in self._mempool:
            raise error(NOT_FOUND, "No such mempool transaction. Use -txindex or provide a block hash")
        return self._mempool[txid].sent.raw.hex()

    # The wallet

    def _rpc_getnewaddress(self, label: str = "", kind: str = "bech32", *, wallet: str) -> str:
        digest = sha256(f"{wallet}/{len(self._scripts)}".encode()).digest()[:20]
        address = f"bcrt1q{digest.hex()}"
        self.adopt(address, b"\x00\x14" + digest, label, wallet)
        return address

    def adopt(self, address: str, script: bytes, label: str, wallet: str) -> None:
        """Make this address one of the wallet's."""
        self._scripts[address] = script
        self._addresses[script] = address
        self._owners[script] = wallet
        self._wallets[wallet].labels[address] = label

    def _rpc_validateaddress(self, address: str) -> dict[str, Any]:
        script = self._scripts.get(address)
        return {"isvalid": False} if script is None else {"isvalid": True, "scriptPubKey": script.hex()}

    def _rpc_getaddressinfo(self, address: str, *, wallet: str) -> dict[str, Any]:
        is_mine = address in self._wallets[wallet].labels
        script = self._scripts.get(address, b"").hex()
        return {
            "address": address,
            "scriptPubKey": script,
            "ismine": is_mine,
            "iswatchonly": False,
            "solvable": is_mine,
        }

    def _rpc_getaddressesbylabel(self, label: str, *, wallet: str) -> dict[str, Any]:
        found = [address for address, own in self._wallets[wallet].labels.items() if own == label]
        if not found:
            raise error(NO_SUCH_LABEL, f"No addresses with label {label}")
        return {address: {"purpose": "receive"} for address in found}

    def _rpc_createwallet(self, name: str, *_options: Any) -> dict[str, Any]:
        self._wallets[name] = InMemoryWallet()
        return {"name": name}

    def _rpc_listwallets(self) -> list[str]:
        return list(self._wallets)

    def _rpc_getwalletinfo(self, *, wallet: str) -> dict[str, Any]:
        return {"walletname": wallet, "scanning": False, "private_keys_enabled": True}

    def _rpc_listsinceblock(self, block_hash: str | None = None, *, wallet: str) -> dict[str, Any]:
        """Return the payments to the wallet since `block_hash`, and those in no block."""
        since = self._chain[0] if block_hash is None else self._block(block_hash)
        blocks = {sent.txid: block for block in self._chain for sent in block.content}
        rows = []
        for txid, outputs in self._wallets[wallet].outputs.items():
            block = blocks.get(txid)
            if block is None:
                rows += [{**output, "confirmations": 0} for output in outputs]
            elif block.height > since.height:
                place = {"confirmations": self._confirmations(block), "blockheight": block.height}
                rows += [{**output, **place} for output in outputs]
        return {"transactions": rows, "lastblock": self._tip.hash}

    def _rpc_gettransaction(self, txid: str, *_options: Any, wallet: str) -> dict[str, Any]:
        received = self._wallets[wallet].received.get(txid)
        if received is None:
            raise error(NOT_FOUND, "Invalid or non-wallet transaction id")
        return {"txid": txid, "timereceived": received, "time": received}

    def _note_received(self, sent: Transaction) -> None:
        received: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for vout, (amount_sats, script) in enumerate(sent.outputs):
            if (wallet := self._owners.get(bytes(script))) is not None:
                received[wallet].append(
                    {
                        "txid": sent.txid,
                        "vout": vout,
                        "address": self._addresses[bytes(script)],
                        "category": "receive",
                        "amount": Decimal(amount_sats) / SATS_PER_BTC,
                    }
                )
        for wallet, outputs in received.items():
            self._wallets[wallet].received.setdefault(sent.txid, self._time())
            self._wallets[wallet].outputs[sent.txid] = outputs

    # The feed

    def _rpc_getzmqnotifications(self) -> list[dict[str, Any]]:
        return [
            {"type": f"pub{topic}", "address": f"tcp://127.0.0.1:{port}", "hwm": 0}
            for topic, port in (("rawtx", 28332), ("hashblock", 28333))
        ]

    def _rpc_getnetworkinfo(self) -> dict[str, Any]:
        return {"version": 290000, "subversion": "/Satoshi:29.0.0/", "localrelay": True}

    def _rpc_syncwithvalidationinterfacequeue(self) -> None:
        return None

    def _rpc_gettxoutsetinfo(self) -> dict[str, Any]:
        self._flushed_height = self._tip.height
        return {"height": self._tip.height}

    def _publish(self, sent: Transaction) -> None:
        for feed in self.feeds:
            feed.publish(sent.raw)


def _vbytes(transaction: Transaction) -> int:
    """Return a quarter of the weight (BIP 141), rounded up. Every input here is a witness input."""
    inputs, outputs = transaction.inputs, transaction.outputs
    scripts = sum(AMOUNT_BYTES + _size_bytes(len(s)) + len(s) for _, s in outputs)
    counts = _size_bytes(len(inputs)) + _size_bytes(len(outputs))
    stripped = FRAME_BYTES + counts + INPUT_BYTES * len(inputs) + scripts
    return (3 * stripped + len(transaction.raw) + 3) // 4


def _size_bytes(number: int) -> int:
    """Return the bytes of a compact size (Core's serialize.h)."""
    return 1 if number < 253 else 3
