"""The users as whom Nodetill calls bitcoind: the user of BITCOIND_RPC_URL, and the cookie's user."""

from config import Settings
from daemon.node.errors import NoCredentials


def url_credentials(settings: Settings) -> str | None:
    """Return "user:password" of BITCOIND_RPC_URL, or None where it names no user."""
    if settings.rpc_username is None:
        return None
    password = settings.rpc_password
    return f"{settings.rpc_username}:{password.reveal() if password else ''}"


def cookie_credentials(settings: Settings) -> str:
    """Return the content of the cookie file, which bitcoind replaces at each start. Raise NoCredentials."""
    cookie = settings.bitcoind_cookie_file
    if cookie is None:
        raise NoCredentials(
            "BITCOIND_RPC_URL names another machine and has no password; this machine's cookie is not sent "
            "there: set BITCOIND_RPC_URL=http://USER:PASSWORD@HOST:PORT, or BITCOIND_COOKIE_FILE to that "
            "bitcoind's cookie"
        )
    try:
        return cookie.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise NoCredentials(
            f"the cookie file {cookie} cannot be read ({reason}): is bitcoind running, "
            "and is BITCOIND_COOKIE_FILE right?"
        ) from error


def credentials(settings: Settings) -> str:
    """Return the URL's credentials, else the cookie. Raise NoCredentials."""
    return url_credentials(settings) or cookie_credentials(settings)
