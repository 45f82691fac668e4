# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Prometheus: queries of the kind that the collector asks, answered from memory over HTTP on loopback.

It follows what Prometheus 2.42 was seen to do; the contract tests run against both.
"""

import collections
import dataclasses
from decimal import Decimal
import json
import math
import re
import threading
import time
import urllib.parse

from cloudkitty.tests import answering

_TOKEN = re.compile(
    r'\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.:]))|(?P<span>\d+(?:ms|s|m|h|d))'
    r'|(?P<word>[a-zA-Z_][a-zA-Z0-9_:]*)|(?P<text>"(?:[^"\\]|\\.)*")'
    r'|(?P<sign>=~|!~|==|!=|<=|>=|[-+*/%^<>(),{}\[\]:=@]))'
)
_UNITS = {'ms': 1, 's': 1000, 'm': 60000, 'h': 3600000, 'd': 86400000}
_LOOKBACK = 5 * 60000
#: What ends a series before its samples are too old; :meth:`FakePrometheus.add` takes it for a number.
STALE = None


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next *times* requests for which ``when(form)`` holds; *form* has name to text.

    :ivar drop: the connection is closed after half of the answer.
    :ivar change: takes the parsed answer and returns another one.
    """

    status: int = 0
    body: object = ''
    delay: float = 0
    drop: bool = False
    times: float = math.inf
    when: object = None
    change: object = None
    headers: dict = dataclasses.field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status, kind, text):
        super().__init__(text)
        self.status = status
        self.kind = kind


class FakePrometheus:
    """Answers as a Prometheus of version 2 does.

    :ivar is_new: as version 3: a range does not count a sample at its begin.
    :ivar aligns: as some proxies: moves the instants of several periods to multiples of the step.
    :ivar is_read_only: as some proxies: lets no POST through.
    :ivar most: series that a query may touch.
    :ivar credentials: what has to stand in the header Authorization; None: anything.
    :ivar requests: count of requests by kind: ``query``, ``query_range``.
    :ivar forms: what was asked, in order.
    """

    def __init__(self):
        self.is_new = self.aligns = self.is_read_only = False
        self.most = math.inf
        self.credentials = None
        self.requests = collections.Counter()
        self.forms = []
        self.faults = []
        self.record = None
        # Name of a metric to {labels, as sorted pairs: {millisecond: number}}.
        self._series = {}
        self._lock = threading.Lock()
        self._server = None

    # What a test puts in.

    def add(self, metric, labels, values):
        """Put in samples: {epoch second: number or STALE}; seconds may have three digits after the point."""
        key = tuple(sorted((name, value) for name, value in labels.items() if value))
        known = self._series.setdefault(metric, {}).setdefault(key, {})
        known.update({round(second * 1000): value for second, value in values.items()})

    def settle(self):
        """Have everything that was put in answered."""

    # What Prometheus does.

    @property
    def url(self):
        return 'http://127.0.0.1:%d/api/v1' % self._server.server_port

    def start(self, port=0):
        self._server = answering.serve(self.handle, port)
        return self

    def stop(self):
        answering.stop(self._server)

    def handle(self, handler):
        text = handler.rfile.read(int(handler.headers.get('Content-Length') or 0)).decode()
        url = urllib.parse.urlsplit(handler.path)
        form = dict(urllib.parse.parse_qsl(text or url.query))
        kind = url.path.rpartition('/')[2]
        with self._lock:
            self.requests[kind] += 1
            self.forms.append(form)
            fault = next(
                (item for item in self.faults if item.times > 0 and (item.when is None or item.when(form))), None
            )
            if fault is not None:
                fault.times -= 1
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        status = 200
        if fault is not None and fault.status:
            status, answer = fault.status, fault.body
        elif self.credentials is not None and handler.headers.get('Authorization') != self.credentials:
            status, answer = 401, 'Unauthorized'
        elif self.is_read_only and handler.command == 'POST':
            status, answer = 405, ''
        else:
            try:
                answer = {'status': 'success', 'data': self._answer(kind, form)}
                if fault is not None and fault.change is not None:
                    answer = fault.change(answer)
            except Refused as error:
                status, answer = error.status, {'status': 'error', 'errorType': error.kind, 'error': str(error)}
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        if self.record is not None and status == 200:
            self.record(content)
        headers, is_cut = ({}, False) if fault is None else (fault.headers, fault.drop)
        answering.send(handler, status, content, headers, is_cut)

    def _answer(self, kind, form):
        tree = _Parser(form['query']).parse()
        if kind == 'query':
            at = _millisecond(form['time'])
            value = self._evaluate(tree, at)
            if isinstance(value, float):
                return {'resultType': 'scalar', 'result': [_second(at), _show(value)]}
            result = [{'metric': dict(key), 'value': [_second(at), _show(number)]} for key, number in value]
            return {'resultType': 'vector', 'result': result}
        if kind != 'query_range':
            raise Refused(404, 'not_found', 'no such thing')
        start, end, step = (_millisecond(form[name]) for name in ('start', 'end', 'step'))
        if self.aligns:
            start, end = start // step * step, end // step * step
        if (end - start) // step > 11000:
            raise Refused(400, 'bad_data', 'exceeded maximum resolution of 11,000 points per timeseries.')
        found = {}
        for at in range(start, end + 1, step):
            value = self._evaluate(tree, at)
            for key, number in [((), value)] if isinstance(value, float) else value:
                found.setdefault(key, []).append([_second(at), _show(number)])
        result = [{'metric': dict(key), 'values': values} for key, values in sorted(found.items())]
        return {'resultType': 'matrix', 'result': result}

    def _evaluate(self, tree, at):
        """Return a float, or a list of (labels, number): the value of *tree* at millisecond *at*."""
        match tree:
            case ('number', number):
                return number
            case ('select', name, matchers):
                return [
                    (key, number)
                    for key, samples in self._select(name, matchers)
                    if (number := _latest(samples, at)) is not STALE
                ]
            case ('call', 'vector', [node]):
                return [((), self._evaluate(node, at))]
            case ('call', name, [node, *_]) if name in _OVER_RANGE:
                if node[0] not in ('range', 'subquery'):
                    raise Refused(400, 'bad_data', 'expected type range vector in call to function "%s"' % name)
                start, series = self._range(node, at)
                found = ((_nameless(key), _OVER_RANGE[name](samples, start, at)) for key, samples in series if samples)
                return [(key, number) for key, number in found if number is not None]
            case ('call', name, [node]) if name in _EACH:
                return [(_nameless(key), _EACH[name](number)) for key, number in self._vector(node, at)]
            case ('call', name, _):
                raise Refused(400, 'bad_data', 'unknown function with name "%s"' % name)
            case ('aggregate', name, by, node):
                groups = {}
                for key, number in self._vector(node, at):
                    group = tuple((label, value) for label, value in key if label in by)
                    groups.setdefault(group, []).append(number)
                return [(key, _AGGREGATE[name](numbers)) for key, numbers in groups.items()]
            case ('or', left, right):
                first = self._vector(left, at)
                known = {_nameless(key) for key, _ in first}
                return first + [item for item in self._vector(right, at) if _nameless(item[0]) not in known]
            case ('binary', sign, left, right):
                return _calculate(sign, self._evaluate(left, at), self._evaluate(right, at))
        raise Refused(400, 'bad_data', 'parse error: %s' % tree[0])

    def _vector(self, tree, at):
        value = self._evaluate(tree, at)
        if isinstance(value, float):
            raise Refused(400, 'bad_data', 'expected type instant vector')
        return value

    def _select(self, name, matchers):
        found = []
        for key, samples in self._series.get(name, {}).items():
            known = dict(key)
            if all(_matches(known.get(label, ''), sign, value) for label, sign, value in matchers):
                found.append(((('__name__', name), *key), samples))
        if len(found) > self.most:
            raise Refused(422, 'execution', 'query processing would load too many samples into memory')
        return found

    def _range(self, node, at):
        """Return (millisecond at which it begins, [(labels, [(millisecond, number)])])."""
        if node[0] == 'subquery':
            _, tree, span, step = node
            instants = [
                instant for instant in range(at // step * step, at - span - 1, -step) if self._is_in(instant, at, span)
            ]
            found = {}
            for instant in reversed(instants):
                for key, number in self._vector(tree, instant):
                    found.setdefault(key, []).append((instant, number))
            return at - span, list(found.items())
        _, select, span = node
        found = []
        for key, samples in self._select(*select[1:]):
            inside = (ms for ms, value in samples.items() if value is not STALE and self._is_in(ms, at, span))
            found.append((key, [(ms, samples[ms]) for ms in sorted(inside)]))
        return at - span, found

    def _is_in(self, millisecond, at, span):
        return (at - span < millisecond if self.is_new else at - span <= millisecond) and millisecond <= at


class _Parser:
    """Makes a tree of the text of a query."""

    def __init__(self, text):
        if '\ufffd' in text:
            raise Refused(400, 'bad_data', 'parse error: invalid UTF-8 rune')
        self._tokens = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise Refused(400, 'bad_data', 'parse error: unexpected character at %d' % place)
            self._tokens.append((found.lastgroup, found.group(found.lastgroup)))
            place = found.end()
        self._next = 0

    def parse(self):
        tree = self._binary(0)
        if self._peek()[0] is not None:
            raise Refused(400, 'bad_data', 'parse error: unexpected %s' % self._peek()[1])
        if tree[0] == 'range':
            raise Refused(400, 'bad_data', 'invalid expression type "range vector"')
        return tree

    def _peek(self):
        return self._tokens[self._next] if self._next < len(self._tokens) else (None, 'end of input')

    def _take(self, *wanted):
        kind, text = self._peek()
        if wanted and text not in wanted:
            raise Refused(400, 'bad_data', 'parse error: unexpected %s' % text)
        self._next += 1
        return kind, text

    def _is_next(self, *texts):
        return self._peek()[1] in texts and self._peek()[0] in ('sign', 'word')

    _LEVELS = (('or',), ('==', '!=', '<=', '>=', '<', '>'), ('+', '-'), ('*', '/', '%'))

    def _binary(self, level):
        if level == len(self._LEVELS):
            return self._unary()
        tree = self._binary(level + 1)
        while self._is_next(*self._LEVELS[level]):
            sign = self._take()[1]
            right = self._binary(level + 1)
            tree = ('or', tree, right) if sign == 'or' else ('binary', sign, tree, right)
        return tree

    def _unary(self):
        if self._is_next('-'):
            self._take()
            return ('binary', '*', ('number', -1.0), self._unary())
        return self._postfix(self._primary())

    def _postfix(self, tree):
        while self._is_next('['):
            self._take()
            span = self._span()
            if self._is_next(':'):
                self._take()
                tree = ('subquery', tree, span, self._span())
            else:
                tree = ('range', tree, span)
            self._take(']')
        return tree

    def _span(self):
        kind, text = self._take()
        if kind != 'span':
            raise Refused(400, 'bad_data', 'parse error: bad duration')
        unit = text.lstrip('0123456789')
        return int(text[: -len(unit)]) * _UNITS[unit]

    def _primary(self):
        kind, text = self._take()
        if kind == 'number':
            return ('number', float(text))
        if text == '(' and kind == 'sign':
            tree = self._binary(0)
            self._take(')')
            return tree
        if kind != 'word':
            raise Refused(400, 'bad_data', 'parse error: unexpected %s' % text)
        if text in _AGGREGATE:
            by = self._by()
            (node,) = self._arguments()
            return ('aggregate', text, by if by is not None else self._by() or (), node)
        if self._is_next('('):
            return ('call', text, self._arguments())
        return ('select', text, self._matchers())

    def _by(self):
        if not self._is_next('by'):
            return None
        self._take()
        self._take('(')
        names = []
        while not self._is_next(')'):
            names.append(self._take()[1])
            if not self._is_next(')'):
                self._take(',')
        self._take(')')
        return tuple(names)

    def _arguments(self):
        self._take('(')
        found = [self._binary(0)]
        while self._is_next(','):
            self._take()
            found.append(self._binary(0))
        self._take(')')
        return found

    def _matchers(self):
        found = []
        if self._is_next('{'):
            self._take()
            while not self._is_next('}'):
                label, sign = self._take()[1], self._take('=', '=~', '!=', '!~')[1]
                kind, text = self._take()
                if kind != 'text':
                    raise Refused(400, 'bad_data', 'parse error: expected a string')
                found.append((label, sign, json.loads(text)))
                if not self._is_next('}'):
                    self._take(',')
            self._take('}')
        return found


def _nameless(key):
    return tuple(item for item in key if item[0] != '__name__')


def _matches(value, sign, wanted):
    if sign in ('=', '!='):
        return (value == wanted) == (sign == '=')
    return (re.fullmatch(wanted, value, re.DOTALL) is not None) == (sign == '=~')


def _latest(samples, at):
    known = [ms for ms in samples if at - _LOOKBACK <= ms <= at]
    return samples[max(known)] if known else STALE


def _calculate(sign, left, right):
    if isinstance(left, float) and isinstance(right, float):
        return _SIGNS[sign](left, right)
    if isinstance(left, list) and isinstance(right, list):
        raise Refused(400, 'bad_data', 'the stand-in does not match vectors')
    of = left if isinstance(left, list) else right
    result = []
    for key, number in of:
        pair = (number, right) if of is left else (left, number)
        if sign in _COMPARISONS:
            if _COMPARISONS[sign](*pair):
                result.append((key, number))
        else:
            result.append((_nameless(key), _SIGNS[sign](*pair)))
    return result


def _divide(one, other):
    if other:
        return one / other
    return math.nan if not one or math.isnan(one) else math.copysign(math.inf, one)


_COMPARISONS = {
    '==': lambda one, other: one == other,
    '!=': lambda one, other: one != other,
    '<': lambda one, other: one < other,
    '>': lambda one, other: one > other,
    '<=': lambda one, other: one <= other,
    '>=': lambda one, other: one >= other,
}
_SIGNS = {
    '+': lambda one, other: one + other,
    '-': lambda one, other: one - other,
    '*': lambda one, other: one * other,
    '/': _divide,
    '%': lambda one, other: math.fmod(one, other) if other else math.nan,
}


def _variance(numbers):
    mean = _mean(numbers)
    return _mean([(number - mean) ** 2 for number in numbers])


def _mean(numbers):
    return math.fsum(numbers) / len(numbers)


def _sum(numbers):
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


def _best(choose):
    """Return a function for the least or largest of numbers: NaN only where there is nothing else."""

    def find(numbers):
        known = [number for number in numbers if not math.isnan(number)]
        return choose(known) if known else math.nan

    return find


def _safely(function):
    def run(numbers):
        return function(numbers) if all(map(math.isfinite, numbers)) else math.nan

    return run


_AGGREGATE = {
    'avg': lambda numbers: _mean(numbers) if all(map(math.isfinite, numbers)) else sum(numbers) / len(numbers),
    'count': lambda numbers: float(len(numbers)),
    'max': _best(max),
    'min': _best(min),
    'stddev': _safely(lambda numbers: math.sqrt(_variance(numbers))),
    'stdvar': _safely(_variance),
    'sum': _sum,
}


def _over(name):
    return lambda samples, start, end: _AGGREGATE[name]([value for _, value in samples])


def _extrapolate(samples, start, end, is_counter, is_rate):
    """Return what the functions delta and rate do of Prometheus 2 (promql/functions.go, extrapolatedRate)."""
    if len(samples) < 2:
        return None
    (first, value), (last, result) = samples[0], samples[-1]
    result -= value
    if is_counter:
        for (_, one), (_, other) in zip(samples, samples[1:], strict=False):
            result += one if other < one else 0
    from_start, to_end = (first - start) / 1000, (end - last) / 1000
    sampled = (last - first) / 1000
    average = sampled / (len(samples) - 1)
    if is_counter and result > 0 and value >= 0:
        from_start = min(from_start, sampled * (value / result))
    whole = sampled
    for gap in (from_start, to_end):
        whole += gap if gap < average * 1.1 else average / 2
    factor = whole / sampled
    return result * (factor / ((end - start) / 1000) if is_rate else factor)


def _last_two(samples, start, end, is_rate):
    if len(samples) < 2:
        return None
    (one, before), (other, value) = samples[-2:]
    if is_rate:
        return (value if value < before else value - before) / ((other - one) / 1000)
    return value - before


def _changes(samples, start, end):
    pairs = zip(samples, samples[1:], strict=False)
    return float(sum(one != other and not (one != one and other != other) for (_, one), (_, other) in pairs))


_OVER_RANGE = {
    **{'%s_over_time' % name: _over(name) for name in _AGGREGATE},
    'changes': _changes,
    'delta': lambda samples, start, end: _extrapolate(samples, start, end, False, False),
    'rate': lambda samples, start, end: _extrapolate(samples, start, end, True, True),
    'irate': lambda samples, start, end: _last_two(samples, start, end, True),
    'idelta': lambda samples, start, end: _last_two(samples, start, end, False),
}
_EACH = {
    'abs': abs,
    'ceil': lambda number: float(math.ceil(number)) if math.isfinite(number) else number,
    'floor': lambda number: float(math.floor(number)) if math.isfinite(number) else number,
    'round': lambda number: float(math.floor(number + 0.5)) if math.isfinite(number) else number,
    'sqrt': lambda number: math.sqrt(number) if number >= 0 else math.nan,
    'log2': lambda number: math.log2(number) if number > 0 else (-math.inf if number == 0 else math.nan),
}


def _millisecond(text):
    return round(Decimal(text) * 1000)


def _second(millisecond):
    return millisecond // 1000 if millisecond % 1000 == 0 else millisecond / 1000


def _show(number):
    """Return *number* as Go writes a float."""
    if math.isnan(number):
        return 'NaN'
    if math.isinf(number):
        return '+Inf' if number > 0 else '-Inf'
    if number and not 1e-6 <= abs(number) < 1e21:
        mantissa, _, exponent = repr(number).partition('e')
        if not exponent:
            mantissa, _, exponent = ('%e' % Decimal(repr(number))).partition('e')
        return '%se%s' % (mantissa.removesuffix('.0'), exponent)
    return format(Decimal(repr(number)), 'f').removesuffix('.0')
