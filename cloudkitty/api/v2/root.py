# SPDX-License-Identifier: Apache-2.0
"""``/v2``: which URL is whose. Paths are taken as they are: a slash too many is another path."""

from collections.abc import Mapping
from typing import Any

import pecan
from webob import exc

from cloudkitty.api import middleware
from cloudkitty.api.v2 import adjustments
from cloudkitty.api.v2 import coverage
from cloudkitty.api.v2 import dataframes
from cloudkitty.api.v2 import explain
from cloudkitty.api.v2 import modules
from cloudkitty.api.v2 import reprocesses
from cloudkitty.api.v2 import resource
from cloudkitty.api.v2 import scope
from cloudkitty.api.v2 import summary

#: Path below ``/v2`` to the handler of each method; a segment in braces stands for any text.
ROUTES: Mapping[str, Mapping[str, resource.Handler]] = {
    'scope': {
        'GET': scope.list_scopes,
        'PUT': scope.reset_scopes,
        'POST': scope.create_scope,
        'PATCH': scope.change_scope,
    },
    'adjustments': {'GET': adjustments.list_adjustments, 'PUT': adjustments.decide},
    'coverage': {'GET': coverage.get_coverage},
    'summary': {'GET': summary.get_summary},
    'dataframes': {'GET': dataframes.list_frames, 'POST': dataframes.add_frames},
    'task/reprocesses': {
        'GET': reprocesses.list_tasks,
        'POST': reprocesses.schedule,
        'PATCH': reprocesses.cancel,
    },
    'task/reprocesses/{scope_id}': {'GET': reprocesses.list_tasks_of},
    'explain': {'GET': explain.explain},
    'rating/modules': {'GET': modules.list_modules},
    'rating/modules/{module_id}': {'GET': modules.get_module, 'PUT': modules.update_module},
}


class V2Controller:
    """Finds the handler of a request."""

    def __init__(self) -> None:
        self._routes = [(path.split('/'), handlers) for path, handlers in ROUTES.items()]

    @pecan.expose()
    def _route(self, segments: list[str], request: Any = None) -> Any:
        # Whatever is accepted.
        request.pecan['content_type'] = resource.JSON
        return self.serve, segments

    @pecan.expose(content_type=resource.JSON)
    def serve(self, *segments: str) -> Any:
        """Answer the request."""
        request, response = pecan.request, pecan.response
        response.content_type = resource.JSON
        # As it came: several on the way here drop empty segments.
        path, handlers = self._find(request.environ[middleware.PATH].split('/')[2:])
        methods = sorted({*handlers, 'OPTIONS', *(['HEAD'] if 'GET' in handlers else [])})
        if request.method == 'OPTIONS':
            response.headers['Allow'] = ', '.join(methods)
            # Pecan would make 204 of nothing.
            response.body = b'{}'
            return response
        found = handlers.get('GET' if request.method == 'HEAD' else request.method)
        if found is None:
            raise exc.HTTPMethodNotAllowed(headers={'Allow': ', '.join(methods)})
        found.answer(path, request, response)
        return response

    def _find(self, segments: list[str]) -> tuple[tuple[str, ...], Mapping[str, resource.Handler]]:
        for template, handlers in self._routes:
            if len(template) == len(segments) and all(
                given and (part == given or part.startswith('{'))
                for part, given in zip(template, segments, strict=True)
            ):
                return tuple(given for part, given in zip(template, segments, strict=True) if part != given), handlers
        raise exc.HTTPNotFound('There is nothing at %s.' % pecan.request.path_info)
