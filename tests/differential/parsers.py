"""gunicorn's two parsers for its ASGI worker, called as its protocol calls them."""

from dataclasses import dataclass, field
from typing import Any

from gunicorn.asgi.parser import CallbackRequest, PythonProtocol
from gunicorn_h1c import H1CProtocol

LIMITS = {
    "limit_request_line": 8190,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
}


@dataclass
class Message:
    """A request as a parser returns it."""

    method: str
    target: str
    version: tuple[int, int]
    headers: list[tuple[bytes, bytes]]
    closes: bool
    body: bytes = b""
    whole: bool = False


@dataclass
class Frames:
    """The requests that a parser finds in a stream, and whether it refuses the rest."""

    messages: list[Message] = field(default_factory=list)
    refused: bool = False
    truncated: bool = False
    why: str = field(default="", compare=False)


def frames(kind: type[Any], segments: list[bytes]) -> Frames:
    """Return the result of a parser for a stream in segments."""
    found = Frames()

    def begin() -> bool:
        request = CallbackRequest.from_parser(parser)
        found.messages.append(
            Message(
                request.method,
                request.uri,
                request.version,
                request.headers_bytes,
                request.should_close(),
            )
        )
        return False

    def body(piece: bytes) -> None:
        found.messages[-1].body += bytes(piece)

    def end() -> None:
        found.messages[-1].whole = True

    parser = kind(on_headers_complete=begin, on_body=body, on_message_complete=end, **LIMITS)
    for segment in segments:
        try:
            parser.feed(segment)
            while parser.is_complete:
                if found.messages[-1].closes:
                    return found
                if parser.remaining_truncated:
                    found.truncated = True
                    return found
                rest = parser.remaining()
                parser.reset()
                if not rest:
                    break
                parser.feed(rest)
        except Exception as error:  # noqa: BLE001 - the parsers' errors have no common base
            found.refused = True
            found.why = f"{type(error).__name__}: {error}"
            return found
    return found


def of_c(segments: list[bytes]) -> Frames:
    return frames(H1CProtocol, segments)


def of_python(segments: list[bytes]) -> Frames:
    return frames(PythonProtocol, segments)
