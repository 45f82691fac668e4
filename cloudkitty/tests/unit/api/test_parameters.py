# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal

import pytest

from cloudkitty import errors
from cloudkitty.api import types
from cloudkitty.api.v2 import parameters

KNOWN = {
    'one': parameters.Single(types.text),
    'many': parameters.Multi(types.text),
    'flags': parameters.Multi(types.boolean),
    'filters': parameters.Pairs(repeats=True),
    'pairs': parameters.Pairs(repeats=False),
    **parameters.PAGE,
}


def read(*given, known=KNOWN):
    return parameters.read(given, known, 'parameter')


def test_what_is_not_said_is_its_default():
    assert read() == {'one': None, 'many': None, 'flags': None, 'filters': {}, 'pairs': {}, 'offset': 0, 'limit': 100}


@pytest.mark.parametrize(
    'given, expected',
    [
        ([('many', 'a,b')], ['a', 'b']),
        ([('many', 'a'), ('many', 'b,,c')], ['a', 'b', 'c']),
        ([('many', '')], []),
        ([('many', ['a,b', 'c'])], ['a', 'b', 'c']),
        ([('flags', 'true,0')], [True, False]),
        ([('filters', 'type:cpu,id:a'), ('filters', 'id:b')], {'type': ['cpu'], 'id': ['a', 'b']}),
        ([('pairs', 'type:,id:a')], {'type': [''], 'id': ['a']}),
        ([('one', 'a,b')], 'a,b'),
        ([('one', ['a'])], 'a'),
        ([('one', None)], None),
        ([('limit', '7')], 7),
        ([('limit', Decimal('7.0'))], 7),
    ],
)
def test_values(given, expected):
    assert read(*given)[given[0][0]] == expected


@pytest.mark.parametrize(
    'given',
    [
        [('one', 'a'), ('one', 'b')],
        [('one', 7)],
        [('one', {})],
        [('one', [None])],
        [('many', 7)],
        [('many', ['a', 7])],
        [('many', [None])],
        [('flags', 'maybe')],
        [('filters', '')],
        [('filters', 'type')],
        [('filters', ':cpu')],
        [('filters', 'type:a:b')],
        [('filters', {'type': 'cpu'})],
        [('pairs', 'id:a,id:b')],
        [('pairs', 'id:\0')],
        [('limit', '0')],
        [('limit', '1.5')],
        [('limit', True)],
        [('offset', '-1')],
        [('offset', '')],
    ],
)
def test_nonsense_names_the_parameter(given):
    with pytest.raises(errors.BadRequest, match='^%s' % given[0][0]):
        read(*given)


def test_unknown_names_are_refused():
    with pytest.raises(errors.BadRequest, match='There is no parameter "other" here.'):
        read(('other', 'a'))


@pytest.mark.parametrize('given', [[], [('one', None)], [('one', [])]])
def test_what_is_required_must_be_there(given):
    with pytest.raises(errors.BadRequest, match='one is missing'):
        read(*given, known={'one': parameters.Single(types.text, required=True)})


def test_others_are_taken_together_where_a_handler_wants_them():
    known = {'limit': parameters.Single(types.integer, default=100)}
    given = [('limit', '5'), ('id', 'i:9,8'), ('flavor', '')]
    assert parameters.read(given, known, 'parameter', 'others') == {
        'limit': 5,
        'others': {'id': 'i:9,8', 'flavor': ''},
    }
    assert parameters.read([], known, 'parameter', 'others') == {'limit': 100, 'others': {}}
    with pytest.raises(errors.BadRequest, match='^id is given more than once.$'):
        parameters.read([('id', '1'), ('id', '1')], known, 'parameter', 'others')
    with pytest.raises(errors.BadRequest, match='^id: expected text without NUL'):
        parameters.read([('id', '\0')], known, 'parameter', 'others')
