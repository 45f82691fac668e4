# SPDX-License-Identifier: Apache-2.0
"""``/``: which versions there are."""

from typing import Any

import pecan
from pecan import routing

from cloudkitty.api.v1 import root as v1
from cloudkitty.api.v2 import root as v2


class RootController:
    """Below it are the versions.

    :param has_v2: whether the storage serves v2.
    """

    def __init__(self, has_v2: bool) -> None:
        self._versions: dict[str, Any] = {'v1': v1.V1Controller()}
        if has_v2:
            self._versions['v2'] = v2.V2Controller()

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
        statuses = {'v1': 'CURRENT', 'v2': 'EXPERIMENTAL'}
        return {'versions': [_describe(name, statuses[name]) for name in self._versions]}


def _describe(name: str, status: str) -> dict[str, Any]:
    href = '%s/%s' % (pecan.request.host_url, name)
    return {'id': name, 'links': [{'href': href, 'rel': 'self'}], 'status': status}
