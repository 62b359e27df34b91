"""What a browser is told apart by: cookies that nobody else can make, and the tokens of our own forms.

No cookie holds anything but a random name and a seal. The key of the seal is made of OPERATOR_PASSWORD, so
all processes have the same, it is the same after a restart, and another password ends every session.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

from config import Secret, Settings
from models.operator_session import operator_salt, store_operator_salt
from web.http.request import Call
from web.http.responses import not_found

SESSION, BROWSER = "session", "browser"
"""The cookies: one until logging out, one by which a browser that has logged in is known again."""

KNOWN, STRANGER = "known", "stranger"
"""What the browser's cookie can be sealed as."""

SESSION_SECONDS = 12 * 3600
BROWSER_SECONDS = 400 * 24 * 3600  # browsers keep none for longer (RFC 6265bis, 5.5)

_SEALED = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs names, each as one kind of thing: what is sealed as one can't be shown as another."""

    key: bytes = field(repr=False)

    def sealed(self, kind: str, name: str) -> str:
        """The name, with its seal."""
        return f"{name}.{self._mac(kind, name)}"

    def opened(self, kind: str, text: str | None) -> str | None:
        """The name, if this is its seal as that kind."""
        match = _SEALED.fullmatch(text or "")
        if match is None or not hmac.compare_digest(match[2], self._mac(kind, match[1])):
            return None
        return match[1]

    def token(self, name: str) -> str:
        """What the forms carry that are shown to the browser of that name."""
        return self._mac("form", name)

    def _mac(self, kind: str, name: str) -> str:
        return hmac.new(self.key, f"{kind}:{name}".encode(), hashlib.sha256).hexdigest()


def seal_of(call: Call) -> Seal:
    """The operator's. Raises Problem 404 where there is no OPERATOR_PASSWORD, and so no operator's page."""
    password = call.settings.operator_password
    if password is None:
        raise not_found()
    salt = operator_salt()
    if salt is None:
        with call.writers.transaction():
            salt = store_operator_salt(secrets.token_bytes(16))
    return Seal(_key(password, salt))


def new_id() -> str:
    """A name of 128 random bits."""
    return secrets.token_urlsafe(16)


def cookie(kind: str, sealed: str, seconds: int, settings: Settings) -> str:
    """The Set-Cookie header's value; with 0 seconds the browser forgets it."""
    secure = "; Secure" if _is_secure(settings) else ""
    name = cookie_name(kind, settings)
    return f"{name}={sealed}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def cookie_name(kind: str, settings: Settings) -> str:
    """With TLS under the prefix by which a browser takes it from this host alone (RFC 6265bis, 4.1.3.2)."""
    return f"{'__Host-' if _is_secure(settings) else ''}nodetill-{kind}"


def _is_secure(settings: Settings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


@cache
def _key(password: Secret, salt: bytes) -> bytes:
    """Any visitor gets a sealed cookie: to guess the password by it takes the salt too, and long."""
    return hashlib.scrypt(password.reveal().encode(errors="surrogateescape"), salt=salt, n=2**14, r=8, p=1)
