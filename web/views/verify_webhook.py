import hmac
import time
from base64 import b64decode, b64encode


# Header names are in lower case, and `body` has the bytes as they came.
def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    event_id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{event_id}.{moment}.".encode() + body, "sha256")
    expected = b"v1," + b64encode(digest)
    signatures = headers.get("webhook-signature", "").encode().split()
    is_fresh = moment.isdecimal() and abs(time.time() - int(moment)) < 300
    return is_fresh and any(hmac.compare_digest(expected, each) for each in signatures)
