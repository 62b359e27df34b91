"""Reads the body of a call of BTCPay's Greenfield API. Each wrong member gets an error with its path."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from web.greenfield.errors import LIMITS
from web.greenfield.forms import GreenfieldForm, respelled
from web.http.request import Request
from web.http.responses import FieldError, invalid

_MAX_ERRORS = 20
_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is required",
        "string_type": "must be text",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "list_type": "must be an array",
        "bool_type": "must be true or false",
    }
)
F = TypeVar("F", bound=GreenfieldForm)


def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of the body, or an empty dict for an empty body. Raise Problem."""
    if int(request.environ.get("CONTENT_LENGTH") or 0) == 0:
        return {}
    return request.body(LIMITS)


def member(body: Mapping[str, Any], name: str) -> Any:
    """Return a member of the body by its name in any case, or None."""
    return respelled(body, [name]).get(name)


def read_members(form: type[F], body: Mapping[str, Any]) -> F:
    """Return the validated form. Raise Problem 422 with each wrong member."""
    try:
        return form.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:_MAX_ERRORS]
        raise invalid([FieldError(_path(detail["loc"]), _message(detail)) for detail in details]) from error


def _path(location: tuple[int | str, ...]) -> str:
    """Return the path of a member in BTCPay's notation, such as checkout.paymentMethods[0]."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _message(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return _MESSAGES.get(detail["type"], detail["msg"].replace("Input should be", "must be"))
