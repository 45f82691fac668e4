# SPDX-License-Identifier: Apache-2.0
"""The directive ``openapi``: renders an OpenAPI description, 3.1, with its examples.

``.. openapi:: openapi-v2.yaml`` makes a section of each operation: policy, parameters, members of the body, statuses,
and answers. Descriptions in the file are reStructuredText.
"""

from collections.abc import Iterator
import json
import pathlib
from typing import Any

from docutils import nodes
from docutils import statemachine
from docutils.parsers import rst
from sphinx.util import nodes as sphinx_nodes
import yaml

METHODS = ('get', 'post', 'put', 'patch', 'delete')


class Openapi(rst.Directive):
    """Takes the name of a file beside the document."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        environment = self.state.document.settings.env
        path = pathlib.Path(environment.doc2path(environment.docname)).with_name(self.arguments[0])
        environment.note_dependency(str(path))
        lines = statemachine.StringList(list(render(yaml.safe_load(path.read_text()))), str(path))
        found = nodes.section()
        found.document = self.state.document
        sphinx_nodes.nested_parse_with_titles(self.state, lines, found)
        return list(found.children)


def render(description: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a document."""
    yield from description['info']['description'].splitlines()
    yield ''
    for path, item in description['paths'].items():
        for method in METHODS:
            if method in item:
                yield from _render_operation(description, method.upper(), path, item, item[method])


def _render_operation(
    description: dict[str, Any], method: str, path: str, item: dict[str, Any], operation: dict[str, Any]
) -> Iterator[str]:
    title = '%s %s' % (method, path)
    yield from (title, '=' * len(title), '', operation['summary'], '')
    yield from (*operation.get('description', '').splitlines(), '')
    if 'x-policy' in operation:
        yield from ('Policy: ``%s``.' % operation['x-policy'], '')
    parameters = [
        resolve(description, found) for found in (*item.get('parameters', ()), *operation.get('parameters', ()))
    ]
    yield from _render_table(
        'Parameters',
        [
            (
                found['name'],
                found['in'] + (', required' if found.get('required') else ''),
                _say_type(description, found['schema']),
                _say_example(found),
                found.get('description', ''),
            )
            for found in parameters
        ],
    )
    if 'requestBody' in operation:
        content = resolve(description, operation['requestBody'])['content']['application/json']
        yield from _render_table('Body', list(_list_members(description, content['schema'], '')))
        yield from _render_example('An example:', content, 'application/json')
    for status, found in operation['responses'].items():
        response = resolve(description, found)
        yield from ('**%s**: %s' % ('Any other' if status == 'default' else status, response['description']), '')
        if not status.startswith('2'):
            continue
        for kind, content in response.get('content', {}).items():
            if kind == 'application/json' and 'schema' in content:
                yield from _render_table('Answer', list(_list_members(description, content['schema'], '')))
            yield from _render_example('In %s:' % kind, content, kind)


def _render_table(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table of *rows*: a name, words, and a description."""
    if not rows:
        return
    yield from ('.. list-table:: %s' % title, '   :widths: auto', '')
    for name, *words, about in rows:
        yield '   * - ``%s``' % name
        yield from ('     - %s' % word for word in words)
        yield '     - %s' % ' '.join(about.split())
    yield ''


def _render_example(title: str, content: dict[str, Any], kind: str) -> Iterator[str]:
    if 'example' not in content:
        return
    example = content['example']
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    yield from (title, '', '.. code-block:: %s' % ('json' if kind == 'application/json' else 'text'), '')
    yield from ('   ' + line for line in text.splitlines())
    yield ''


def _list_members(description: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[tuple[str, ...]]:
    """Yield (path, whether it is required, type, description) of every member, those of members included."""
    schema = resolve(description, schema)
    if 'items' in schema:
        yield from _list_members(description, schema['items'], path + '[]')
    more = schema.get('additionalProperties')
    members = dict(schema.get('properties', {})) | ({'NAME': more} if isinstance(more, dict) else {})
    for name, found in members.items():
        inner = '%s.%s' % (path, name) if path else name
        words = 'required' if name in schema.get('required', ()) else ''
        about = resolve(description, found).get('description', '')
        yield inner, words, _say_type(description, found), about
        yield from _list_members(description, found, inner)


def _say_type(description: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = resolve(description, schema)
    if 'enum' in schema:
        return ' or '.join('``%s``' % word for word in schema['enum'])
    kinds = schema.get('type', 'anything')
    text = ' or '.join([kinds] if isinstance(kinds, str) else kinds)
    if 'items' in schema and schema['items']:
        text = text.replace('array', 'array of %s' % _say_type(description, schema['items']))
    limits = [
        '%s %s' % (words, schema[name])
        for name, words in (
            ('minimum', 'at least'),
            ('maximum', 'at most'),
            ('maxLength', 'at most, in characters,'),
            ('default', 'by default'),
            ('format', 'as'),
        )
        if name in schema
    ]
    return ', '.join([text, *limits])


def _say_example(parameter: dict[str, Any]) -> str:
    example = parameter.get('example')
    if example is None:
        return ''
    return '``%s``' % (','.join(example) if isinstance(example, list) else example)


def resolve(description: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return *found*, or what its reference stands for."""
    while '$ref' in found:
        target: Any = description
        for part in found['$ref'].removeprefix('#/').split('/'):
            target = target[part]
        found = target
    return found


def setup(app: Any) -> dict[str, Any]:
    app.add_directive('openapi', Openapi)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
