"""A connection, as waitress has it but for what a server in the open has to do otherwise."""

from http import HTTPStatus

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestEntityTooLarge

from web.http.responses import encoded, refused
from web.http.strict_json import too_large

IDLE_SECONDS = 20
"""How long a connection may idle, and how long a request may take to arrive."""

_LARGEST_BODY_READ = 8 * 1024 * 1024


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress comes without types
    """Reads a body that is too large to its end, keeping none of it.

    Closing on a client that still sends would reset the connection, and the answer would be lost with it.
    """

    expect_continue: bool
    to_discard = 0

    def parse_header(self, header_plus: bytes) -> None:
        """Refuse a body whose end a proxy before us may see elsewhere, and so what comes behind it
        (request smuggling; RFC 9112, 6.1)."""
        super().parse_header(header_plus)
        is_coded = self.chunked or "TRANSFER_ENCODING" in self.headers
        if is_coded and (self.version != "1.1" or "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding with a Content-Length, or before HTTP/1.1")

    def received(self, data: bytes) -> int:
        """Take bytes off the connection; how many were this request's."""
        if self.to_discard:
            taken = min(len(data), self.to_discard)
            self.to_discard -= taken
            self.completed = self.to_discard == 0
            return taken
        consumed: int = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge):
            self._begin_to_discard()
        return consumed

    def _begin_to_discard(self) -> None:
        is_waiting_for_us, self.expect_continue = self.expect_continue, False
        # The end of a chunked body is not known.
        if not self.chunked and not is_waiting_for_us and self.content_length <= _LARGEST_BODY_READ:
            self.to_discard = self.content_length
            self.completed = False


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress comes without types
    """What waitress refuses by itself is answered as all the rest is."""

    def execute(self) -> None:
        """Write the answer and close."""
        error = self.request.error
        is_large = isinstance(error, RequestEntityTooLarge)
        problem = too_large() if is_large else refused(HTTPStatus(error.code), str(error.body))
        answer = problem.answer
        body = encoded(answer.document)
        self.status = f"{answer.status} {problem.status.phrase}"
        self.response_headers.extend(answer.all_headers.items())
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Task(WSGITask):  # type: ignore[misc]  # waitress comes without types
    """A call of the application."""

    wrote_header: bool

    def write(self, data: bytes) -> None:
        """Head and body in one piece where the body is one: each that is sent wakes the client."""
        if self.wrote_header or len(data) != self.content_length or not self.has_body:
            super().write(data)
            return
        head = self.build_response_header()
        self.wrote_header = True
        self.content_bytes_written = len(data)
        self.channel.write_soon(head + data)

    def set_close_on_finish(self) -> None:
        """Close behind the answer, but not because it has no body: waitress would behind each 304, and a
        checkout page that asks how it stands gets little else."""
        is_asked_to = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or is_asked_to:
            super().set_close_on_finish()


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress comes without types
    """A connection. A request that trickles in is no activity: it must be complete within IDLE_SECONDS."""

    last_activity: float
    parser_class = Parser
    task_class = Task
    error_task_class = ProblemTask

    def handle_read(self) -> None:
        """Read what is there."""
        begun, since = self.request, self.last_activity
        super().handle_read()
        if begun is not None and begun is self.request:
            self.last_activity = since

    def writable(self) -> bool:
        """Whether to send what is there. Not while the thread that answers sends it: to ask again and again
        until it has done takes Python's lock from it, and it pulls the trigger behind its answer."""
        if not super().writable():
            return False
        # That thread waits for us to make room.
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            return True
        is_free: bool = self.outbuf_lock.acquire(blocking=False)
        if is_free:
            self.outbuf_lock.release()
        return is_free

    def readable(self) -> bool:
        """Whether to read on. A server that stops finishes what it has, and takes nothing new."""
        return self.server.accepting_requests and bool(super().readable())
