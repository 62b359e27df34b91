"""`manage.py wallet`: the wallet in bitcoind that makes the addresses."""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from admin.cli import CommandError, answer, json_option, read_settings
from admin.operator_rpc import OperatorRpc
from config import Settings
from daemon.node.errors import WALLET_LOADED, WALLET_NOT_FOUND, NodeRefused, RpcError
from models.address import hold_unclaimed, unclaimed_addresses
from models.db.connection import TRANSIENT_ERRORS, DatabaseError, database, disconnect
from models.db.schema import open_database

# Extended private keys (BIP 32, SLIP 132), and keys in wallet import format.
PRIVATE_KEY = re.compile(r"[a-zA-Z]prv[1-9A-HJ-NP-Za-km-z]{20}|[(,][5KL9c][1-9A-HJ-NP-Za-km-z]{50,51}[),]")
# The address type of each form of descriptor, as Core's DescriptorImpl::GetOutputType has it.
ADDRESS_TYPES = {"tr(": "bech32m", "wpkh(": "bech32", "wsh(": "bech32", "sh(w": "p2sh-segwit"}


@click.group()
def wallet() -> None:
    """Manage the wallets that customers pay to.

    \b
    manage.py wallet add shop KEY --default    a descriptor or a public key
    manage.py wallet create                    a wallet in bitcoind
    manage.py wallet list
    """


@wallet.command()
@click.option("--watch-only", metavar="DESCRIPTOR", help="Watch this descriptor; the keys stay elsewhere.")
@click.option("--change-descriptor", metavar="DESCRIPTOR", help="Watch that wallet's change as well.")
@json_option
def create(watch_only: str | None, change_descriptor: str | None, as_json: bool) -> None:
    """Create the wallet BITCOIND_WALLET, or load it if it exists.

    With --watch-only the wallet has no private key and can't spend, so this is the recommended way.
    DESCRIPTOR is the receiving descriptor of your wallet, such as "wpkh([d34db33f/84h/0h/0h]xpub.../0/*)". A
    descriptor with .../<0;1>/* is that of the change, too. Most wallet programs show the descriptor, with or
    without a checksum.

    \b
    manage.py wallet create --watch-only "wpkh([d34db33f/84h/0h/0h]xpub.../0/*)"
    manage.py wallet create
    """
    if change_descriptor is not None and watch_only is None:
        raise click.UsageError("--change-descriptor goes with --watch-only")
    settings = read_settings()
    document = create_wallet(settings, watch_only, change_descriptor)
    kind = "watch-only wallet" if document["watch_only"] else "hot wallet"
    state = "is created" if document["created"] else "is there already, and loaded"
    answer(document, f"The {kind} {document['wallet']} {state}.", as_json)


def create_wallet(
    settings: Settings, watch_only: str | None, change_descriptor: str | None
) -> dict[str, Any]:
    """Create or load the wallet, and return its name, if it is new, and if it is watch-only.

    Raise CommandError with the correction, NodeError or RpcError.
    """
    rpc = OperatorRpc(settings)
    try:
        if watch_only is not None:
            is_new = _create_watch_only(rpc, settings, watch_only, change_descriptor)
        else:
            is_new = not _is_there(rpc, rpc.wallet) and _create(rpc, private_keys=True)
        _hold_lost_addresses(rpc, settings)
        holds_keys = rpc.call("getwalletinfo", in_wallet=True)["private_keys_enabled"]
        return {"wallet": rpc.wallet, "created": is_new, "watch_only": not holds_keys}
    except NodeRefused as refusal:
        raise CommandError(f"{refusal} Or run: {_by_hand(settings, watch_only)}") from refusal
    finally:
        rpc.close()


def _hold_lost_addresses(rpc: OperatorRpc, settings: Settings) -> None:
    """Hold the free addresses of a lost wallet at once, because the web server would give them to customers.

    The daemon does the same at its next check, so a database that cannot be used here is no error.
    """
    url = settings.database_url.reveal()
    try:
        if url.startswith("sqlite:"):
            # stat() raises where the file is missing, because open_database() would create the file.
            Path(url.removeprefix("sqlite:///")).stat()
        open_database(url)
        unclaimed = unclaimed_addresses()
        strangers = [row.id for row in unclaimed if not _is_known(rpc, row.address)]
        with database.atomic():
            hold_unclaimed(strangers, datetime.now(UTC))
    except (DatabaseError, OSError, *TRANSIENT_ERRORS):
        return
    finally:
        disconnect()


def _is_known(rpc: OperatorRpc, address: str) -> bool:
    try:
        info = rpc.call("getaddressinfo", address, in_wallet=True)
    except RpcError:
        return False
    return bool(info["ismine"] or info.get("iswatchonly"))


def _create_watch_only(rpc: OperatorRpc, settings: Settings, descriptor: str, change: str | None) -> bool:
    # All checks come first, because RPC cannot delete a wallet.
    wanted = [_watched(rpc, settings, descriptor)]
    if change is not None:
        if "<" in descriptor:
            raise CommandError("a descriptor with <0;1> includes the change; leave out --change-descriptor")
        wanted.append({**_watched(rpc, settings, change), "internal": True})
    is_new = not _is_there(rpc, rpc.wallet) and _create(rpc, private_keys=False)
    lacking = wanted if is_new else _lacking(rpc, wanted)
    if lacking:
        results = rpc.call("importdescriptors", lacking, in_wallet=True)
        faults = [result["error"]["message"] for result in results if not result["success"]]
        if faults:
            raise CommandError(f"bitcoind refused the descriptor: {faults[0]}")
    return is_new


def _watched(rpc: OperatorRpc, settings: Settings, descriptor: str) -> dict[str, Any]:
    """Return importdescriptors' request for a descriptor. Raise CommandError if it can't be watched."""
    # This check comes before the call, so a private key never leaves this process.
    if PRIVATE_KEY.search(descriptor):
        raise CommandError("the descriptor has a private key in it; give the one with the public key (xpub)")
    try:
        info = rpc.call("getdescriptorinfo", descriptor)
    except RpcError as error:
        raise CommandError(f"this is no descriptor for the node's chain: {error}") from error
    if info["hasprivatekeys"]:
        raise CommandError("the descriptor has a private key in it; give the one with the public key (xpub)")
    if not info["isrange"]:
        raise CommandError(
            "the descriptor has only one address; it must end in /* to have one for each payment"
        )
    found = next((kind for start, kind in ADDRESS_TYPES.items() if descriptor.startswith(start)), "legacy")
    if found != settings.address_type:
        raise CommandError(
            f"the descriptor makes {found} addresses, and ADDRESS_TYPE is {settings.address_type}: "
            f"set ADDRESS_TYPE={found}"
        )
    checked = descriptor if "#" in descriptor else f"{descriptor}#{info['checksum']}"
    return {"desc": checked, "active": True, "timestamp": "now"}


def _is_there(rpc: OperatorRpc, name: str) -> bool:
    """Return whether bitcoind has the wallet. Load an existing wallet, now and at bitcoind's next start."""
    try:
        rpc.call("loadwallet", name, True)
    except RpcError as error:
        if error.code not in (WALLET_NOT_FOUND, WALLET_LOADED):
            raise
        return error.code == WALLET_LOADED
    return True


def _create(rpc: OperatorRpc, *, private_keys: bool) -> bool:
    # wallet_name disable_private_keys blank passphrase avoid_reuse descriptors load_on_startup
    rpc.call("createwallet", rpc.wallet, not private_keys, not private_keys, "", False, True, True)
    return True


def _lacking(rpc: OperatorRpc, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests of importdescriptors for those descriptors that the existing wallet lacks.

    An earlier attempt may have been cut short. A descriptor that the wallet has is not imported again,
    because bitcoind would begin again with its first address. Raise CommandError where the wallet has private
    keys or other descriptors.
    """
    if rpc.call("getwalletinfo", in_wallet=True)["private_keys_enabled"]:
        raise CommandError(
            f"there is a wallet {rpc.wallet} already, and it holds private keys: "
            "set BITCOIND_WALLET to another name"
        )
    rows = rpc.call("listdescriptors", in_wallet=True)["descriptors"]
    held = {_without_checksum(row["desc"]) for row in rows}
    single = [each for row in wanted for each in _of_one_path(rpc, row)]
    lacking = [row for row in single if _without_checksum(row["desc"]) not in held]
    if held and len(lacking) == len(single):
        raise CommandError(
            f"there is a wallet {rpc.wallet} already, and it watches another descriptor: "
            "set BITCOIND_WALLET to another name"
        )
    return lacking


def _of_one_path(rpc: OperatorRpc, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the request with bitcoind's form of the descriptor. One with <0;1> becomes two requests."""
    info = rpc.call("getdescriptorinfo", wanted["desc"])
    if "multipath_expansion" not in info:
        return [{**wanted, "desc": info["descriptor"]}]
    receiving, change = info["multipath_expansion"]
    return [{**wanted, "desc": receiving}, {**wanted, "desc": change, "internal": True}]


def _without_checksum(descriptor: str) -> str:
    return descriptor.partition("#")[0]


def _by_hand(settings: Settings, watch_only: str | None) -> str:
    port = settings.rpc_url_without_credentials.rpartition(":")[2]
    keys = " disable_private_keys=true blank=true" if watch_only is not None else ""
    line = (
        f"bitcoin-cli -rpcport={port} -named createwallet "
        f"wallet_name={shlex.quote(settings.bitcoind_wallet)}{keys} load_on_startup=true"
    )
    # This line makes a watch-only wallet without descriptors, and the next attempt imports them.
    if watch_only is None:
        return line
    return f"{line}; then repeat this command as a user who may call importdescriptors"
