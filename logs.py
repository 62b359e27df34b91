"""Log lines on standard output as logfmt or JSON. Each change of a fact has one line."""

import atexit
import io
import json
import logging
import os
import select
import sys
import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from structlog.typing import Processor

MAX_WAITING_CHARACTERS = 1_000_000
"""The limit of the text that waits for a reader, for standard output and standard error each."""
DRAIN_SECONDS = 0.4
"""The time that an ending process waits for the reader of its last lines."""

# BitcoinRPC logs every answer, secrets among them, and peewee every query with its values.
_NEVER_BELOW_WARNING = ("BitcoinRPC", "peewee", "urllib3")
_FIRST_KEYS = ("time", "level", "event")

log = structlog.get_logger(__name__)


class QueuedOutput(io.TextIOBase):
    """A text stream that never blocks its writers, because a thread writes to the file descriptor.

    The stream drops and counts texts while MAX_WAITING_CHARACTERS wait. The thread writes the count as soon
    as the reader has read what came before.
    """

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None) -> None:
        self._descriptor = stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)
        if stream:
            self.encoding = stream.encoding
        self._begin()
        # A child process does not inherit threads, and must not write the lines of its parent.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._texts: list[str] = []
        self._characters = 0
        self._dropped_lines = 0
        self._is_writing = self._is_cut_short = False
        threading.Thread(target=self._run, name="log output", daemon=True).start()

    def write(self, text: str) -> int:
        with self._changed:
            if self._characters + len(text) <= MAX_WAITING_CHARACTERS:
                self._texts.append(text)
                self._characters += len(text)
                self._changed.notify_all()
            else:
                self._dropped_lines += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing. The thread writes each text as soon as it can."""

    def drain(self, deadline: float) -> None:
        """Wait until every text is written, or until `deadline` of the monotonic clock."""
        with self._changed:
            self._changed.wait_for(self._is_drained, max(deadline - time.monotonic(), 0))

    def _is_drained(self) -> bool:
        return not self._texts and not self._is_writing

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._texts)
                texts, dropped = self._texts, self._dropped_lines
                self._texts, self._characters, self._dropped_lines = [], 0, 0
                self._is_writing = True
            dropped += sum(text.count("\n") for text in texts if not self._is_written(text))
            if dropped and not self._is_written(_line_of_dropped(dropped)):
                with self._changed:
                    self._dropped_lines += dropped

    def _is_written(self, text: str) -> bool:
        """Write the text. Return False where the descriptor accepts no text, as on a full disk."""
        start = "\n" if self._is_cut_short else ""
        whole = rest = f"{start}{text}".encode(self.encoding, "backslashreplace")
        try:
            while rest:
                # Another program may share the descriptor and may have made it non-blocking.
                select.select([], [self._descriptor], [])
                with suppress(BlockingIOError):
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._is_cut_short |= rest != whole
            return False
        self._is_cut_short = False
        return True


def configure(log_format: str, log_level: str) -> None:
    """Send all log lines to standard output as `log_format` ("logfmt" or "json"), from `log_level` up.

    The lines of libraries appear from "warning" up. An uncaught exception becomes a line, too. From here on,
    no thread waits for the readers of standard output and standard error.
    """
    level = logging.getLevelNamesMapping()[log_level.upper()]
    render = {"logfmt": _LOGFMT, "json": _JSON}[log_format]
    sys.stdout, sys.stderr = _queued(sys.stdout), _queued(sys.stderr)
    _set_up_standard_logging(level, render)
    structlog.configure(
        processors=[*_HEAD, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_crash
    threading.excepthook = _log_crash_of_thread
    atexit.register(drain)


def configure_before_settings() -> None:
    """Configure the log with defaults, so that no thread blocks before the settings are known."""
    configure("logfmt", "info")


def drain(seconds: float = DRAIN_SECONDS) -> None:
    """Wait until the last lines are written, but no longer than `seconds`."""
    deadline = time.monotonic() + seconds
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, QueuedOutput):
            stream.drain(deadline)


def _queued(stream: TextIO | None) -> TextIO:
    return stream if isinstance(stream, QueuedOutput) else cast("TextIO", QueuedOutput(stream))


def _line_of_dropped(count: int) -> str:
    line: Any = {"event": "log lines dropped", "count": count}
    for processor in structlog.get_config()["processors"]:
        line = processor(None, "warning", line)
    return f"{line}\n"


def _set_up_standard_logging(level: int, render: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[*_HEAD, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    for name in _NEVER_BELOW_WARNING:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _shorten_time(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut the time to milliseconds."""
    line["time"] = f"{line['time'][:-3]}Z"
    return line


def _put_first(_logger: object, _method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """Put the same three keys first in each line, in both formats."""
    return {key: line[key] for key in _FIRST_KEYS} | dict(line)


def _show_control_characters(_logger: object, _method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """Escape characters that could end the line or control a terminal. The renderer quotes the rest."""
    return {key: _printable(value) for key, value in line.items()}


def _printable(value: Any) -> Any:
    if value is None:
        return "null"
    text = str(value)
    if isinstance(value, bool) or text.isprintable():
        return value
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


_HEAD: list[Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%f", key="time"),
    _shorten_time,
    structlog.processors.format_exc_info,
    _put_first,
]
_LOGFMT: list[Processor] = [
    _show_control_characters,
    structlog.processors.LogfmtRenderer(bool_as_flag=False),
]
_JSON: list[Processor] = [structlog.processors.JSONRenderer(default=str)]


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("crashed", exc_info=(kind, error, trace))


def _log_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is None or isinstance(crash.exc_value, SystemExit):
        return
    exception = (crash.exc_type, crash.exc_value, crash.exc_traceback)
    log.critical("crashed", exc_info=exception, thread=crash.thread.name if crash.thread else None)
