"""The descriptors between a supervisor and the processes of a run."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The supervisor's ends; none of them blocks.

    Attributes
    ----------
    control
        To and from the guardian.
    channel
        To and from the flow's process.
    output
        The pipe from standard output and error of all processes of the run.
    """

    control: socket.socket
    channel: socket.socket
    output: int

    def filenos(self) -> tuple[int, int, int]:
        """Give the descriptors of control socket, channel and output."""
        return self.control.fileno(), self.channel.fileno(), self.output

    def close(self) -> None:
        """Close all three; a guardian that is alive then kills the run."""
        self.control.close()
        self.channel.close()
        os.close(self.output)


@contextmanager
def open_ends(document: bytes) -> Generator[tuple[Ends, list[int]]]:
    """Make the connections of one run.

    Parameters
    ----------
    document
        The specification. The run reads it from a file without a name: however long it is, it never waits for a reader.

    Yields
    ------
    tuple of Ends and list of int
        The supervisor's ends, which are closed if the block raises, and the descriptors of the other ends (control,
        channel, output, document), which are closed in any case: whoever needs them has got copies.
    """
    control, control_there = socket.socketpair()
    channel, channel_there = socket.socketpair()
    output, output_there = os.pipe()
    ends = Ends(control=control, channel=channel, output=output)
    for descriptor in ends.filenos():
        os.set_blocking(descriptor, False)
    try:
        with _file_of(document) as file:
            yield ends, [control_there.fileno(), channel_there.fileno(), output_there, file.fileno()]
    except BaseException:
        ends.close()
        raise
    finally:
        control_there.close()
        channel_there.close()
        os.close(output_there)


def _file_of(data: bytes) -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("optaic-spec"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.flush()
    file.seek(0)
    return file
