"""Signed cookies of the operator's pages.

A cookie holds only a random name and a signature. The key of the signature derives from OPERATOR_PASSWORD.
Therefore all processes use the same key, also after a restart. A new password ends every session.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

import itsdangerous

from config import Secret, Settings
from models.operator_session import operator_salt, store_operator_salt
from web.http.request import Request
from web.http.responses import not_found

SESSION, BROWSER = "session", "browser"
"""The two cookies. SESSION lasts until the logout. BROWSER identifies a browser for longer."""

KNOWN, STRANGER = "known", "stranger"
"""The kinds of BROWSER's signature. KNOWN means that the operator has logged in with this browser before."""

SESSION_SECONDS = 12 * 3600
BROWSER_SECONDS = 400 * 24 * 3600  # the longest that browsers allow (RFC 6265bis, 5.5)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs names. A name that is signed as one kind is invalid as another kind."""

    key: bytes = field(repr=False)

    def sign(self, kind: str, name: str) -> str:
        """Return the name with its signature."""
        return self._of(kind).sign(name).decode()

    def unsign(self, kind: str, text: str | None) -> str | None:
        """Return the name, if the text has a valid signature of that kind."""
        try:
            return self._of(kind).unsign(text or "").decode()
        except (itsdangerous.BadSignature, UnicodeError):
            return None

    def _of(self, kind: str) -> itsdangerous.Signer:
        return itsdangerous.Signer(self.key, salt=kind, key_derivation="hmac", digest_method=hashlib.sha256)


def signer_of(request: Request) -> Signer:
    """Return the signer of this installation. Raise Problem 404 without OPERATOR_PASSWORD."""
    password = request.settings.operator_password
    if password is None:
        raise not_found()
    salt = operator_salt()
    if salt is None:
        with request.writers.transaction():
            salt = store_operator_salt(secrets.token_bytes(16))
    return Signer(_key(password, salt))


def new_id() -> str:
    """Return a name of 128 random bits."""
    return secrets.token_urlsafe(16)


def cookie(kind: str, signed: str, seconds: int, settings: Settings) -> str:
    """Return a value for Set-Cookie. With 0 seconds the browser deletes the cookie."""
    secure = "; Secure" if _is_secure(settings) else ""
    name = cookie_name(kind, settings)
    return f"{name}={signed}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def cookie_name(kind: str, settings: Settings) -> str:
    """Return the cookie's name. With TLS, its prefix binds the cookie to this host (RFC 6265bis, 4.1.3.2)."""
    return f"{'__Host-' if _is_secure(settings) else ''}nodetill-{kind}"


def _is_secure(settings: Settings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


@cache
def _key(password: Secret, salt: bytes) -> bytes:
    """Derive the key slowly and with a salt.

    Any visitor receives a signed cookie. The salt and scrypt's cost prevent guesses of the password by it.
    """
    return hashlib.scrypt(password.reveal().encode(errors="surrogateescape"), salt=salt, n=2**14, r=8, p=1)
