# SPDX-License-Identifier: Apache-2.0
"""The time of the laboratory: it runs faster than that of the machine, and what a host takes it for can be wrong.

It is kept in a file that all processes map, so that a step is seen by all of them at once.
"""

import mmap
import pathlib
import struct
import time

#: Instant at the anchor, the anchor (monotonic seconds of the machine), seconds per second, and a step for each host.
_FORM = struct.Struct('<3d8d')
HOSTS = 8


class Clock:
    """:param path: of the file.

    :param host: whose time is told; None: the true one.
    """

    def __init__(self, path, host=None):
        self._host = host
        with pathlib.Path(path).open('r+b') as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)

    @classmethod
    def create(cls, path, instant, speed):
        """Make the file; the time is *instant* (epoch seconds) now, and runs *speed* times as fast as the machine's."""
        pathlib.Path(path).write_bytes(_FORM.pack(instant, time.monotonic(), speed, *[0] * HOSTS))
        return cls(path)

    def now(self):
        """Return the present instant as epoch seconds."""
        instant, anchor, speed, *steps = _FORM.unpack(self._map[:])
        wrong = 0 if self._host is None else steps[self._host]
        return instant + (time.monotonic() - anchor) * speed + wrong

    @property
    def speed(self):
        return _FORM.unpack(self._map[:])[2]

    def step(self, host, seconds):
        """Let *host* be wrong by so many seconds."""
        values = list(_FORM.unpack(self._map[:]))
        values[3 + host] = seconds
        self._map[:] = _FORM.pack(*values)
