"""Both ends of a child process, written and read without ever waiting longer than a deadline."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from contextlib import suppress

ROOM = 1 << 20
"""Bytes that a pipe is to hold: with the usual 64 KiB a large launch changes between the processes a hundred times."""


class Pipes:
    """Both ends of a process, with one deadline for what is sent and received.

    Attributes
    ----------
    refused : bool
        Whether the process stopped reading before it had all that was sent: it closed its standard input, or ended.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._to, False)
        for end in (self._to, self._from) if sys.platform == "linux" else ():
            with suppress(OSError):  # a user may have only so much of it
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, ROOM)
        self._data, self._ended, self.refused, self.deadline = bytearray(), False, False, 0.0

    @property
    def begun(self) -> bool:
        """Whether something was received since `expect`."""
        return self._begun or bool(self._data)

    def expect(self, limit: float) -> None:
        """Start the clock for one exchange."""
        self.deadline, self._begun = time.monotonic() + limit, False

    def unasked(self) -> bool:
        """Whether the process has written something since its last answer."""
        if not self._data and not self._ended and select.select([self._from], [], [], 0)[0]:
            self._receive()
        return bool(self._data)

    def send(self, data: bytes | memoryview) -> None:
        """All of `data`; what the process writes meanwhile is kept, lest both wait for each other. A dead process is silent."""
        rest = memoryview(data)
        while rest and not self._ended:
            try:
                rest = rest[os.write(self._to, rest[:ROOM]) :]
            except BlockingIOError:
                readable, _ = self._wait([self._from], [self._to])
                if readable:
                    self._receive()
            except OSError:  # a process that died meanwhile is found out by the missing answer
                break
        self.refused = bool(rest)

    def read(self, size: int) -> bytes:
        """`size` bytes, or fewer where the stream ends; a TimeoutError at the deadline."""
        while len(self._data) < size and not self._ended:
            self._wait([self._from], [])
            self._receive()
        part = bytes(self._data[:size])
        del self._data[:size]
        self._begun = self._begun or bool(part)
        return part

    def readinto(self, buffer: memoryview) -> int:
        """Fill a part of `buffer`, at least a byte; 0 where the stream ends, a TimeoutError at the deadline."""
        while not self._data and not self._ended:
            self._wait([self._from], [])
            count = os.readv(self._from, [buffer])
            self._ended, self._begun = not count, self._begun or count > 0
            return count
        count = min(len(self._data), len(buffer))
        buffer[:count] = self._data[:count]
        del self._data[:count]
        return count

    def _wait(self, read: list[int], write: list[int]) -> tuple[list[int], list[int]]:
        left = self.deadline - time.monotonic()
        found = select.select(read, write, [], left) if left > 0 else ([], [], [])
        if not found[0] and not found[1]:
            raise TimeoutError
        return found[0], found[1]

    def _receive(self) -> None:
        part = os.read(self._from, 1 << 20)
        self._data += part
        self._ended = not part
