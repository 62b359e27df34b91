"""Signed cookies of the operator's pages.

A cookie holds a random name and a signature, and nothing else. The key of the signature derives from
OPERATOR_PASSWORD. So all processes have the same key, it is the same after a restart, and another password
ends every session.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer

from config import Secret, Settings
from models.operator_session import operator_salt, store_operator_salt
from web.http.request import Request
from web.http.responses import not_found

SESSION, BROWSER = "session", "browser"
"""The cookies: one until logging out, one by which a browser that has logged in is known again."""

KNOWN, STRANGER = "known", "stranger"
"""What the browser's cookie can be sealed as."""

SESSION_SECONDS = 12 * 3600
BROWSER_SECONDS = 400 * 24 * 3600  # browsers keep none for longer (RFC 6265bis, 5.5)


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs names, each as one kind of thing. A name that is signed as one kind is invalid as another."""

    key: bytes = field(repr=False)

    def sealed(self, kind: str, name: str) -> str:
        """Return the name with its signature."""
        return self._signer(kind).sign(name).decode()

    def opened(self, kind: str, text: str | None) -> str | None:
        """Return the name, if the text has a valid signature of that kind."""
        try:
            return self._signer(kind).unsign(text or "").decode()
        except (BadSignature, UnicodeError):
            return None

    def _signer(self, kind: str) -> Signer:
        return Signer(self.key, salt=kind, key_derivation="hmac", digest_method=hashlib.sha256)


def seal_of(call: Request) -> Seal:
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
