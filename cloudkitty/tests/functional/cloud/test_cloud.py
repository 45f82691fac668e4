# SPDX-License-Identifier: Apache-2.0
"""The cloud itself, and that what is put into it can be read back."""

from decimal import Decimal

import pytest

from cloudkitty import period
from cloudkitty.tests import samples
from cloudkitty.tests import seeding

pytestmark = pytest.mark.cloud
HOUR = seeding.HOUR


@pytest.fixture(scope='module')
def seed(cloud):
    return seeding.seed(cloud, samples.JUNE, periods=12, projects=4, mark='-test')


def _read(cloud, project, metric, kind, seed, **query):
    """Return {resource id: {epoch second: value}} as Gnocchi aggregates it in history mode."""
    body = {
        'operations': ['aggregate', 'mean', ['metric', metric, 'mean']],
        'search': {'=': {'project_id': project.id}},
        'resource_type': kind,
    }
    params = {'granularity': HOUR, 'groupby': 'id', 'start': seed.begin, 'stop': seed.end, 'use_history': 'True'}
    answer = cloud.gnocchi().post('/v1/aggregates', json=body, params={**params, **query}).json()
    return {
        item['group']['id']: {
            period.to_epoch(period.parse(at)): value for at, _, value in item['measures']['measures']['aggregated']
        }
        for item in answer
    }


@pytest.mark.parametrize(
    'metric, kind',
    [('cpu', 'instance'), ('volume.size', 'volume'), ('image.size', 'image'), ('ip.floating', 'network')]
    + [('network.%s.bytes.rate' % way, 'instance_network_interface') for way in ('incoming', 'outgoing')],
)
def test_gnocchi_holds_what_was_put_in(cloud, seed, metric, kind):
    for project in seed.projects:
        expected = {item.id: dict(item.measures[metric]) for item in project.resources if metric in item.measures}
        assert expected
        found = _read(cloud, project, metric, kind, seed)
        assert {key: {at: Decimal(str(value)) for at, value in of.items()} for key, of in found.items()} == expected


def test_the_resized_instance_has_its_revisions_in_the_past(cloud, seed):
    (resized,) = [item for item in seed.projects[0].resources if len(item.revisions) > 1]
    found = (
        cloud.gnocchi()
        .get('/v1/resource/instance/%s/history' % resized.id, params={'sort': 'revision_start:asc'})
        .json()
    )
    assert [(period.to_epoch(period.parse(row['revision_start'])), row['flavor_name']) for row in found] == [
        (revision.begin, revision.attributes['flavor_name']) for revision in resized.revisions
    ]


def test_the_deleted_volume_ends_within_the_window(cloud, seed):
    (deleted,) = [item for item in seed.projects[1].resources if item.ended_at is not None]
    found = cloud.gnocchi().get('/v1/resource/volume/%s' % deleted.id).json()
    assert period.to_epoch(period.parse(found['ended_at'])) == deleted.ended_at
    assert seed.begin < deleted.ended_at < seed.end


def test_users_see_their_own_project_in_keystone(seed):
    project = seed.projects[0]
    assert project.credentials.session().get_project_id() == project.id


def test_the_service_user_has_the_rating_role_in_every_project(cloud, seed):
    query = {'user.id': seed.service.session().get_user_id(), 'effective': '', 'include_names': ''}
    grants = cloud.keystone().get('/role_assignments', params=query).json()['role_assignments']
    rated = {grant['scope']['project']['id'] for grant in grants if grant['role']['name'] == seeding.ROLE}
    assert rated == {project.id for project in seed.projects}


def test_nobody_has_the_metric_of_the_account(cloud, seed):
    answer = cloud.gnocchi().get('/v1/metric', params={'name': 'radosgw.objects.size'}).json()
    assert answer == []
    assert any(item.type == 'ceph_account' for project in seed.projects for item in project.resources)
