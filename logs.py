"""Log lines on standard output: one for each change of a fact, as logfmt or JSON."""

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog

OURS = "nodetill"
"""The standard library's logger of what may not depend on structlog, and of crashes."""

# BitcoinRPC logs every answer, secrets among them, and peewee every query with its values.
_NEVER_BELOW_WARNING = ("BitcoinRPC", "peewee", "urllib3")
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
# json.dumps makes a new one for each text, unless it is ASCII that is asked for.
_quoted = json.JSONEncoder(ensure_ascii=False).encode
_AMBIGUOUS = re.compile(r'[ ="\\]')


def configure(log_format: str, log_level: str) -> None:
    """Send all log lines to standard output as `log_format` ("logfmt" or "json"), from `log_level` up.

    The libraries' own lines are shown from "warning" up. An exception that nobody catches is a line too.
    """
    level = logging.getLevelNamesMapping()[log_level.upper()]
    render = {"logfmt": render_logfmt, "json": render_json}[log_format]
    handler = _set_up_standard_logging(level, render)
    structlog.configure(
        processors=[_add_moment_and_method, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Writer(handler),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_crash
    threading.excepthook = _log_crash_of_thread


def render_logfmt(_logger: object, _method: str, line: Mapping[str, Any]) -> str:
    """key=value pairs; a value that could be taken for more than one is quoted as JSON text."""
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in line.items())


def render_json(_logger: object, _method: str, line: Mapping[str, Any]) -> str:
    """One JSON object, in ASCII."""
    return json.dumps(line, default=_text)


class _Writer:
    """Lines of ours, where the standard library's go, without its records: those take four times as long.

    A line that can't be written, on a full disk, is lost; as there, nobody is stopped by it.
    """

    def __init__(self, handler: "logging.StreamHandler[Any]") -> None:
        self._handler = handler

    def write(self, line: str) -> None:
        """A whole one at a time."""
        self._handler.acquire()
        try:
            with suppress(OSError, ValueError):
                self._handler.stream.write(f"{line}\n")
                self._handler.flush()
        finally:
            self._handler.release()

    debug = info = warning = error = critical = write


def _set_up_standard_logging(level: int, render: Any) -> "logging.StreamHandler[Any]":
    if hasattr(sys.stdout, "reconfigure"):
        # Where standard output is ASCII, a customer's name must not cost us the line.
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                _add_time_and_level,
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                render,
            ]
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(OURS).setLevel(level)
    for name in _NEVER_BELOW_WARNING:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    return handler


def _add_moment_and_method(_logger: object, method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    return _headed(datetime.now(UTC), method, line)


def _add_time_and_level(_logger: object, _method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    record: logging.LogRecord = line["_record"]
    moment = datetime.fromtimestamp(record.created, UTC)
    fields = getattr(record, "fields", {})
    return _headed(moment, record.levelname.lower(), {**line, **fields})


def _headed(moment: datetime, level: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """A line begins with these three, whatever fields it has."""
    head = {"time": _time(moment), "level": level, "event": line["event"]}
    return {**head, **line, **head}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _logfmt_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = value if isinstance(value, str) else _text(value)
    if _PLAIN.fullmatch(text):
        return text
    if not text.isprintable():
        # Escapes whatever could end the line, or start another one in a terminal.
        return json.dumps(text)
    is_plain = text and not _AMBIGUOUS.search(text)
    return text if is_plain else _quoted(text)


def _text(value: Any) -> str:
    if isinstance(value, BaseException):
        return str(value) or type(value).__name__
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger(OURS).critical("crashed", exc_info=(kind, error, trace))


def _log_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is None or isinstance(crash.exc_value, SystemExit):
        return
    exception = (crash.exc_type, crash.exc_value, crash.exc_traceback)
    fields = {"thread": crash.thread.name if crash.thread else None}
    logging.getLogger(OURS).critical("crashed", exc_info=exception, extra={"fields": fields})
