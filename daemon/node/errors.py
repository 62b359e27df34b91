"""The errors of calls to bitcoind."""

# From Bitcoin Core's rpc/protocol.h.
MISC_ERROR, NOT_FOUND, OUT_OF_RANGE, NO_SUCH_LABEL = -1, -5, -8, -11
WALLET_NOT_FOUND, WALLET_LOADED, IN_WARMUP, METHOD_NOT_FOUND = -18, -35, -28, -32601


class BitcoindError(Exception):
    """A call to bitcoind has no result."""


class NodeError(BitcoindError):
    """bitcoind returns no result now, but may later. The message is one line with the cure."""


class NoCredentials(NodeError):
    """There is neither a password nor a cookie that can be read."""


class NodeRefused(NodeError):
    """bitcoind refuses our credentials, our address, or this call."""


class RpcError(BitcoindError):
    """bitcoind has returned an error. `code` is one of Bitcoin Core's rpc/protocol.h."""

    def __init__(self, code: int, message: str, method: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.method = method
