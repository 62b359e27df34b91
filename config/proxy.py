"""The setting PROXY, and the addresses that only a proxy can reach."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from config.addresses import ENCODE, credentials, split_address
from config.types import InvalidValue, Secret, SettingType

MAX_CREDENTIAL_BYTES = 255
"""RFC 1929 2."""

EXAMPLE = "socks5h://127.0.0.1:9050"
NEEDS_PROXY = f"is an onion service, which only Tor can reach: set PROXY, such as PROXY={EXAMPLE}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A SOCKS5 proxy (RFC 1928) that resolves names itself. A user always has a password (RFC 1929)."""

    host: str
    port: int
    username: str | None = None
    password: Secret | None = None


def proxy_url() -> SettingType[Proxy]:
    def read(text: str) -> Proxy:
        parts = _split(text)
        if parts.port is None:
            raise InvalidValue("has no port")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidValue(f"has something after the port, or {ENCODE}")
        username, password = _checked_credentials(parts)
        return Proxy(
            parts.hostname or "", parts.port, username, None if password is None else Secret(password)
        )

    allowed = "socks5h://HOST:PORT or socks5h://USER:PASSWORD@HOST:PORT"
    return SettingType(read, allowed, EXAMPLE)


def is_onion(host: str) -> bool:
    """Return whether the host is an onion service. No name server has such a name (RFC 7686)."""
    return host.lower().rstrip(".").endswith(".onion")


def check_reachable(url: str, proxy: Proxy | None) -> None:
    """Raise InvalidValue if the address is an onion service, and there is no proxy."""
    if proxy is None and is_onion(urlsplit(url).hostname or ""):
        raise InvalidValue(NEEDS_PROXY)


def _split(text: str) -> SplitResult:
    if text.startswith("socks5://"):
        raise InvalidValue(
            "starts with socks5://, which lets this machine look up names: write socks5h://, "
            "and the proxy looks them up"
        )
    if not text.startswith("socks5h://"):
        raise InvalidValue("does not start with socks5h://, and other kinds of proxies are not supported")
    return split_address(text, "socks5h")


def _checked_credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    username, password = credentials(parts)
    if (username is None) != (password is None):
        raise InvalidValue("has a user without a password")
    for text in (username, password):
        if text is not None and not 0 < len(text.encode()) <= MAX_CREDENTIAL_BYTES:
            raise InvalidValue("has a user or a password that is empty or longer than 255 bytes")
    return username, password
