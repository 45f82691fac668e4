# SPDX-License-Identifier: Apache-2.0
"""From a request to the arguments of a handler."""

from decimal import Decimal
import json

import pytest
import webob
import wsme
import wsme.types

from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types


class Inner(wsme.types.Base):
    size = types.Amount(2, Decimal(100))


class Thing(wsme.types.Base):
    thing_id = types.identifier
    name = wsme.wsattr(types.Text(5), mandatory=True)
    kind = wsme.wsattr(types.Choice('flat', 'rate'), default='flat')
    note = wsme.wsattr(types.text, default=None)
    checksum = wsme.wsattr(types.text, readonly=True)
    inner = Inner
    many = [Inner]
    words = {str: types.integer}


@rest.expose(Thing, types.text, types.boolean)
def show(self, thing_id, deep=False):
    """Take two arguments."""


@rest.expose(Thing, types.text, body=Thing)
def change(self, thing_id, thing):
    """Take an argument and a typed body."""


def bind(handler, *path, query='', body=None, content_type='application/json', method='PUT'):
    request = webob.Request.blank('/x?' + query, method=method)
    if body is not None:
        request.content_type = content_type
        request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return rest.bind(handler._wsme_definition, path, request)


def refuses(match, *args, **kwargs):
    with pytest.raises(errors.BadRequest, match=match) as caught:
        bind(*args, **kwargs)
    return caught.value


def test_an_argument_comes_from_path_query_or_body():
    expected = {'thing_id': 'a', 'deep': True}
    assert bind(show, 'a', 'yes') == expected
    assert bind(show, 'a', query='deep=True') == expected
    assert bind(show, query='thing_id=a&deep=1') == expected
    assert bind(show, body={'thing_id': 'a', 'deep': True}) == expected
    assert bind(show, 'a', body={'deep': 'on'}, method='GET') == expected
    form = bind(show, 'a', body=b'deep=t', content_type='application/x-www-form-urlencoded')
    assert form == expected


def test_defaults_stand_for_what_is_absent_empty_or_null():
    expected = {'thing_id': 'a', 'deep': False}
    assert bind(show, 'a') == bind(show, 'a', query='deep=') == bind(show, 'a', body={'deep': None}) == expected


def test_a_required_argument_is_named():
    refuses('thing_id is missing', show)
    refuses('thing_id is missing', show, body={'thing_id': None})


def test_arguments_given_twice():
    assert bind(show, 'a', query='thing_id=a')['thing_id'] == 'a'
    refuses('thing_id', show, 'a', query='thing_id=b')
    refuses('deep', show, 'a', query='deep=1', body={'deep': True})
    assert bind(show, query='thing_id=b&thing_id=a')['thing_id'] == 'a'


def test_unknown_arguments():
    refuses('parameter "nope"', show, 'a', query='nope=1')
    refuses('member "nope"', show, 'a', body={'nope': 1})


def test_more_segments_than_arguments():
    with pytest.raises(errors.NotFound):
        bind(show, 'a', 'true', 'c')
    with pytest.raises(errors.NotFound):
        bind(change, 'a', 'b', body={'name': 'x'})


@pytest.mark.parametrize('body', [b'null', b'[]', b'5', b'"x"', b'{', b'\xff', b'{"thing_id": NaN}'])
def test_bodies_that_are_no_object(body):
    refuses('The body', show, 'a', body=body)
    refuses('The body', change, 'a', body=body)


def test_bodies_of_other_types():
    for content_type in ('text/plain', '', 'application/xml'):
        assert refuses('Content-Type', show, 'a', body=b'{}', content_type=content_type).code == 415
    for content_type in rest.JSON_TYPES:
        assert bind(show, 'a', body={}, content_type=content_type)


def test_a_typed_body():
    values = bind(change, 'a', body={'name': 'n', 'inner': {'size': 0.1}, 'many': [{'size': '2'}], 'words': {'a': 1}})
    thing = values['thing']
    assert (values['thing_id'], thing.name, thing.kind, thing.note) == ('a', 'n', 'flat', None)
    assert thing.thing_id is wsme.types.Unset
    assert (thing.inner.size, thing.many[0].size, thing.words) == (Decimal('0.1'), 2, {'a': 1})


def test_a_typed_body_stands_in_for_the_path():
    id_ = '8c0c8d5a-7e1c-4f43-9a57-3f2f6a0f1c11'
    values = bind(change, body={'thing_id': id_, 'name': 'n'})
    assert (values['thing_id'], values['thing'].thing_id) == (id_, id_)
    assert bind(change, body={'thing_id': id_.upper().replace('-', ''), 'name': 'n'})['thing_id'] == id_
    assert bind(change, 'a', body={'thing_id': id_, 'name': 'n'})['thing_id'] == 'a'
    refuses('thing_id is missing', change, body={'name': 'n'})


@pytest.mark.parametrize(
    ('body', 'match'),
    [
        ({}, '^name is missing'),
        ({'name': None}, '^name: null'),
        ({'name': 'toolong'}, '^name: expected at most 5 characters, not toolong'),
        ({'name': 'n', 'kind': None}, '^kind: null'),
        ({'name': 'n', 'kind': 'x'}, '^kind: expected one of flat, rate'),
        ({'name': 'n', 'checksum': None}, '^checksum: it can only be read'),
        ({'name': 'n', 'thing_id': 'x'}, '^thing_id: expected a UUID'),
        ({'name': 'n', 'inner': []}, '^inner: expected an object'),
        ({'name': 'n', 'inner': {'nope': 1}}, '"inner.nope"'),
        ({'name': 'n', 'inner': {'size': 100}}, '^inner.size: expected a number below 100'),
        ({'name': 'n', 'many': {}}, '^many: expected a list'),
        ({'name': 'n', 'many': [{'size': 'x'}]}, r'^many\[0\].size'),
        ({'name': 'n', 'words': []}, '^words: expected an object'),
        ({'name': 'n', 'words': {'a': 'x'}}, '^words.a'),
        ({'name': 'n', 'nope': 1}, '"nope"'),
    ],
)
def test_members_that_are_wrong_are_named(body, match):
    refuses(match, change, 'a', body=body)


def test_long_values_are_not_repeated():
    assert len(str(refuses('name', change, 'a', body={'name': 'x' * 10000}))) < 200


def test_null_in_an_optional_member_is_no_value():
    assert bind(change, 'a', body={'name': 'n', 'note': None, 'inner': None})['thing'].inner is None


def test_what_is_made_has_no_name_in_the_path():
    with pytest.raises(errors.NotFound):
        bind(change, 'a', body={'name': 'n'}, method='POST')
    assert bind(change, query='thing_id=a', body={'name': 'n'}, method='POST')['thing_id'] == 'a'


def test_a_typed_body_is_required():
    refuses('thing', change, 'a')
    refuses('thing', change, 'a', body=b'')
