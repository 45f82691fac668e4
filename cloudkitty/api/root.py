# SPDX-License-Identifier: Apache-2.0
"""``/``: which versions there are."""

from typing import Any

import pecan
from pecan import routing

from cloudkitty.api.v1 import root as v1


class RootController:
    """Below it are the versions."""

    def __init__(self) -> None:
        self._versions = {'v1': v1.V1Controller()}

    @pecan.expose()
    def _route(self, segments: list[str], request: Any = None) -> Any:
        if not segments or not segments[0]:
            # Whatever is accepted, this is JSON.
            request.pecan['content_type'] = 'application/json'
            return self.list_versions, []
        if segments[0] not in self._versions:
            pecan.abort(404)
        return routing.lookup_controller(self._versions[segments[0]], segments[1:], request)

    @pecan.expose('json')
    def list_versions(self) -> dict[str, Any]:
        """Return the version document, whatever is accepted; everybody may ask for it.

        Source: API contract, section 1.2.
        """
        if pecan.request.method not in ('GET', 'HEAD'):
            pecan.abort(405, headers={'Allow': 'GET, HEAD, OPTIONS'})
        return {'versions': [_describe('v1', 'CURRENT')]}


def _describe(name: str, status: str) -> dict[str, Any]:
    href = '%s/%s' % (pecan.request.host_url, name)
    return {'id': name, 'links': [{'href': href, 'rel': 'self'}], 'status': status}
