# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi was given and has not aggregated yet: recent granules lack it.

Source: collection contract, section 9, item 7.
"""

from collections.abc import Mapping
import logging
import threading
import time
from typing import Any

from cloudkitty import period
from cloudkitty import usage
from cloudkitty.clients import answers
from cloudkitty.collector.gnocchi import requests

LOG = logging.getLogger(__name__)

#: Seconds for which what the server said is believed: it hardly changes what is missing of a period that is over.
LIFE = 30
#: Seconds after which a server that did not say is asked again.
PAUSE = 600
#: Seconds that a request for it may take.
TIMEOUT = 10
#: Nobody is late by so many seconds: of older periods a backlog says nothing.
REACH = period.DAY


class Watch:
    """Knows whether the server has a backlog.

    :param depth: measures for each metric that waits, from which on a backlog is deep.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._lock = threading.Lock()
        self._read_at = float('-inf')
        self._life: float = LIFE
        self._found: usage.Backlog | None = None
        self._is_warned = False

    def look(self, client: requests.Client, end: int) -> usage.Backlog | None:
        """Return the backlog as far as it may concern periods up to epoch second *end*; None without one.

        It is to be asked for before granules are: what is aggregated in between is only taken for missing.
        """
        if end < time.time() - REACH:
            return None
        with self._lock:
            if 0 <= time.monotonic() - self._read_at < self._life:
                return self._found
            problem = ''
            try:
                deadline = answers.Deadline(min(TIMEOUT, client.timeout))
                answer = client.get('/v1/status', [('details', 'false')], deadline)
                self._found, self._life = self._judge(answer), LIFE
            except (requests.RequestFailed, ValueError) as error:
                problem = str(error).rstrip('.') or type(error).__name__
                self._found, self._life = None, PAUSE
            self._read_at = time.monotonic()
        if problem and not self._is_warned:
            LOG.warning(
                'Gnocchi does not say whether it has a backlog (%s): nothing is taken as provisional on its account.',
                problem,
            )
        self._is_warned = bool(problem)
        return self._found

    def _judge(self, answer: Any) -> usage.Backlog | None:
        """Raise ValueError for what is no status."""
        summary = answer.get('storage') if isinstance(answer, Mapping) else None
        summary = summary.get('summary') if isinstance(summary, Mapping) else None
        if not isinstance(summary, Mapping) or not all(
            isinstance(summary.get(name), int) for name in ('measures', 'metrics')
        ):
            raise ValueError('storage.summary of its status: expected counts of measures and metrics')
        measures, metrics = summary['measures'], summary['metrics']
        if measures <= 0:
            return None
        return usage.Backlog(
            int(time.time()) - REACH,
            measures > self._depth * max(1, metrics),
            'Gnocchi has not aggregated %d measures of %d metrics yet.' % (measures, metrics),
        )
