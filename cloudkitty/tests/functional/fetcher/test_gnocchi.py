# SPDX-License-Identifier: Apache-2.0
"""The fetcher gnocchi against a stand-in, and against answers that a real one would not give."""

import pytest

from cloudkitty import errors
from cloudkitty.tests.functional.fetcher import test_contract

load = test_contract.load
gnocchi_lines = test_contract.gnocchi_lines


def test_every_scope_is_found_however_many_resources_the_others_have(stand_in, tmp_path):
    stand_in.page = 3
    for number in range(40):
        stand_in.create_resource('instance', 'r%02d' % number, 'p%d' % (number // 10), 0)
    assert load(tmp_path, gnocchi_lines(stand_in)).get_tenants() == ['p0', 'p1', 'p2', 'p3']
    # One page a scope, and one that says that there is no other.
    assert stand_in.requests['search'] == 5


def test_resources_of_nobody_do_not_go_round_in_circles(stand_in, tmp_path):
    stand_in.page = 2
    for number in range(6):
        stand_in.create_resource('instance', 'r%d' % number, None, 0)
    stand_in.create_resource('instance', 's', 'p', 0)
    assert load(tmp_path, gnocchi_lines(stand_in)).get_tenants() == ['p']


def test_types_and_the_attribute_are_options(stand_in, tmp_path):
    stand_in.create_type('volume', ('domain',))
    stand_in.create_type('other', ('domain',))
    for number, kind in enumerate(('instance', 'volume', 'other')):
        stand_in.create_resource(kind, 'r%d' % number, 'p', 0, domain='d%d' % number)
    lines = gnocchi_lines(stand_in, 'resource_types = volume,instance', 'scope_attribute = domain')
    assert load(tmp_path, lines).get_tenants() == ['d0', 'd1']


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('resource_types = instance,nothing', 'resource_types: Gnocchi has no type nothing'),
        ('scope_attribute = colour', 'scope_attribute: Gnocchi takes no search for colour.*has no colour attribute'),
    ],
)
def test_what_gnocchi_does_not_know_is_named(stand_in, tmp_path, line, words):
    stand_in.create_resource('instance', 'r', 'p', 0)
    with pytest.raises(errors.PermanentSourceError, match=words):
        load(tmp_path, gnocchi_lines(stand_in, line)).get_tenants()


@pytest.mark.parametrize(
    ('given', 'error'),
    [
        ([(503, {})], errors.TransientSourceError),
        ([(401, {})], errors.PermanentSourceError),
        (['<html>'], errors.TransientSourceError),
        ([{}], errors.TransientSourceError),
        ([[{'project_id': 'a'}], {}], errors.TransientSourceError),
        ([[{'id': 'r'}]], errors.TransientSourceError),
        ([['a']], errors.TransientSourceError),
        ([[{'project_id': 5}]], errors.PermanentSourceError),
        # The second page fails, or is the first.
        ([[{'project_id': 'a'}], (500, {})], errors.TransientSourceError),
        ([[{'project_id': 'a'}]], errors.TransientSourceError),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_list(answers, tmp_path, given, error):
    answers.give(*given)
    with pytest.raises(error) as caught:
        load(tmp_path, gnocchi_lines(answers)).get_tenants()
    assert '\n' not in str(caught.value)


def test_a_gnocchi_that_is_not_there_is_no_list(answers, tmp_path):
    answers.stop()
    with pytest.raises(errors.TransientSourceError, match='Gnocchi does not answer'):
        load(tmp_path, gnocchi_lines(answers)).get_tenants()


@pytest.mark.parametrize('line', ['resource_types =', 'scope_attribute ='])
def test_an_empty_option_is_refused(answers, tmp_path, line):
    with pytest.raises(errors.ConfigurationError, match=line.split()[0]):
        load(tmp_path, gnocchi_lines(answers, line))
