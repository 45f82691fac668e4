# SPDX-License-Identifier: Apache-2.0
"""Connections to Prometheus and to what speaks its query API: deadlines, retries, and what refusals mean."""

from collections.abc import Mapping
import dataclasses
from decimal import Decimal
from email import utils
import enum
import json
import logging
import re
import time
from typing import Any
from typing import NamedTuple
from urllib import parse

import requests
from requests import adapters
from requests import auth as basic

from cloudkitty import errors
from cloudkitty import telemetry
from cloudkitty.clients import answers
from cloudkitty.clients import gate

LOG = logging.getLogger(__name__)

#: Seconds a request may take where the group's ``timeout`` says nothing.
TIMEOUT = 60
#: Requests of one call: the first, and what follows an answer that nothing explains.
ATTEMPTS = 3
PAUSE = 0.3
#: The name of this source among the figures that are counted.
SOURCE = 'prometheus'
#: Bytes of an answer; parsed, it takes ten times the memory.
LARGEST = 1 << 25
#: Seconds by which clocks may differ.
APART = 300
#: Without a POST, a text travels in the URL; servers and proxies refuse longer ones.
LONGEST_URL = 8000
#: Words of a refusal that is no fault of the query: of Prometheus, Mimir, Cortex and VictoriaMetrics.
_LIMITS = (
    'exceeded maximum resolution',
    'err-mimir-max-',
    'time range exceeds the limit',
    '-search.max',
    'not enough memory for processing',
    'timeout exceeded during query execution',
)
#: The same where the query was being evaluated: each server, and each store behind it, words its limits.
_EXECUTION_LIMITS = ('too many', 'limit', 'exceed', 'maximum', 'code = ResourceExhausted')
#: What a text quotes of the query or of series, whose names and labels have words of their own.
_STRING = r'"(?:[^"\\]|\\.)*"'
_QUOTED = re.compile(r'\{(?:%s|[^{}"])*\}|%s' % (_STRING, _STRING))


class Refusal(enum.Enum):
    """Why an answer is not the data asked for."""

    CONFIGURATION = 'the query itself is refused'
    EXECUTION = 'the query cannot be evaluated over the series that it finds'
    TOO_BIG = 'too much was asked for at once'
    TROUBLE = 'the source is in trouble'
    AWAY = 'the source cannot be reached, or does not let us in'


class RequestFailed(answers.RequestFailed):
    """A request did not give data."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal

    @property
    def is_permanent(self) -> bool:
        return self.refusal in (Refusal.CONFIGURATION, Refusal.EXECUTION)

    @property
    def is_trouble(self) -> bool:
        return self.refusal is not Refusal.CONFIGURATION


class Series(NamedTuple):
    """One series of an answer.

    :ivar labels: name to value; what a series does not have is missing.
    :ivar samples: [millisecond since the epoch, text of the number], ascending.
    :ivar histograms: the same of samples that are histograms and no numbers.
    """

    labels: Mapping[str, str]
    samples: list[list[Any]]
    histograms: list[list[Any]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a query gave.

    :ivar series: in the server's order; one without labels for a scalar.
    :ivar warnings: why it may not be all: lines of the server.
    :ivar infos: remarks of the server on the query.
    """

    series: list[Series]
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


class Client:
    """The query API of a Prometheus.

    :param url: its base, ``/api/v1`` included.
    :param auth: (user, password) for basic authentication, or None.
    :param verify: whether to check the server's certificate, or the file of the authorities to check it with.
    :param timeout: seconds one request may take, from its first byte to the last of its answer.
    :param width: how many requests run at a time.
    """

    def __init__(
        self,
        url: str,
        auth: tuple[str, str] | None = None,
        verify: bool | str = True,
        timeout: float = TIMEOUT,
        width: int = 4,
        pause: float = PAUSE,
    ) -> None:
        self._url = url.rstrip('/')
        # As bytes: of text the library takes Latin letters only.
        self._auth = basic.HTTPBasicAuth(auth[0].encode(), auth[1].encode()) if auth else None
        self._verify = verify
        self.timeout = timeout
        self.width = width
        self._pause = pause
        self._gate = gate.Gate(width)
        self._has_post = True
        self._ahead = 0.0
        self._session = requests.Session()
        for scheme in ('http://', 'https://'):
            self._session.mount(scheme, adapters.HTTPAdapter(pool_connections=width, pool_maxsize=width))

    @property
    def ahead(self) -> float:
        """Seconds by which this host's clock goes before that of the host that answered last; 0: hardly any."""
        return self._ahead if self._ahead > APART else 0.0

    def query(self, text: str, time: float | Decimal | None, deadline: answers.Deadline | None = None) -> Answer:
        """Return what *text* gives at second *time* since the epoch, one sample a series.

        Raises :class:`RequestFailed`.

        :param time: None: now, by the clock of the server.
        """
        when = {} if time is None else {'time': _second(time)}
        return self._ask('query', {'query': text, **when}, deadline)

    def query_range(
        self,
        text: str,
        start: float | Decimal,
        end: float | Decimal,
        step: int,
        deadline: answers.Deadline | None = None,
    ) -> Answer:
        """Return what *text* gives at the seconds *start*, *start* + *step* and so on, up to *end* included.

        Raises :class:`RequestFailed`.
        """
        form = {'query': text, 'start': _second(start), 'end': _second(end), 'step': str(step)}
        return self._ask('query_range', form, deadline)

    def _ask(self, path: str, form: dict[str, str], deadline: answers.Deadline | None) -> Answer:
        deadline = deadline or answers.Deadline(self.timeout * ATTEMPTS)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask_once(path, form, deadline)
            except RequestFailed as error:
                # Everything asked is a question, so asking again is harmless. What was too big is for the caller to
                # make smaller; an explained refusal stays one.
                is_closed = isinstance(error.__cause__, gate.Closed)
                if error.refusal not in (Refusal.TROUBLE, Refusal.AWAY) or attempt == ATTEMPTS or is_closed:
                    raise
                LOG.debug('%s: %s; asking again', path, error)
            if deadline.left <= self._pause * attempt:
                raise RequestFailed(Refusal.AWAY, 'Prometheus: out of time.')
            time.sleep(self._pause * attempt)
        raise AssertionError('unreachable')

    def _ask_once(self, path: str, form: dict[str, str], deadline: answers.Deadline) -> Answer:
        seconds = min(self.timeout, deadline.left)
        if seconds <= 0:
            raise RequestFailed(Refusal.AWAY, 'Prometheus: out of time.')
        try:
            with self._gate.passage():
                status, content = self._send(path, form, seconds)
                if status in (405, 501) and self._has_post:
                    # A proxy that lets read only.
                    self._has_post = False
                    status, content = self._send(path, form, seconds)
        except gate.Closed as error:
            raise RequestFailed(
                Refusal.AWAY, 'Prometheus failed several times in a row; it is not asked for %d s.' % error.seconds
            ) from error
        return parse_answer(status, content)

    def _send(self, path: str, form: dict[str, str], seconds: float) -> tuple[int, bytes]:
        own = answers.Deadline(seconds)
        begin = time.monotonic()
        # The server gives up when nobody waits any more.
        form = {**form, 'timeout': '%dms' % (seconds * 1000)}
        if not self._has_post and len(parse.urlencode(form)) > LONGEST_URL:
            raise RequestFailed(Refusal.TOO_BIG, 'Prometheus: it takes no POST, and the query is too long for a URL.')
        method, field = ('POST', 'data') if self._has_post else ('GET', 'params')
        try:
            answer = self._session.request(
                method,
                '%s/%s' % (self._url, path),
                **{field: form},  # type: ignore[arg-type]
                headers={'Accept': 'application/json'},
                auth=self._auth,
                verify=self._verify,
                timeout=seconds,
                stream=True,
                # A redirected POST arrives as a GET without its form.
                allow_redirects=False,
            )
            self._note_clock(answer.headers.get('Date'))
            with answer:
                content = answers.read(answer, own, LARGEST)
        except (requests.exceptions.Timeout, TimeoutError) as error:
            telemetry.count(telemetry.REQUESTS, source=SOURCE, status='timeout')
            raise RequestFailed(Refusal.TOO_BIG, 'Prometheus: no answer within %d s.' % seconds) from error
        except answers.TooLong as error:
            telemetry.count(telemetry.REQUESTS, source=SOURCE, status=str(answer.status_code))
            raise RequestFailed(Refusal.TOO_BIG, 'Prometheus: an answer of more than %d bytes.' % LARGEST) from error
        except (requests.exceptions.RequestException, OSError) as error:
            self._gate.note_failing()
            telemetry.count(telemetry.REQUESTS, source=SOURCE, status='unreachable')
            # The error's own text may hold the URL, and with it credentials.
            raise RequestFailed(Refusal.AWAY, 'Prometheus cannot be reached: %s.' % type(error).__name__) from error
        telemetry.count(telemetry.REQUESTS, source=SOURCE, status=str(answer.status_code))
        telemetry.observe(telemetry.ANSWERS, time.monotonic() - begin, source=SOURCE)
        if answer.status_code in (429, 502) or (answer.status_code == 503 and not _is_json(content)):
            # A 503 of Prometheus itself says that a query took too long.
            self._gate.note_failing(answers.wait_of(answer))
        else:
            self._gate.note_working()
        return answer.status_code, content

    def _note_clock(self, date: str | None) -> None:
        try:
            self._ahead = time.time() - utils.parsedate_to_datetime(date or '').timestamp()
        except (TypeError, ValueError, OverflowError):
            self._ahead = 0.0


def from_options(conf: Any, group: str, width: int = 4) -> Client:
    """Return a client of the Prometheus that option group *group* describes.

    Raises ConfigurationError naming the option that is wrong.
    """
    options = conf[group]
    url = parse.urlsplit(options.prometheus_url or '')
    if url.scheme not in ('http', 'https') or not url.netloc:
        raise errors.ConfigurationError(
            '[%s] prometheus_url: expected the URL of the API, for example http://localhost:9090/api/v1.' % group
        )
    if url.query or url.fragment:
        raise errors.ConfigurationError('[%s] prometheus_url: expected a URL without a query.' % group)
    both = options.prometheus_user and options.prometheus_password
    return Client(
        options.prometheus_url,
        (options.prometheus_user, options.prometheus_password) if both else None,
        # cafile wins over insecure, as it always has.
        options.cafile or not options.insecure,
        options.timeout or TIMEOUT,
        width,
    )


def quote(value: str) -> str:
    """Return *value* as a string of PromQL, quotes included."""
    escaped = value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
    # Prometheus takes that character itself for broken text, and refuses the whole query.
    escaped = escaped.replace('\ufffd', '\\ufffd')
    return '"%s"' % escaped


def _second(value: float | Decimal) -> str:
    return format(Decimal(str(value)), 'f')


class _Milliseconds(dict[str, int]):
    """Text of a second to milliseconds: the instants of an answer come again with each series."""

    def __missing__(self, text: str) -> int:
        known = self[text] = int(Decimal(text).scaleb(3).to_integral_value())
        return known


def parse_answer(status: int, content: bytes) -> Answer:
    """Return what an answer says; raises :class:`RequestFailed`.

    Source: https://prometheus.io/docs/prometheus/latest/querying/api/, and what Prometheus 2.42 was seen to answer.
    """
    # All its numbers are instants: values are text.
    number = _Milliseconds().__getitem__
    try:
        document = json.loads(content, parse_float=number, parse_int=number)
    except (ValueError, ArithmeticError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get('status') not in ('success', 'error'):
        # The front end of Cortex gives text.
        raise _explain(status, text=content[:1000].decode('utf-8', 'replace'))
    if document['status'] == 'error' or status != 200:
        raise _explain(status, str(document.get('errorType', '')), str(document.get('error', '')))
    try:
        data = document['data']
        kind, result = data['resultType'], data['result']
        if kind == 'matrix':
            found = [_series(item['metric'], item.get('values', []), item.get('histograms', [])) for item in result]
        elif kind == 'vector':
            found = [
                _series(
                    item['metric'],
                    [item['value']] if 'value' in item else [],
                    [item['histogram']] if 'histogram' in item else [],
                )
                for item in result
            ]
        elif kind == 'scalar':
            found = [_series({}, [result], [])]
        else:
            raise RequestFailed(Refusal.CONFIGURATION, 'Prometheus: the query gives a %s.' % kind)
        warnings = _lines(document.get('warnings'))
        if document.get('isPartial') is True:
            # A cluster of VictoriaMetrics answers all the same.
            warnings = (*warnings, 'isPartial: a node did not answer')
        return Answer(found, warnings, _lines(document.get('infos')))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RequestFailed(Refusal.TROUBLE, 'Prometheus: an answer that makes no sense.') from error


def _series(labels: Any, samples: Any, histograms: Any) -> Series:
    if type(labels) is not dict or type(samples) is not list or type(histograms) is not list:
        raise TypeError('a series that is none')
    return Series(labels, samples, histograms)


def _lines(value: Any) -> tuple[str, ...]:
    if not isinstance(value or [], list):
        raise TypeError('lines that are none')
    return tuple(' '.join(str(line).split())[:400] for line in value or ())


def _explain(status: int, kind: str = '', text: str = '') -> RequestFailed:
    """Return what HTTP *status* with the error *text* of type *kind* means; no *kind*: it is not of the API."""
    line = ' '.join(('Prometheus: HTTP %d: %s: %s' % (status, kind, text)).split())[:400] if kind else (
        'Prometheus: HTTP %d%s.' % (status, ', and no answer of its API' if status in (200, 404) else '')
    )  # fmt: skip
    if status in (401, 403):
        return RequestFailed(Refusal.AWAY, 'Prometheus does not let us in: HTTP %d.' % status)
    said = _QUOTED.sub('', text)
    if status in (400, 422) and any(words in said for words in _LIMITS):
        refusal = Refusal.TOO_BIG
    elif kind == 'execution':
        if any(words in said for words in _EXECUTION_LIMITS):
            refusal = Refusal.TOO_BIG
        else:
            # So Thanos says that a store is away.
            refusal = Refusal.TROUBLE if 'rpc error: code = ' in said else Refusal.EXECUTION
    elif kind == '422' and 'cannot parse' not in said and 'unparsed data' not in said:
        # VictoriaMetrics gives the status in place of a type, and refuses with it what it cannot parse, too.
        refusal = Refusal.EXECUTION
    elif kind in ('bad_data', '400', '422'):
        refusal = Refusal.CONFIGURATION
    elif kind in ('unavailable', '503'):
        refusal = Refusal.TROUBLE
    elif kind == 'timeout' or status in (408, 413, 414, 502, 503, 504):
        refusal = Refusal.TOO_BIG
    else:
        refusal = Refusal.TROUBLE
    return RequestFailed(refusal, line)


def _is_json(content: bytes) -> bool:
    return content.lstrip()[:1] == b'{'
