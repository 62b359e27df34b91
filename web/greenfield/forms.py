"""Forms for bodies of BTCPay's Greenfield API. Unknown members are ignored, and null is a missing member."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

MAX_WEBHOOK_URL_CHARACTERS = 2048
MAX_SECRET_CHARACTERS = 1000
MAX_EVENTS, MAX_EVENT_CHARACTERS = 100, 100


def _url(text: str) -> str:
    """Check an address. Return it unchanged, because shops compare it with the address that they sent."""
    example = "must be an http or https URL such as https://shop.example/webhook"
    if len(text) > MAX_WEBHOOK_URL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_WEBHOOK_URL_CHARACTERS} characters")
    if not text.lower().startswith(("http://", "https://")) or not text.isprintable() or " " in text:
        raise ValueError(example)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(example) from None
    if not host or port == 0:
        raise ValueError(example)
    return text


def _secret(text: str) -> str:
    if len(text) > MAX_SECRET_CHARACTERS or "\0" in text:
        raise ValueError(f"must have at most {MAX_SECRET_CHARACTERS} characters, and no NUL")
    return text


def _events(names: list[str]) -> list[str]:
    """Check names of events. Keep unknown names, although no event has them."""
    if len(names) > MAX_EVENTS or any(len(name) > MAX_EVENT_CHARACTERS for name in names):
        raise ValueError(f"must have at most {MAX_EVENTS} names of {MAX_EVENT_CHARACTERS} characters")
    return names


class GreenfieldForm(BaseModel):
    """A form whose members have the names of BTCPay's API, in any case."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _spell(cls, value: Any) -> Any:
        """Spell each member's name as this form does. If a name occurs twice, the exact spelling counts."""
        return respelled(value, [str(field.alias) for field in cls.model_fields.values()])


class AuthorizedEvents(GreenfieldForm):
    """The filter of an endpoint. A missing `everything` means true."""

    everything: bool | None = None
    specific_events: Annotated[
        Annotated[list[str], AfterValidator(_events)] | None,
        Field(description="Names of events, such as InvoiceSettled, if `everything` is false"),
    ] = None


class WebhookForm(GreenfieldForm):
    """The body that creates or changes an endpoint."""

    url: Annotated[
        str,
        AfterValidator(_url),
        Field(
            description="An http or https URL, which is returned exactly as it came",
            examples=["https://shop.example/webhook"],
            json_schema_extra={"maxLength": MAX_WEBHOOK_URL_CHARACTERS},
        ),
    ]
    enabled: Annotated[bool | None, Field(description="Default: true")] = None
    automatic_redelivery: Annotated[bool | None, Field(description="Default: true")] = None
    secret: Annotated[
        Annotated[str, AfterValidator(_secret)] | None,
        Field(description="The key of the signature. Without it, a new endpoint gets a random one"),
    ] = None
    authorized_events: AuthorizedEvents | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the columns of an endpoint, without address and secret. A missing member has its default."""
        events = self.authorized_events or AuthorizedEvents()
        return {
            "is_enabled": self.enabled is not False,
            "automatic_redelivery": self.automatic_redelivery is not False,
            "event_types": (events.specific_events or []) if events.everything is False else None,
        }


def respelled(value: Any, names: list[str]) -> Any:
    """Return an object with its members spelled as in `names`. Return a value of another type unchanged.

    BTCPay ignores the case of names. If a name occurs in several cases, the exact spelling counts.
    """
    if not isinstance(value, dict):
        return value
    by_lower = {name.lower(): name for name in names}
    found = {by_lower.get(name.lower(), name): part for name, part in value.items()}
    return {**found, **{name: value[name] for name in names if name in value}}
