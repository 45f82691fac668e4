# SPDX-License-Identifier: Apache-2.0
"""The examples of the description of v2 are what its schemas say, and what the API answers."""

import urllib.parse

import openapi_schema_validator
import pytest
import yaml

from cloudkitty.tests import fuzz
from cloudkitty.tests.functional.api.deployment import ask

DESCRIPTION = yaml.safe_load(fuzz.DESCRIPTIONS[2].read_text())
#: One after the other they find what they name.
ORDER = (
    ('PUT', '/v2/rating/modules/{module_id}'),
    ('GET', '/v2/rating/modules/{module_id}'),
    ('GET', '/v2/rating/modules'),
    ('POST', '/v2/scope'),
    ('GET', '/v2/scope'),
    ('PUT', '/v2/scope'),
    ('POST', '/v2/task/reprocesses'),
    ('GET', '/v2/task/reprocesses'),
    ('GET', '/v2/task/reprocesses/{scope_id}'),
    ('PATCH', '/v2/task/reprocesses'),
    ('PATCH', '/v2/scope'),
    ('GET', '/v2/adjustments'),
    ('PUT', '/v2/adjustments'),
    ('POST', '/v2/dataframes'),
    ('GET', '/v2/dataframes'),
    ('GET', '/v2/summary'),
)
#: What is about rated points: what those answer is compared with what was rated, elsewhere.
RATED = {('GET', '/v2/coverage'), ('GET', '/v2/explain')}


def inline(value):
    """Return *value* with what its references stand for."""
    if isinstance(value, dict) and '$ref' in value:
        target = DESCRIPTION
        for part in value['$ref'].removeprefix('#/').split('/'):
            target = target[part]
        return inline(target)
    if isinstance(value, dict):
        return {name: inline(item) for name, item in value.items()}
    return [inline(item) for item in value] if isinstance(value, list) else value


def list_operations():
    """Return {(method, path): operation}, parameters of the path included."""
    return {
        (method.upper(), path): {
            **inline(found),
            'parameters': inline([*item.get('parameters', ()), *found.get('parameters', ())]),
        }
        for path, item in DESCRIPTION['paths'].items()
        for method, found in item.items()
        if method != 'parameters'
    }


OPERATIONS = list_operations()


def list_contents(operation):
    """Yield (description of a body or an answer, its media type)."""
    for place in (operation.get('requestBody', {}), *operation['responses'].values()):
        for kind, content in place.get('content', {}).items():
            yield content, kind


def check(value, schema):
    openapi_schema_validator.validate(
        value, schema, cls=openapi_schema_validator.OAS31Validator,
        format_checker=openapi_schema_validator.oas31_format_checker,
    )  # fmt: skip


@pytest.mark.parametrize('key', OPERATIONS, ids=' '.join)
def test_every_body_and_answer_has_an_example_that_is_valid(key):
    operation = OPERATIONS[key]
    for content, _ in list_contents(operation):
        check(content['example'], content['schema'])
    for parameter in operation['parameters']:
        if 'example' in parameter:
            check(parameter['example'], parameter['schema'])


def test_an_example_that_is_wrong_is_noticed():
    (content, _), *_ = list_contents(OPERATIONS['POST', '/v2/scope'])
    with pytest.raises(Exception, match='more'):
        check({**content['example'], 'more': 1}, content['schema'])
    with pytest.raises(Exception, match='date-time'):
        check({**content['example'], 'last_processed_timestamp': 'yesterday'}, content['schema'])


def make_request(path, operation):
    """Return (path, headers) by the examples of the parameters."""
    said = {place: {} for place in ('path', 'query', 'header')}
    for parameter in operation['parameters']:
        if 'example' in parameter:
            value = parameter['example']
            said[parameter['in']][parameter['name']] = ','.join(value) if isinstance(value, list) else value
    query = urllib.parse.urlencode(said['query'])
    return path.format(**said['path']) + ('?' + query if query else ''), said['header']


def test_the_api_answers_as_the_examples_say(make_api):
    assert set(ORDER) | RATED == set(OPERATIONS)
    api = make_api('noauth', collect='timezone = UTC')
    for method, template in ORDER:
        operation = OPERATIONS[method, template]
        path, headers = make_request(template, operation)
        body = operation.get('requestBody')
        (status, expected), *_ = operation['responses'].items()
        for kind, content in expected.get('content', {'application/json': None}).items():
            sent = None if body is None else body['content']['application/json']['example']
            answer = ask(api, path, method, sent, {**headers, 'Accept': kind})
            assert str(answer.status_code) == status, (method, path, answer.text)
            if content is None:
                assert not answer.body
            elif kind == 'text/csv':
                assert answer.text.replace('\r\n', '\n') == content['example']
            else:
                assert without_now(answer.json) == without_now(content['example']), (method, path)


def without_now(value):
    """Return *value* without what is the present."""
    if isinstance(value, dict):
        return {name: without_now(item) for name, item in value.items() if name != 'scope_activation_toggle_date'}
    return [without_now(item) for item in value] if isinstance(value, list) else value
