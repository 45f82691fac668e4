# SPDX-License-Identifier: Apache-2.0
"""The routes of the API, read from its controllers: what a test has to know to miss none."""

from collections.abc import Iterator
import dataclasses
import re
from typing import Any

from cloudkitty import plugins
from cloudkitty.api.v1 import rating
from cloudkitty.api.v1 import root
from cloudkitty.api.v2 import root as v2_root
from cloudkitty.rating import chain

#: Other names of the same resources.
ALIASES = ('/v1/billing', '/v1/info/services')
MODULE_CONFIG = '/v1/rating/module_config'


@dataclasses.dataclass(frozen=True)
class Route:
    """Something that can be asked for.

    :ivar path: with a name in braces for each argument in it, such as ``/v1/rating/modules/{module_id}``.
    :ivar rule: of the policy; None: a token is enough.
    :ivar arguments: names of those that the handler takes, the body's apart.
    :ivar body: WSME type of the body, None: it takes none.
    :ivar status: of the answer to a good request.
    """

    method: str
    path: str
    rule: str | None
    arguments: tuple[str, ...]
    body: Any
    result: Any
    status: int

    @property
    def name(self) -> str:
        return '%s %s' % (self.method, self.path)


def list_routes() -> list[Route]:
    """Return every route of v1, by path; those of installed rating modules too, aliases apart."""
    found = list(_walk(root.V1Controller(), '/v1', None))
    for name, module in plugins.load_all(chain.NAMESPACE).items():
        controller = getattr(module, 'config_controller', None)
        if controller is not None:
            made = rating.load_controller(controller)()
            found += _walk(made, '%s/%s' % (MODULE_CONFIG, name), 'rating:module_config')
    return sorted(found, key=lambda route: (route.path, route.method))


def list_v2_routes() -> list[Route]:
    """Return every route of v2; bodies are what :mod:`parameters` reads, results JSON."""
    return [
        Route(
            method,
            '/v2/%s' % path,
            handler.rule,
            (
                *re.findall(r'{(\w+)}', path),
                *handler.query,
                *([handler.others] if handler.others else []),
                *handler.headers,
            ),
            handler.body,
            None if handler.status == 204 else dict,
            handler.status,
        )
        for path, handlers in sorted(v2_root.ROUTES.items())
        for method, handler in sorted(handlers.items())
    ]


def _walk(controller: Any, path: str, guard: str | None) -> Iterator[Route]:
    actions = getattr(controller, '_custom_actions', {})
    for name in dir(controller):
        value = getattr(controller, name)
        if name.startswith('_') or '%s/%s' % (path, name) in ALIASES:
            continue
        if getattr(value, 'exposed', False):
            yield from _describe(name, value, path, actions, guard)
        elif hasattr(value, '_route') and not isinstance(value, type):
            yield from _walk(value, '%s/%s' % (path, name), guard)


def _describe(name: str, handler: Any, path: str, actions: Any, guard: str | None) -> Iterator[Route]:
    definition = handler._wsme_definition
    arguments = [argument.name for argument in definition.arguments]
    body = None
    if definition.body_type is not None:
        body = definition.arguments[-1].datatype
        arguments = arguments[:-1]
    verb, _, action = name.partition('_')
    if name in ('get_all', 'post'):
        method = 'GET' if name == 'get_all' else 'POST'
    elif name in ('get_one', 'put', 'delete'):
        method = 'GET' if name == 'get_one' else name.upper()
        path += '/{%s}' % arguments[0]
    else:
        action = action if action in actions else name
        method = verb.upper() if action != name else actions[action][0]
        # It hangs off the object that its argument names.
        is_required = bool(definition.arguments) and definition.arguments[0].mandatory
        path += '/{%s}/%s' % (arguments[0], action) if is_required else '/%s' % action
    yield Route(
        method,
        path,
        handler.rule or guard,
        tuple(arguments),
        body,
        definition.return_type,
        definition.status_code,
    )
