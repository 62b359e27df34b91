"""The rest of a regtest node in memory: its miner, its operator's calls, and a wallet that can spend."""

import struct
from decimal import Decimal
from typing import Any

from payments.transaction import Transaction, outpoint, parse_transaction
from regtest.node import CUSTOMER
from tests.support.in_memory_node import MISSING_INPUTS, InMemoryNode, StoredBlock, error
from tests.support.tx_builder import build_block

SATS = 100_000_000
DESERIALIZATION_ERROR = -22  # Core's rpc/protocol.h
MAX_RESURRECTED_BLOCKS = 10
"""A deeper `invalidateblock` leaves the mempool as it is (Core's Chainstate::InvalidateBlock)."""


class MiningNode(InMemoryNode):
    """A node with the calls of Core's rpc/mining.cpp, and with the wallet CUSTOMER."""

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        """Mine blocks, and return their hashes. The coins go to `address`, or to the customer's wallet."""
        return list(self.rpc("generatetoaddress", blocks, address or self._customer_address()))

    def fund_customer(self) -> None:
        """Give the wallet CUSTOMER coins. Coins of a block can be spent after 100 more blocks."""
        self.mine(101)

    def _customer_address(self) -> str:
        return str(self.rpc("getnewaddress", "", "bech32", wallet=CUSTOMER))

    # Mining

    def _rpc_setmocktime(self, seconds: int) -> None:
        self._mock_time = seconds

    def _rpc_generatetoaddress(self, blocks: int, address: str) -> list[str]:
        return [self._mine(address, self._in_order()) for _ in range(blocks)]

    def _rpc_generateblock(self, address: str, named: list[str]) -> dict[str, str]:
        content = [
            self._mempool[name].sent if name in self._mempool else parse_transaction(bytes.fromhex(name))
            for name in named
        ]
        return {"hash": self._mine(address, content)}

    def _mine(self, address: str, content: list[Transaction]) -> str:
        self._check(content)
        tip = self._tip
        time = max(self._median_time(tip) + 1, self._time())
        script = self._scripts[address]
        block_hash, raw = build_block(tip.hash, tip.height + 1, time, content, script)
        self._rpc_submitblock(raw.hex())
        return block_hash

    def _in_order(self) -> list[Transaction]:
        """Return the mempool's transactions, ancestors first."""
        entries = [entry.sent for entry in self._mempool.values()]
        return sorted(entries, key=lambda sent: len(self._ancestors_of(sent.inputs)))

    def _check(self, content: list[Transaction]) -> None:
        """Raise bitcoind's error where a transaction spends a coin that is not there."""
        created, spent = set[bytes](), set[bytes]()
        for sent in content:
            for key in sent.inputs:
                if key in spent or not (key in created or key in self._utxos):
                    raise error(MISSING_INPUTS, "TestBlockValidity failed: bad-txns-inputs-missingorspent")
                spent.add(key)
            created.update(outpoint(sent.txid, vout) for vout in range(len(sent.outputs)))

    # The operator's calls

    def _rpc_invalidateblock(self, block_hash: str) -> None:
        """Take this block and all after it off the chain, and follow the best of the other chains."""
        invalid = self._block(block_hash)
        self._invalid.add(block_hash)
        gone: list[Transaction] = []
        depth = 0
        while self._is_active(invalid):
            tip = self._tip
            self._disconnect(tip)
            depth += 1
            if depth <= MAX_RESURRECTED_BLOCKS:
                gone = [*tip.content, *gone]
        self._resurrect(gone)
        self._follow_best()

    def _rpc_reconsiderblock(self, block_hash: str) -> None:
        self._invalid.discard(block_hash)
        self._follow_best()

    def _follow_best(self) -> None:
        """Follow the block with the most work, and among equal blocks the first that the node received.

        Core's CBlockIndexWorkComparator (node/blockstorage.cpp) has this order.
        """
        best = max(self._valid_blocks(), key=lambda block: block.work)
        if best != self._tip:
            self._activate(best)

    # The customer's wallet

    def _rpc_listunspent(self, confirmations: int, *, wallet: str) -> list[dict[str, Any]]:
        """Name the coinbases that the wallet may spend."""
        return [
            {
                "txid": coinbase.txid,
                "vout": 0,
                "amount": Decimal(coinbase.outputs[0][0]) / SATS,
                "scriptPubKey": bytes(coinbase.outputs[0][1]).hex(),
            }
            for block in self._chain[1 : self._tip.height + 2 - confirmations]
            for coinbase in block.content[:1]
            if self._owners.get(bytes(coinbase.outputs[0][1])) == wallet
            and outpoint(coinbase.txid, 0) in self._utxos
        ]

    def _rpc_signrawtransactionwithwallet(
        self, raw_hex: str, _spent: list[dict[str, Any]], *, wallet: str
    ) -> dict[str, Any]:
        """Return the transaction as it is, because this node checks no signatures."""
        return {"hex": raw_hex, "complete": True}

    def _rpc_decoderawtransaction(self, raw_hex: str) -> dict[str, Any]:
        try:
            return {"txid": parse_transaction(bytes.fromhex(raw_hex)).txid}
        except (ValueError, IndexError, struct.error) as problem:
            raise error(DESERIALIZATION_ERROR, "TX decode failed") from problem

    def _valid_blocks(self) -> list[StoredBlock]:
        """Return the blocks that are neither invalid nor after an invalid one."""
        return [block for block in self._blocks.values() if not self._is_invalid(block)]

    def _is_invalid(self, block: StoredBlock) -> bool:
        walk: StoredBlock | None = block
        while walk is not None and not self._is_active(walk):
            if walk.hash in self._invalid:
                return True
            walk = None if walk.previous is None else self._blocks[walk.previous]
        return False
