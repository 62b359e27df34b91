"""The RPC calls that Nodetill makes as its own user. A test compares them with bitcoin.conf.example."""

RPC_CALLS = frozenset(
    "getblockchaininfo getblockhash getblockheader getblock getmempoolinfo getmempoolentry "
    "getmempoolancestors getrawmempool getrawtransaction gettxspendingprevout decoderawtransaction "
    "getzmqnotifications getnetworkinfo getnewaddress getaddressesbylabel validateaddress getaddressinfo "
    "getwalletinfo loadwallet listwallets listsinceblock gettransaction deriveaddresses".split()
)
"""All RPC methods that the daemon calls."""

WALLET_CALLS = frozenset(
    "getnewaddress getaddressesbylabel getaddressinfo getwalletinfo loadwallet listwallets "
    "listsinceblock gettransaction".split()
)
"""The calls of RPC_CALLS that bitcoind's own wallet needs. A bitcoind without wallets does not have them."""

DESCRIPTOR_CALLS = frozenset({"deriveaddresses"})
"""The calls of RPC_CALLS that wallets of descriptors need."""

ADDING_CALLS = frozenset({"getdescriptorinfo", "scantxoutset"})
"""Further calls of `manage.py wallet add`."""
