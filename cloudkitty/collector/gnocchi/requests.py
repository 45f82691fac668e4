# SPDX-License-Identifier: Apache-2.0
"""HTTP requests to Gnocchi: deadlines, retries, and what its refusals mean."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
from decimal import Decimal
from email import utils
import enum
import json
import logging
import re
import time
from typing import Any
from urllib import parse

from keystoneauth1 import adapter as adapters
from keystoneauth1 import exceptions
import requests

from cloudkitty import telemetry
from cloudkitty.clients import answers
from cloudkitty.clients import gate

LOG = logging.getLogger(__name__)

#: Exactly this: with any other value Gnocchi answers errors as HTML pages.
ACCEPT = 'application/json'
#: Requests of one call: the first, and what follows an answer that nothing explains.
ATTEMPTS = 3
PAUSE = 0.3
#: The name of this source among the figures that are counted.
SOURCE = 'gnocchi'
#: Seconds by which clocks may differ, and for which it is remembered that they differed by more.
APART, APART_LIFE = 300, 7200


class Refusal(enum.Enum):
    """Why an answer is not the data asked for."""

    NOTHING = 'the resources found have nothing in the window'
    LACKING = 'a resource lacks the metric, and an old server then refuses the whole request'
    NO_TYPE = 'the resource type does not exist'
    NO_HISTORY = 'the server is older than 4.5: its aggregates know no history'
    METRICS = 'some metrics cannot be read as asked'
    CONFIGURATION = 'the request itself is refused'
    TOO_BIG = 'too much was asked for at once'
    TROUBLE = 'the source is in trouble'
    AWAY = 'the source cannot be reached, or does not let us in'


class RequestFailed(answers.RequestFailed):
    """A request did not give data.

    :ivar metric_ids: for METRICS, those that the answer names; may be empty.
    """

    def __init__(self, refusal: Refusal, text: str, metric_ids: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.metric_ids = metric_ids

    @property
    def is_permanent(self) -> bool:
        return self.refusal in (Refusal.METRICS, Refusal.CONFIGURATION, Refusal.NO_TYPE)

    @property
    def is_trouble(self) -> bool:
        return self.refusal in (Refusal.TOO_BIG, Refusal.TROUBLE, Refusal.AWAY, Refusal.METRICS)


class Client:
    """Gnocchi's REST interface.

    :param adapter: keystoneauth adapter to the endpoint, without ``/v1``.
    :param timeout: seconds one request may take, from its first byte to the last of its answer.
    :param width: how many requests run at a time.
    """

    def __init__(self, adapter: adapters.Adapter, timeout: float = 60, pause: float = PAUSE, width: int = 64) -> None:
        self._adapter = adapter
        self.timeout = timeout
        self.width = width
        self._pause = pause
        self._gate = gate.Gate(width)
        self._apart = 0.0
        self._apart_at = float('-inf')
        self._ahead = 0.0

    @property
    def clocks_agree(self) -> bool:
        """Whether no API host of Gnocchi that answered lately has another time than this host."""
        return self._apart <= APART or time.monotonic() - self._apart_at > APART_LIFE

    @property
    def ahead(self) -> float:
        """Seconds by which this host's clock goes before that of the Gnocchi host that answered last; 0: hardly any."""
        return self._ahead if self._ahead > APART else 0.0

    def _note_clock(self, date: str | None) -> None:
        try:
            self._ahead = time.time() - utils.parsedate_to_datetime(date or '').timestamp()
        except (TypeError, ValueError, OverflowError):
            self._ahead = 0.0
            return
        apart = abs(self._ahead)
        if apart > APART and self.clocks_agree:
            LOG.warning(
                'The clock of a Gnocchi API host and that of this host are %d s apart. Resources are listed for every '
                'batch, as changes of them could be overlooked.',
                apart,
            )
        if apart >= self._apart or time.monotonic() - self._apart_at > APART_LIFE:
            self._apart, self._apart_at = apart, time.monotonic()

    def post(self, path: str, query: list[tuple[str, str]], body: Any, deadline: answers.Deadline) -> Any:
        """Return the parsed answer of a POST of *body* to *path*; raises :class:`RequestFailed`."""
        return parse_json(self._ask('POST', path, query, json.dumps(body), deadline)[0])

    def items(
        self,
        path: str,
        query: list[tuple[str, str]],
        body: Any,
        deadline: answers.Deadline,
        note: Callable[[float], None] | None = None,
    ) -> Iterator[Any]:
        """Return an iterator over the list that a POST of *body* gives: fractions are Decimals.

        Only one item at a time is more than text: parsed, an answer takes ten times the memory.

        :param note: called with the seconds that the server took.

        Raises :class:`RequestFailed`; the iterator raises ValueError.
        """
        text, _ = self._ask('POST', path, query, json.dumps(body), deadline, note)
        return _iterate(text)

    def get(self, path: str, query: list[tuple[str, str]], deadline: answers.Deadline) -> Any:
        """Return the parsed object that *path* gives, asked for once; raises :class:`RequestFailed`."""
        return parse_json(self._ask_once('GET', path, query, None, deadline, None, brackets='{}')[0])

    def pages(
        self, path: str, query: list[tuple[str, str]], body: Any | None, deadline: answers.Deadline
    ) -> Iterator[Any]:
        """Yield the parsed pages of a list: POSTs of *body*, or GETs where it is None.

        Raises :class:`RequestFailed`.
        """
        method, text = ('GET', None) if body is None else ('POST', json.dumps(body))
        seen: set[str] = set()
        more = query
        while True:
            answer, following = self._ask(method, path, more, text, deadline)
            yield parse_json(answer)
            marker = _marker(following)
            if marker is None or marker in seen:
                return
            seen.add(marker)
            # Not the link itself: Gnocchi writes the body of the request into it, again with each page.
            more = [*query, ('marker', marker)]

    def _ask(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: str | None,
        deadline: answers.Deadline,
        note: Callable[[float], None] | None = None,
    ) -> tuple[str, str | None]:
        """Return (text of the answer, URL of the next page or None)."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask_once(method, path, query, body, deadline, note)
            except RequestFailed as error:
                # Everything asked is a question, so asking again is harmless. A time-out or "too big" is for the
                # caller to make smaller; an explained refusal stays one.
                is_closed = isinstance(error.__cause__, gate.Closed)
                if error.refusal not in (Refusal.TROUBLE, Refusal.AWAY) or attempt == ATTEMPTS or is_closed:
                    raise
                LOG.debug('%s %s: %s; asking again', method, path, error)
            if deadline.left <= self._pause * attempt:
                raise RequestFailed(Refusal.AWAY, 'Gnocchi: out of time.')
            time.sleep(self._pause * attempt)
        raise AssertionError('unreachable')

    def _ask_once(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: str | None,
        deadline: answers.Deadline,
        note: Callable[[float], None] | None,
        brackets: str = '[]',
    ) -> tuple[str, str | None]:
        seconds = min(self.timeout, deadline.left)
        if seconds <= 0:
            raise RequestFailed(Refusal.AWAY, 'Gnocchi: out of time.')
        headers = {'Accept': ACCEPT}
        if body is not None:
            headers['Content-Type'] = 'application/json'
        try:
            with self._gate.passage():
                begin = time.monotonic()
                answer, content = self._send(path, method, query, body, headers, seconds)
                if note is not None and answer.status_code == 200:
                    note(time.monotonic() - begin)
        except gate.Closed as error:
            raise RequestFailed(
                Refusal.AWAY, 'Gnocchi failed several times in a row; it is not asked for %d s.' % error.seconds
            ) from error
        if answer.status_code not in (200, 201):
            raise explain(answer.status_code, content)
        try:
            text = content.decode().strip()
        except ValueError as error:
            raise RequestFailed(Refusal.TROUBLE, 'Gnocchi: an answer that is not text.') from error
        if not (text.startswith(brackets[0]) and text.endswith(brackets[1])):
            raise RequestFailed(Refusal.TROUBLE, 'Gnocchi: an answer that is cut off or not JSON.')
        return text, answer.links.get('next', {}).get('url')

    def _send(
        self,
        path: str,
        method: str,
        query: list[tuple[str, str]],
        body: str | None,
        headers: dict[str, str],
        seconds: float,
    ) -> tuple[requests.Response, bytes]:
        own = answers.Deadline(seconds)
        begin = time.monotonic()
        try:
            answer = self._adapter.request(
                path,
                method,
                params=query,
                data=body,
                headers=headers,
                timeout=seconds,
                stream=True,
                raise_exc=False,
                log=False,
                connect_retries=0,
            )
            self._note_clock(answer.headers.get('Date'))
            with answer:
                content = answers.read(answer, own)
        except (exceptions.ConnectTimeout, requests.exceptions.Timeout, TimeoutError) as error:
            telemetry.count(telemetry.REQUESTS, source=SOURCE, status='timeout')
            raise RequestFailed(Refusal.TOO_BIG, 'Gnocchi: no answer within %d s.' % seconds) from error
        except (exceptions.ClientException, requests.exceptions.RequestException, OSError) as error:
            self._gate.note_failing()
            telemetry.count(telemetry.REQUESTS, source=SOURCE, status='unreachable')
            # The error's own text may hold whatever a proxy or an auth plugin put there.
            raise RequestFailed(Refusal.AWAY, 'Gnocchi cannot be reached: %s.' % type(error).__name__) from error
        telemetry.count(telemetry.REQUESTS, source=SOURCE, status=str(answer.status_code))
        telemetry.observe(telemetry.ANSWERS, time.monotonic() - begin, source=SOURCE)
        if answer.status_code in (429, 502, 503):
            self._gate.note_failing(answers.wait_of(answer))
        else:
            self._gate.note_working()
        return answer, content


def parse_json(text: str) -> Any:
    """Return the value of an answer; raises RequestFailed if it is not JSON."""
    with sense('an answer'):
        return json.loads(text)


_BETWEEN = re.compile(r'\s*([,\]])\s*')
_OPENING = re.compile(r'\[\s*')


class _Numbers(dict[str, Decimal]):
    """Text of a number to the number: most measures, and all granularities, come again and again."""

    MOST = 4096

    def __missing__(self, text: str) -> Decimal:
        if len(self) >= self.MOST:
            self.clear()
        number = self[text] = Decimal(text)
        return number


def _iterate(text: str) -> Iterator[Any]:
    """Yield the items of the JSON list *text*; raise ValueError where it is none."""
    opening = _OPENING.match(text)
    position = opening.end() if opening else 0
    if text.startswith(']', position) and position + 1 == len(text):
        return
    number = _Numbers().__getitem__
    decode = json.JSONDecoder(parse_float=number, parse_constant=number).raw_decode
    between = _BETWEEN.match
    while True:
        item, position = decode(text, position)
        yield item
        found = between(text, position)
        if found is None:
            raise ValueError('The list goes wrong at %d.' % position)
        position = found.end()
        if found.group(1) == ']':
            if position != len(text):
                raise ValueError('Something follows the list.')
            return


def _marker(link: str | None) -> str | None:
    """Return the marker that the URL *link* of a next page names."""
    values = parse.parse_qs(parse.urlsplit(link).query).get('marker') if link else None
    return values[0] if values else None


@contextlib.contextmanager
def sense(what: str) -> Iterator[None]:
    """Turn what goes wrong in reading an answer, *what*, into a RequestFailed."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RequestFailed(Refusal.TROUBLE, 'Gnocchi: %s that makes no sense.' % what) from error


_NO_METRIC = re.compile(r'Metrics? .* does not exist')
_NO_TYPE = re.compile(r'Resource type .* does not exist')
_PERMANENT = re.compile(r'has no .* attribute|Unable to parse this query|Unknown operator|Invalid value|[Ss]ort key')
_PERMANENT_CAUSES = frozenset(('Invalid operations', 'Operations is invalid', 'Invalid input', 'Attribute value error'))


def explain(status: int, content: bytes) -> RequestFailed:
    """Return what HTTP *status* with body *content* means.

    Source: collection contract, section 3.6, and what Gnocchi 4.7.1 was seen to answer.
    """
    if status in (413, 414, 502, 503, 504, 408):
        return RequestFailed(Refusal.TOO_BIG, 'Gnocchi: HTTP %d.' % status)
    if status in (401, 403):
        return RequestFailed(Refusal.AWAY, 'Gnocchi does not let us in: HTTP %d.' % status)
    if status >= 500:
        return RequestFailed(Refusal.TROUBLE, 'Gnocchi: HTTP %d.' % status)
    cause, reason, detail = _describe(content)
    text = 'Gnocchi: HTTP %d: %s' % (status, ' '.join(part for part in (cause, reason) if part) or 'no reason given')
    text = ' '.join(text.split())[:400]
    if cause == 'Resource type does not exist' or _NO_TYPE.search(cause):
        return RequestFailed(Refusal.NO_TYPE, text)
    if status == 404 and _NO_METRIC.search(cause):
        return RequestFailed(Refusal.NOTHING, text)
    if 'has no revision_end attribute' in cause:
        return RequestFailed(Refusal.NO_HISTORY, text)
    if cause == 'Metrics not found':
        return RequestFailed(Refusal.LACKING, text)
    if cause in ('Metrics cannot be aggregated', 'Metrics with unknown aggregation', 'Unknown metrics'):
        return RequestFailed(Refusal.METRICS, text, _metric_ids(detail))
    if cause in _PERMANENT_CAUSES or _PERMANENT.search('%s %s' % (cause, reason)):
        return RequestFailed(Refusal.CONFIGURATION, text)
    return RequestFailed(Refusal.TROUBLE, text)


def _describe(content: bytes) -> tuple[str, str, Any]:
    """Return (cause, reason, detail) of an error body; empty where it does not say."""
    try:
        description = json.loads(content)['description']
    except (ValueError, TypeError, KeyError):
        return '', '', None
    if isinstance(description, dict):
        return str(description.get('cause', '')), str(description.get('reason', '')), description.get('detail')
    return str(description), '', None


def _metric_ids(detail: Any) -> frozenset[str]:
    if not isinstance(detail, list):
        return frozenset()
    names = (item[0] if isinstance(item, list) and item else item for item in detail)
    return frozenset(name for name in names if isinstance(name, str))
