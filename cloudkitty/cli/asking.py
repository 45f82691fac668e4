# SPDX-License-Identifier: Apache-2.0
"""Asking whoever is at the terminal before something is deleted, and telling them how far it is."""

from collections.abc import Iterable
from collections.abc import Iterator
import logging
import sys
import time
from typing import TypeVar

import tqdm

from cloudkitty import errors

Item = TypeVar('Item')

#: Seconds between two lines of progress where nobody looks at a terminal.
PAUSE = 10


def ask(question: str, otherwise: str) -> None:
    """Return if the answer is yes.

    :raises BadRequest: it is not, or nobody is there to answer; its text ends in *otherwise*.
    """
    if not sys.stdin.isatty():
        raise errors.BadRequest('Nobody is there to answer: --yes says yes. %s' % otherwise)
    # What is printed may go elsewhere.
    sys.stderr.write('%s Type yes: ' % question)
    sys.stderr.flush()
    try:
        answer = input().strip()
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write('\n')
        answer = ''
    if answer != 'yes':
        raise errors.BadRequest(otherwise)


def show_progress(
    steps: Iterable[tuple[Item, int]], total: int, title: str, logger: logging.Logger, unit: str = 'rows'
) -> Iterator[Item]:
    """Pass on the items of *steps*, each with how much it was, with a bar on a terminal, else a line now and then."""
    is_terminal = sys.stderr.isatty()
    count = 0
    told = began = time.monotonic()
    with tqdm.tqdm(total=total, unit=' %s' % unit, unit_scale=True, disable=not is_terminal, desc=title) as bar:
        for item, size in steps:
            yield item
            bar.update(size)
            count += size
            now = time.monotonic()
            if not is_terminal and now - told >= PAUSE:
                told = now
                logger.info(
                    '%d of %d %s (%d %%), %.0f %s/s.',
                    count,
                    total,
                    unit,
                    count * 100 // max(total, 1),
                    count / (now - began),
                    unit,
                )
