# SPDX-License-Identifier: Apache-2.0
"""Answers of servers over HTTP, and the time that they may take."""

import time

import requests

from cloudkitty import errors

CHUNK = 1 << 16


class TooLong(Exception):
    """An answer has more bytes than its reader takes."""


class RequestFailed(errors.SourceError):
    """A request did not give data; each client says why in its own words."""

    @property
    def is_trouble(self) -> bool:
        """Whether asking for less at a time may give some of it."""
        raise NotImplementedError


class Deadline:
    """An instant after which nothing is asked any more."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()


def read(answer: requests.Response, deadline: Deadline, most: int | None = None) -> bytes:
    """Return the body of *answer*.

    :param most: bytes that it may have; None: any number.
    :raises TimeoutError: it takes longer than *deadline*, however it trickles.
    :raises TooLong: it has more than *most* bytes.
    """
    parts = []
    count = 0
    for part in answer.iter_content(CHUNK):
        parts.append(part)
        count += len(part)
        if deadline.left <= 0:
            raise TimeoutError
        if most is not None and count > most:
            raise TooLong
    return b''.join(parts)


def wait_of(answer: requests.Response) -> float:
    """Return the seconds that an answer asks to wait before the next request; 0 where it does not say."""
    text = answer.headers.get('Retry-After', '')
    return float(text) if text.isascii() and text.isdigit() else 0
