# SPDX-License-Identifier: Apache-2.0
"""Whatever statement an API is killed at, its client asks another one again, and comes to what was asked for.

A request is one transaction: what it leaves is what was before, or all that it asked for. The rules and their revision,
by which workers know that theirs are old, are looked at together.
"""

import dataclasses

import pytest

from cloudkitty.storage import reset
from cloudkitty.tests import databases
from cloudkitty.tests import killing
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.processor import deployment as processor
from cloudkitty.tests.functional.processor import test_every_statement as workers

#: How many moments CI goes on by.
STEPS = {'sqlite': 3, 'mariadb': 6, 'postgresql': 6}
HASHMAP = '/v1/rating/module_config/hashmap/'
SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
LATER = {'start': '3000-01-01T00:00:00', 'end': '3001-01-01T00:00:00'}
#: A user whose id the columns of old are too short for.
USER = {'X-User-Id': 'u' * 64}
#: Rows of a server's own, its ids and instants apart; epochs may go on by two where a request is repeated.
DATA = {name: query for name, query in killing.CONTENT.items() if name != 'guards'} | {
    'tasks': 'SELECT identifier, start_reprocess_time, end_reprocess_time, current_reprocess_time, reason, recollect, '
    'cancelled, actor FROM storage_scope_reprocessing_schedule s JOIN reprocessing_tasks t ON t.id = s.id',
    'pushes': 'SELECT text, digest FROM pushes',
}
RULES = {
    'revision': 'SELECT revision FROM rule_revision',
    'modules': 'SELECT name, state FROM modules_state',
    'priorities': 'SELECT name, priority FROM modules_state',
    'services': 'SELECT name FROM hashmap_services',
    'fields': 'SELECT s.name, f.name FROM hashmap_fields f JOIN hashmap_services s ON s.id = f.service_id',
    'groups': 'SELECT name FROM hashmap_groups',
    'mappings': 'SELECT value, cost, map_type, tenant_id, description, deleted IS NULL, created_by, updated_by, '
    'deleted_by, group_id IS NULL FROM hashmap_mappings',
    'thresholds': 'SELECT level, cost, map_type, tenant_id, group_id IS NULL FROM hashmap_thresholds',
    'scripts': 'SELECT name, data, description, deleted IS NULL, created_by, updated_by, deleted_by '
    'FROM pyscripts_scripts',
    'actors': 'SELECT created_by, updated_by, deleted_by FROM rule_actors',
}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A request; words in braces in path and body are ids of what was there before.

    :ivar status: of the first answer.
    :ivar repeated: of the answer to a repeated request that was done.
    :ivar appends: whether a repeated request does it once more.
    """

    method: str
    path: str
    body: dict | None
    status: int
    repeated: int
    headers: dict = dataclasses.field(default_factory=dict)
    appends: bool = False


def make_push(*scope_ids):
    points = [
        {'vol': {'unit': 'u', 'qty': 1}, 'rating': {'price': 2}, 'groupby': {'project_id': name}, 'metadata': {}}
        for name in scope_ids
    ]
    days = [('2026-06-01T01:00:00', '2026-06-01T02:00:00'), ('2026-06-02T00:00:00', '2026-06-02T01:00:00')]
    return {
        'dataframes': [
            {'period': {'begin': begin, 'end': end}, 'usage': {'cpu': points, 'fee': points}} for begin, end in days
        ]
    }


PUSH = 'POST', '/v2/dataframes', make_push('a', 'c'), 204, 204
KEY = {'Idempotency-Key': 'june'}
TASK = {
    'scope_ids': ['a', 'b'],
    'start_reprocess_time': '2026-06-01T00:00:00',
    'end_reprocess_time': '2026-06-01T01:00:00',
    'reason': 'why',
}
OF_SCOPES = {
    'reset': Scene(
        'PUT', '/v2/scope', {'scope_id': ['a', 'b'], 'last_processed_timestamp': '2026-06-01T00:00:00'}, 202, 202
    ),
    'switch off': Scene('PATCH', '/v2/scope', {'scope_id': 'a', 'active': False}, 200, 200),
    'new scope': Scene(
        'POST', '/v2/scope', {'scope_id': 'n', 'last_processed_timestamp': '2026-06-01T00:00:00'}, 200, 404
    ),
    'push with a key': Scene(*PUSH, KEY),
    'push': Scene(*PUSH, appends=True),
    'schedule': Scene('POST', '/v2/task/reprocesses', TASK, 202, 400),
    'schedule without a source': Scene('POST', '/v2/task/reprocesses', TASK | {'recollect': False}, 202, 400),
    'cancel': Scene('PATCH', '/v2/task/reprocesses', {'scope_ids': ['a'], 'status': 'cancelled'}, 200, 200),
}
OF_RULES = {
    'new service': Scene('POST', HASHMAP + 'services', {'name': 'new'}, 201, 409),
    'new field': Scene('POST', HASHMAP + 'fields', {'name': 'new', 'service_id': '{service}'}, 201, 409),
    'new group': Scene('POST', HASHMAP + 'groups', {'name': 'new'}, 201, 409),
    'new mapping': Scene(
        'POST', HASHMAP + 'mappings', {'service_id': '{service}', 'type': 'flat', 'cost': '7'}, 201, 409, USER
    ),
    'changed mapping': Scene('PUT', HASHMAP + 'mappings/{mapping}', LATER | {'cost': '9'}, 302, 302, USER),
    'deleted mapping': Scene('DELETE', HASHMAP + 'mappings/{mapping}', None, 204, 404, USER),
    'new threshold': Scene(
        'POST', HASHMAP + 'thresholds', {'service_id': '{service}', 'type': 'flat', 'cost': '7', 'level': '5'}, 201, 409
    ),
    'changed threshold': Scene(
        'PUT', HASHMAP + 'thresholds/{threshold}', {'cost': '9', 'level': '3', 'type': 'rate'}, 302, 302
    ),
    'deleted field': Scene('DELETE', HASHMAP + 'fields/{field}', None, 204, 404),
    'deleted service': Scene('DELETE', HASHMAP + 'services/{service}', None, 204, 404),
    'deleted group': Scene('DELETE', HASHMAP + 'groups/{group}', None, 204, 404),
    'deleted group with all': Scene('DELETE', HASHMAP + 'groups/{group}?recursive=true', None, 204, 404),
    'new script': Scene('POST', SCRIPTS, {'name': 'new', 'data': 'two = 2\n'}, 201, 409, USER),
    'changed script': Scene(
        'PUT', SCRIPTS + '/{script}', LATER | {'name': 'script', 'data': 'three = 3\n'}, 201, 201, USER
    ),
    'deleted script': Scene('DELETE', SCRIPTS + '/{script}', None, 204, 404, USER),
    'module off': Scene('PUT', '/v1/rating/modules/hashmap', {'module_id': 'hashmap', 'enabled': False}, 302, 302),
    'priority': Scene('PUT', '/v2/rating/modules/hashmap', {'priority': 7}, 204, 204),
}


class Stand:
    """An API on a database, of which each copy gets one of its own."""

    def __init__(self, url, ids=None):
        self.ids = ids or {}
        self.api = deployment.Api('noauth', url)
        self.database = self.api.database
        self.identity = samples.IDENTITY

    def move(self, url):
        return Stand(url, self.ids)

    def close(self):
        self.api.close()

    def ask(self, scene):
        """Return the answer to the request of *scene*."""
        body = scene.body and {name: self._fill(value) for name, value in scene.body.items()}
        return deployment.ask(self.api, self._fill(scene.path), scene.method, body, scene.headers)

    def _fill(self, value):
        return value.format(**self.ids) if isinstance(value, str) else value

    def act(self, scene):
        """Ask, and be told that it is done."""
        answer = self.ask(scene)
        assert answer.status_code == scene.status, answer.text

    def act_again(self, scene):
        """Ask as a client does who was not answered."""
        answer = self.ask(scene)
        assert answer.status_code in (scene.status, scene.repeated), answer.text


def rate(url, scene):
    """Return a stand at which three hours of two scopes are rated."""
    cloud = processor.Deployment(databases.ready(url), 'a', 'b')
    cloud.run(hours=3)
    if scene.method == 'PATCH':
        cloud.schedule(0, 1)
    cloud.database.dispose()
    stand = Stand(url)
    if scene.path == '/v2/scope':
        # No source gives it back: it stays.
        stand.act(OF_SCOPES['push'])
    return stand


def make_rules(url):
    """Return a stand with one of each kind of rule, and the ids of them."""
    stand = Stand(url)
    for kind, path, body in (
        ('service', HASHMAP + 'services', {'name': 'cpu'}),
        ('field', HASHMAP + 'fields', {'name': 'flavor', 'service_id': '{service}'}),
        ('group', HASHMAP + 'groups', {'name': 'group'}),
        (
            'mapping',
            HASHMAP + 'mappings',
            LATER | {'field_id': '{field}', 'value': 'x', 'type': 'flat', 'cost': '2', 'group_id': '{group}'},
        ),
        (
            'threshold',
            HASHMAP + 'thresholds',
            {'field_id': '{field}', 'level': '2', 'type': 'flat', 'cost': '2', 'group_id': '{group}'},
        ),
        ('script', SCRIPTS, LATER | {'name': 'script', 'data': 'one = 1\n'}),
    ):
        answer = stand.ask(Scene('POST', path, body, 201, 409, USER))
        assert answer.status_code == 201, answer.text
        stand.ids[kind] = answer.json[kind + '_id']
    assert (
        stand.ask(
            Scene('PUT', '/v1/rating/modules/hashmap', {'module_id': 'hashmap', 'enabled': True}, 302, 302)
        ).status_code
        == 302
    )
    return stand


def kill(scene, name, make, queries, kind, directory, look, is_one):
    """Kill the request of *scene* everywhere; return the number of moments."""
    stage = killing.Stage(kind, directory, make, Stand.move)

    def read(stand):
        return killing.read_rows(stand.database, queries)

    with stage.open() as stand:
        before = read(stand)
        stand.act(scene)
        after = read(stand)
        assert before != after
        answer = stand.ask(scene)
        assert answer.status_code == scene.repeated, answer.text
        assert (read(stand) == after) == (not scene.appends)

    def look_at_both(stand, was_killed):
        found = read(stand)
        if is_one:
            assert found in (before, after) if was_killed else found == after
        look(stand, was_killed)
        stand.is_done = found == after

    def again(stand):
        # Who pushes without a key has to look first whether it is there.
        if not (scene.appends and stand.is_done):
            stand.act_again(scene)

    step = STEPS[kind]
    # Scenes begin elsewhere, so that all kinds of moments come in.
    moment = killing.kill_everywhere(
        stage, lambda stand: stand.act(scene), read, look_at_both, again, 1 + len(name) % step, step
    )
    print('%s on %s: %d moments' % (name, kind, moment))
    return moment


@pytest.mark.parametrize('name', OF_SCOPES)
def test_what_changes_scopes_is_done_once(name, database_kind, tmp_path, monkeypatch):
    scene = OF_SCOPES[name]
    # A reset of many scopes is several transactions; each of them is whole.
    monkeypatch.setattr(reset, 'AT_ONCE', 1)

    def make(url):
        return rate(url, scene)

    assert kill(scene, name, make, DATA, database_kind, tmp_path, workers.check, is_one=name != 'reset') > 5


@pytest.mark.parametrize('name', OF_RULES)
def test_rules_and_their_revision_change_together(name, database_kind, tmp_path):
    scene = OF_RULES[name]
    assert kill(scene, name, make_rules, RULES, database_kind, tmp_path, lambda *_: None, is_one=True) > 3
