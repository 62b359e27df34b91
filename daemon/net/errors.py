"""What can come of sending a message, beside its delivery."""

LONGEST_REASON = 200
"""Characters."""


class TemporaryFailure(Exception):
    """Not delivered; it may be later. The text is for the operator, and holds no secret."""


class PermanentFailure(Exception):
    """Not delivered, and never will be. The text is for the operator, and holds no secret."""


def reason(text: str) -> str:
    """What another machine said, as one printable line of a length that can be shown."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.split())[:LONGEST_REASON]
