# SPDX-License-Identifier: Apache-2.0
"""Fills a real Gnocchi, with the methods of its stand-in (:mod:`cloudkitty.tests.gnocchi`).

The past is put in by way of its database: its REST interface always records a change as of now, and in history mode it
hides resources whose first revision is younger than the window.
"""

import json
import time
import uuid

import sqlalchemy

from cloudkitty import period as periods


def _table(name, *columns):
    return sqlalchemy.table(name, sqlalchemy.column('id', sqlalchemy.LargeBinary), *columns)


_RESOURCE = _table('resource', sqlalchemy.column('revision_start', sqlalchemy.DateTime))
_HISTORY = _table(
    'resource_history', sqlalchemy.column('revision'), sqlalchemy.column('revision_end', sqlalchemy.DateTime)
)


class RealGnocchi:
    """Fills the Gnocchi of *cloud* (:class:`cloudkitty.tests.cloud.Cloud`)."""

    def __init__(self, cloud):
        self.url = cloud.gnocchi_url
        self._index = sqlalchemy.create_engine(
            cloud.index_url, poolclass=sqlalchemy.NullPool, connect_args={'timeout': 60}
        )
        self._adapter = cloud.gnocchi()
        self._types = {}

    def _call(self, method, path, body=None, fine=()):
        answer = self._adapter.request('/v1%s' % path, method, json=body, raise_exc=False)
        if answer.status_code >= 300 and answer.status_code not in fine:
            raise AssertionError('%s %s: %d %s' % (method, path, answer.status_code, answer.text))
        return answer.json() if answer.content else None

    def create_policy(self, name, granularities, methods=('mean', 'max', 'min', 'sum', 'count')):
        definition = [{'granularity': size, 'timespan': 100 * 86400} for size in granularities]
        body = {'name': name, 'definition': definition, 'aggregation_methods': list(methods), 'back_window': 2400}
        self._call('POST', '/archive_policy', body, fine=(409,))

    def create_type(self, name, attributes=()):
        described = {item: {'type': 'string', 'required': False} for item in attributes}
        self._call('POST', '/resource_type', {'name': name, 'attributes': described}, fine=(409,))

    def create_resource(self, type, name, project_id, recorded, metrics=(), policy='standard', /, **attributes):
        self._types[name] = type
        body = {'id': name, 'project_id': project_id, 'started_at': periods.from_epoch(recorded).isoformat()}
        body['metrics'] = {item: {'archive_policy_name': policy} for item in metrics}
        self._call('POST', '/resource/%s' % type, {**body, **_write(attributes)})
        with self._index.begin() as connection:
            self._record(connection, name, recorded)

    def revise(self, name, at, /, **attributes):
        self._call('PATCH', '/resource/%s/%s' % (self._types[name], name), _write(attributes))
        with self._index.begin() as connection:
            last = sqlalchemy.select(sqlalchemy.func.max(_HISTORY.c.revision)).where(_is(_HISTORY, name))
            connection.execute(
                sqlalchemy.update(_HISTORY)
                .where(_HISTORY.c.revision == last.scalar_subquery())
                .values(revision_end=periods.to_naive(periods.from_epoch(at)))
            )
            self._record(connection, name, at)

    def delete(self, name):
        self._call('DELETE', '/resource/%s/%s' % (self._types[name], name))

    def add_metric(self, name, metric, policy='standard'):
        path = '/resource/%s/%s/metric' % (self._types[name], name)
        self._call('POST', path, {metric: {'archive_policy_name': policy}})

    @staticmethod
    def _record(connection, name, second):
        begin = periods.to_naive(periods.from_epoch(second))
        connection.execute(sqlalchemy.update(_RESOURCE).where(_is(_RESOURCE, name)).values(revision_start=begin))

    def measure(self, name, metric, values):
        self.measure_all({name: {metric: values}})

    def measure_all(self, values):
        """Put in measures of many resources with one request: {resource: {metric: {epoch second: value}}}."""
        body = {
            name: {
                metric: [
                    {'timestamp': periods.from_epoch(second).isoformat(), 'value': float(value)}
                    for second, value in measures.items()
                ]
                for metric, measures in metrics.items()
            }
            for name, metrics in values.items()
        }
        self._call('POST', '/batch/resources/metrics/measures', body)

    def settle(self):
        """Wait until Gnocchi has worked on what was put in."""
        for _ in range(1200):
            if not self._call('GET', '/status?details=false')['storage']['summary']['measures']:
                return
            time.sleep(0.1)
        raise AssertionError('Gnocchi does not get through: %s' % json.dumps(self._call('GET', '/status')))


def _is(table, name):
    return table.c.id == uuid.UUID(name).bytes


def _write(attributes):
    return {
        name: periods.from_epoch(value).isoformat() if name.endswith('_at') and value is not None else value
        for name, value in attributes.items()
    }
