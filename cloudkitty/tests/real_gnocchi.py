# SPDX-License-Identifier: Apache-2.0
"""A real Gnocchi for tests, with the methods of its stand-in (:mod:`cloudkitty.tests.gnocchi`).

The past is put in by way of its database: its REST interface always records a change as of now.
"""

import json
import time

import requests
import sqlalchemy

from cloudkitty import period as periods


class RealGnocchi:
    """Fills a Gnocchi in basic auth mode.

    :param url: without ``/v1``.
    :param index: SQLAlchemy URL of its index.
    """

    def __init__(self, url, index):
        self.url = url
        self._index = sqlalchemy.create_engine(index, poolclass=sqlalchemy.NullPool)
        self._session = requests.Session()
        self._session.auth = ('admin', '')
        self._session.headers['Accept'] = 'application/json'
        self._types = {}

    def _call(self, method, path, body=None, fine=()):
        answer = self._session.request(method, '%s/v1%s' % (self.url, path), json=body, timeout=30)
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

    def create_resource(self, type, name, project_id, recorded, metrics=(), policy='standard', **attributes):
        self._types[name] = type
        body = {'id': name, 'project_id': project_id, 'started_at': periods.from_epoch(recorded).isoformat()}
        body['metrics'] = {item: {'archive_policy_name': policy} for item in metrics}
        self._call('POST', '/resource/%s' % type, {**body, **_write(attributes)})
        self._record(name, recorded)

    def revise(self, name, at, **attributes):
        self._call('PATCH', '/resource/%s/%s' % (self._types[name], name), _write(attributes))
        with self._index.begin() as connection:
            columns = (sqlalchemy.column('revision'), sqlalchemy.column('id'), sqlalchemy.column('revision_end'))
            history = sqlalchemy.table('resource_history', *columns)
            last = sqlalchemy.select(sqlalchemy.func.max(history.c.revision)).where(history.c.id == name)
            connection.execute(
                sqlalchemy.update(history)
                .where(history.c.revision == connection.execute(last).scalar())
                .values(revision_end=periods.to_naive(periods.from_epoch(at)))
            )
        self._record(name, at)

    def _record(self, name, second):
        resource = sqlalchemy.table('resource', sqlalchemy.column('id'), sqlalchemy.column('revision_start'))
        with self._index.begin() as connection:
            connection.execute(
                sqlalchemy.update(resource)
                .where(resource.c.id == name)
                .values(revision_start=periods.to_naive(periods.from_epoch(second)))
            )

    def measure(self, name, metric, values):
        measures = [
            {'timestamp': periods.from_epoch(second).isoformat(), 'value': value} for second, value in values.items()
        ]
        self._call('POST', '/batch/resources/metrics/measures', {name: {metric: measures}})

    def settle(self):
        """Wait until Gnocchi has worked on what was put in."""
        for _ in range(600):
            if not self._call('GET', '/status?details=false')['storage']['summary']['measures']:
                return
            time.sleep(0.1)
        raise AssertionError('Gnocchi does not get through: %s' % json.dumps(self._call('GET', '/status')))


def _write(attributes):
    return {
        name: periods.from_epoch(value).isoformat() if name.endswith('_at') and value is not None else value
        for name, value in attributes.items()
    }
