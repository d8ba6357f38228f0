"""Bytes from a pipe, made into lines."""

from __future__ import annotations

import time
from collections.abc import Callable

from optaic.domain.text import clean_text
from optaic.errors import EngineError
from optaic.flows.report import LogLine, instant
from optaic.flows.secret import masker

MAX_LINE_BYTES = 1 << 16
"""A longer line of output is cut into several, so that a program that never ends a line costs no memory."""


MAX_MESSAGE_BYTES = 1 << 26
"""The longest line that a run's process may send; what the product itself sends is shorter, however much is reported.
A process that sends more is not the product's code any more, and is killed: it would fill the supervisor's memory."""

_MAX_PROBLEM_CHARS = 500


class LineReader:
    """Cuts a stream of bytes at its line ends.

    Parameters
    ----------
    limit
        How many bytes are kept while their line end is waited for; None for any number.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; give the lines that they complete, without line ends.

        Raises
        ------
        EngineError
            If a line is above the limit; nothing of it is kept.
        """
        head, end, rest = data.partition(b"\n")
        if not end:
            if data:
                self._parts.append(data)
                self._size += len(data)
                if self._limit is not None and self._size > self._limit:
                    self._parts, self._size = [], 0
                    raise EngineError(f"a run's process sent {self._limit:,} bytes without a line end")
            return []
        self._parts.append(head)
        first = b"".join(self._parts)
        *lines, last = rest.split(b"\n")
        self._parts, self._size = [last] if last else [], len(last)
        return [first, *lines]


class OutputReader:
    """Makes log lines of what the processes of a run write to standard output and error.

    Parameters
    ----------
    secrets
        Texts that are replaced, wherever they stand.

    Notes
    -----
    Bytes that are not UTF-8 are replaced. Of a line that was rewritten with carriage returns, as progress bars do,
    the last state is kept. A line above 64 KiB comes in pieces.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._mask = masker(secrets)
        self._kept_back = max((len(secret) for secret in secrets), default=0)
        self._rest = b""

    def feed(self, data: bytes) -> list[LogLine]:
        """Take more bytes; give the lines that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [piece for line in lines for piece in self._pieces(self._shown(line))]
        if len(self._rest) > MAX_LINE_BYTES:
            # The end may be the first half of a secret, so as much of it as a secret is long waits for what follows.
            shown = self._shown(self._rest)
            cut = len(shown) - self._kept_back
            found.extend(self._pieces(shown[:cut]))
            self._rest = shown[cut:].encode(errors="surrogateescape")
        return found

    def finish(self) -> list[LogLine]:
        """Give what was written after the last line end."""
        rest, self._rest = self._rest, b""
        return self._pieces(self._shown(rest)) if rest else []

    def _shown(self, line: bytes) -> str:
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="surrogateescape")
        return text if self._mask is None else self._mask(text)

    @staticmethod
    def _pieces(text: str) -> list[LogLine]:
        text = text.encode(errors="surrogateescape").decode(errors="replace")
        at = instant(time.time())
        pieces = [text[start : start + MAX_LINE_BYTES] for start in range(0, len(text), MAX_LINE_BYTES)] or [""]
        return [LogLine(at=at, level="INFO", text=piece, stream="output") for piece in pieces]


def system_line(text: str, mask: Callable[[str], str] | None) -> LogLine:
    """Say in the run's log what is wrong with what its process has sent; the text may quote it."""
    text = clean_text(text if mask is None else mask(text), _MAX_PROBLEM_CHARS)
    return LogLine(at=instant(time.time()), level="WARNING", text=text, stream="system")
