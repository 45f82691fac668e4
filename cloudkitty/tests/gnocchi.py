# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Gnocchi: the REST calls that the collector makes, answered from memory over real HTTP on loopback.

It follows what Gnocchi 4.7 was seen to do; the contract tests run against both.
"""

import collections
import dataclasses
import fnmatch
import functools
import itertools
import json
import math
import threading
import time
import urllib.parse
import uuid

from cloudkitty import period as periods
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.tests import answering

BUILT_IN = (
    'id',
    'project_id',
    'user_id',
    'started_at',
    'ended_at',
    'revision_start',
    'revision_end',
    'type',
    'creator',
)
INSTANTS = ('started_at', 'ended_at', 'revision_start', 'revision_end')


def _text(second):
    return None if second is None else periods.from_epoch(second).isoformat()


@dataclasses.dataclass
class Policy:
    """An archive policy."""

    name: str
    granularities: tuple
    methods: tuple


@dataclasses.dataclass
class Resource:
    """A resource: its *revisions* are dicts of attributes, instants as epoch seconds, oldest first.

    :ivar metrics: name to [id, policy, {second: value}].
    """

    id: str
    type: str
    revisions: list
    metrics: dict


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next *times* requests of *kind* for which ``when(query, body)`` holds.

    :ivar drop: the connection is closed after half of the answer.
    :ivar change: takes the parsed answer and returns another one.
    """

    kind: str
    status: int = 0
    body: object = ''
    delay: float = 0
    drop: bool = False
    times: float = math.inf
    when: object = None
    change: object = None


class Refused(Exception):
    def __init__(self, status, description):
        super().__init__(description)
        self.status = status
        self.description = description


class FakeGnocchi:
    """Answers as a Gnocchi in basic auth mode does.

    :ivar requests: count of requests by kind: ``search``, ``aggregates``, ``metric``, ``archive_policy``, ``status``.
    :ivar bytes: size of the answers.
    :ivar record: takes each answer to an aggregates request, if set.
    """

    PAGE = 1000

    def __init__(self, is_old=False):
        # Older than 4.5: no history in aggregates, and one resource without the metric refuses the whole request.
        self.is_old = is_old
        self.types = {'generic': ()}
        self.policies = {}
        self.resources = {}
        self.requests = collections.Counter()
        self.bytes = 0
        self.faults = []
        self.record = None
        self.page = self.PAGE
        # Measures that are not aggregated yet, and the metrics that have any.
        self.waiting = 0, 0
        self._lock = threading.Lock()
        self._server = None

    # What a test puts in.

    def create_policy(self, name, granularities, methods=('mean', 'max', 'min', 'sum', 'count')):
        self.policies[name] = Policy(name, tuple(granularities), tuple(methods))

    def create_type(self, name, attributes=()):
        self.types[name] = tuple(attributes)

    def create_resource(self, type, name, project_id, recorded, metrics=(), policy='standard', **attributes):
        """Make a resource that was recorded at *recorded* (epoch second), with *metrics* of *policy*."""
        revision = {
            **dict.fromkeys(BUILT_IN),
            **dict.fromkeys(self.types[type]),
            'id': name,
            'type': type,
            'project_id': project_id,
            'started_at': recorded,
            'revision_start': recorded,
            **attributes,
        }
        found = {name: [str(uuid.uuid4()), policy, {}] for name in metrics}
        self.resources[name] = Resource(name, type, [revision], found)

    def revise(self, name, at, **attributes):
        """Change attributes of a resource; the change is recorded at *at*."""
        revisions = self.resources[name].revisions
        revisions[-1]['revision_end'] = at
        revisions.append({**revisions[-1], 'revision_start': at, 'revision_end': None, **attributes})

    def delete(self, name):
        """Delete a resource: nothing is left of it."""
        del self.resources[name]

    def add_metric(self, name, metric, policy='standard'):
        """Give a resource one more metric, which leaves no revision."""
        self.resources[name].metrics[metric] = [str(uuid.uuid4()), policy, {}]

    def measure(self, name, metric, values):
        """Add measures: {epoch second: value}."""
        self.resources[name].metrics[metric][2].update(values)

    def settle(self):
        """Wait until everything put in can be asked for."""

    # Serving.

    @property
    def url(self):
        return 'http://%s:%d' % self._server.server_address

    def start(self, port=0, address='127.0.0.1'):
        self._server = answering.serve(self.handle, port, address)
        return self

    def stop(self):
        answering.stop(self._server)

    def handle(self, handler):
        length = int(handler.headers.get('Content-Length') or 0)
        text = handler.rfile.read(length)
        url = urllib.parse.urlsplit(handler.path)
        query = urllib.parse.parse_qs(url.query)
        body = json.loads(text) if text else None
        parts = url.path.strip('/').split('/')
        kind = parts[1] if len(parts) > 1 else ''
        with self._lock:
            self.requests[kind] += 1
            fault = next(
                (
                    item
                    for item in self.faults
                    if item.kind == kind and item.times > 0 and (item.when is None or item.when(query, body))
                ),
                None,
            )
            if fault is not None:
                fault.times -= 1
        status, headers = 200, {}
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        if fault is not None and fault.status:
            status, answer = fault.status, fault.body
        elif not handler.headers.get('Authorization'):
            status, answer = 401, {'code': 401, 'title': 'Unauthorized', 'description': ''}
        else:
            try:
                answer, marker = self._answer(parts[1:], query, body)
                if fault is not None and fault.change is not None:
                    answer = fault.change(answer)
                if marker:
                    # As the original: what the body holds goes into the link, too.
                    more = {**query, **{key: str(value) for key, value in (body or {}).items()}, 'marker': marker}
                    link = '%s%s?%s' % (self.url, url.path, urllib.parse.urlencode(more, doseq=True))
                    headers['Link'] = '<%s>; rel="next"' % link
            except Refused as error:
                status = error.status
                answer = {'code': status, 'title': 'Refused', 'description': error.description}
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        if status == 200 and kind == 'aggregates' and self.record is not None:
            self.record(content)
        with self._lock:
            self.bytes += len(content)
        answering.send(handler, status, content, headers, fault is not None and fault.drop)

    def _answer(self, path, query, body):
        """Return (answer, marker of the next page or None)."""
        match path:
            case ['search', 'resource', kind]:
                return self._search(kind, query, body)
            case ['aggregates']:
                return self._aggregate(query, body), None
            case ['metric']:
                return self._list_metrics(query)
            case ['archive_policy']:
                return [_show_policy(policy) for policy in self.policies.values()], None
            case ['status']:
                measures, metrics = self.waiting
                return {'storage': {'summary': {'metrics': metrics, 'measures': measures}}}, None
        raise Refused(404, 'Not found')

    def _of_type(self, kind):
        return [item for item in self.resources.values() if kind == 'generic' or item.type == kind]

    def _check_attribute(self, kind, name, history=True):
        if name == 'revision_end' and not history:
            raise Refused(400, 'Resource type %s has no revision_end attribute' % kind)
        if name not in BUILT_IN and name != 'original_resource_id' and name not in self.types[kind]:
            raise Refused(400, "Resource type <class 'ResourceHistory'> has no %s attribute" % name)

    def _search(self, kind, query, body):
        if kind not in self.types:
            raise Refused(404, 'Resource type %s does not exist' % kind)
        history = query.get('history') == ['true']
        rows = [
            (item, index, revision)
            for item in self._of_type(kind)
            for index, revision in enumerate(item.revisions)
            if history or index == len(item.revisions) - 1
        ]
        rows = [row for row in rows if self._holds(kind, body, row[2], history)]
        rows.sort(key=lambda row: (row[0].id, row[1]))
        marks = ['%s@%d' % (item.id, index) if history else item.id for item, index, _ in rows]
        page, marker = self._cut(rows, marks, query)
        answer = []
        for item, _, revision in page:
            shown = {name: _text(value) if name in INSTANTS else value for name, value in revision.items()}
            shown['metrics'] = {name: metric[0] for name, metric in item.metrics.items()}
            names = query.get('attrs')
            answer.append({name: shown[name] for name in names if name in shown} if names else shown)
        return answer, marker

    def _cut(self, rows, marks, query):
        limit = min(int(query.get('limit', [self.page])[0]), self.page)
        start = marks.index(query['marker'][0]) + 1 if 'marker' in query else 0
        page = rows[start : start + limit]
        return page, marks[start + limit - 1] if len(page) >= limit else None

    def _holds(self, kind, node, revision, history):
        ((operator, value),) = node.items()
        if operator in ('and', 'or'):
            found = [self._holds(kind, item, revision, history) for item in value]
            return all(found) if operator == 'and' else any(found)
        if operator == 'not':
            return not self._holds(kind, value, revision, history)
        ((name, expected),) = value.items()
        self._check_attribute(kind, name, history)
        found = revision.get(name)
        if operator == 'in':
            if not expected:
                raise Refused(400, {'cause': 'Invalid input', 'reason': 'length of value must be at least 1'})
            return found in expected
        if name in INSTANTS and expected is not None:
            expected = inventory.parse_instant(expected)
        if operator in ('=', '!='):
            return (found == expected) == (operator == '=')
        if found is None:
            return False
        return {
            '>=': found >= expected,
            '<=': found <= expected,
            '>': found > expected,
            '<': found < expected,
        }[operator]

    def _list_metrics(self, query):
        rows = []
        for resource in self.resources.values():
            for name, (metric_id, policy, _) in resource.metrics.items():
                if name in query.get('name', [name]) and policy in query.get('archive_policy_name', [policy]):
                    shown = _show_policy(self.policies[policy])
                    rows.append({'id': metric_id, 'name': name, 'resource_id': resource.id, 'archive_policy': shown})
        rows.sort(key=lambda row: row['id'])
        return self._cut(rows, [row['id'] for row in rows], query)

    def _aggregate(self, query, body):
        kind = body['resource_type']
        if kind not in self.types:
            raise Refused(400, {'cause': 'Resource type does not exist', 'detail': kind})
        operations = body['operations']
        if isinstance(operations, str):
            raise Refused(400, {'cause': 'Invalid operations', 'reason': 'The stand-in takes lists only'})
        _, again, (_, name, method) = operations
        if again.removeprefix('rate:') not in ('max', 'min', 'mean', 'sum', 'count', 'std', 'median'):
            raise Refused(400, {'cause': 'Invalid input', 'reason': "'aggregate' operation invalid"})
        groupby = sorted(query.get('groupby', ()))
        for attribute in groupby:
            if attribute not in BUILT_IN and attribute not in self.types[kind]:
                raise Refused(400, "Invalid pagination: `Sort key supplied is invalid: %s'" % attribute)
        start, stop = (inventory.parse_instant(query[key][0]) for key in ('start', 'stop'))
        granularity = float(query['granularity'][0]) if 'granularity' in query else None
        history = query.get('use_history', ['false'])[0].lower() == 'true' and not self.is_old
        rows = []
        for item in self._of_type(kind):
            holds = functools.partial(self._holds, kind, body['search'], history=history)
            spans = _spans(item.revisions, start, stop, history, holds)
            for revision, begin, end in spans:
                rows.append((tuple((key, revision[key]) for key in groupby), item, begin, end))
        rows.sort(key=lambda row: [(key, str(value or '')) for key, value in row[0]])
        result = []
        for key, members in itertools.groupby(rows, key=lambda row: row[0]):
            sums = {}
            found = False
            for _, item, begin, end in members:
                for metric_name, metric in item.metrics.items():
                    if fnmatch.fnmatch(metric_name, name):
                        found = True
                        for at, size, value in self._read(metric_name, metric, method, again, granularity, begin, end):
                            share = _share(begin, end, at, size) if history else 1.0
                            sums[-size, at] = sums.get((-size, at), 0) + value * share
            if self.is_old and not found:
                raise Refused(400, {'cause': 'Metrics not found', 'detail': [name]})
            if sums or (found and not history):
                shown = [[_text(at), -size, _shown(value)] for (size, at), value in sorted(sums.items())]
                group = {name: _text(value) if name in INSTANTS else value for name, value in key}
                result.append({'group': group, 'measures': {'measures': {'aggregated': shown}}})
        if not result:
            raise Refused(404, 'Metric [%r] does not exist' % name)
        return result

    def _read(self, name, metric, method, again, granularity, begin, end):
        metric_id, policy_name, values = metric
        policy = self.policies[policy_name]
        if method not in policy.methods:
            raise Refused(404, {'cause': 'Metrics with unknown aggregation', 'detail': [[metric_id, method]]})
        if granularity is not None and granularity not in policy.granularities:
            raise Refused(
                400,
                {
                    'cause': 'Metrics cannot be aggregated',
                    'reason': 'Granularities are missing',
                    'detail': [[name, method, granularity]],
                },
            )
        for size in sorted(policy.granularities if granularity is None else [granularity], reverse=True):
            granules = {}
            for second, value in values.items():
                if begin // size * size <= second // size * size < end:
                    granules.setdefault(second // size * size, []).append(value)
            before = None
            for at in sorted(granules):
                value = _AGGREGATES[method](granules[at])
                if not again.startswith('rate:'):
                    yield at, float(size), value
                elif before is not None:
                    yield at, float(size), value - before
                before = value


_AGGREGATES = {
    'mean': lambda values: sum(values) / len(values),
    'max': max,
    'min': min,
    'sum': sum,
    'count': len,
    '95pct': lambda values: sorted(values)[int(0.95 * (len(values) - 1))],
}


def _shown(value):
    return float(value) if isinstance(value, int | float) else value


def _show_policy(policy):
    return {
        'name': policy.name,
        'aggregation_methods': list(policy.methods),
        'definition': [
            {'granularity': '%d:%02d:%02d' % (size // 3600, size // 60 % 60, size % 60)}
            for size in policy.granularities
        ],
    }


def _spans(revisions, start, stop, history, holds):
    """Return (revision, begin, end) of those revisions that a request finds, as Gnocchi cuts them."""
    if not history:
        return [(revisions[-1], start, stop)] if holds(revisions[-1]) else []
    found = [
        item
        for item in revisions
        if item['revision_start'] < stop
        and (item['revision_end'] is None or item['revision_end'] >= start)
        and holds(item)
    ]
    return [
        (
            item,
            start if index == 0 else max(start, item['revision_start']),
            stop if item['revision_end'] is None else min(stop, item['revision_end']),
        )
        for index, item in enumerate(found)
    ]


def _share(begin, end, at, size):
    """Return the covered part of the granule of *size* seconds at *at*."""
    covered = round((min(end, at + size) - max(begin, at)) * 10**6) * 1000
    return covered / (size * 1e9)
