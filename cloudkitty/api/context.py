# SPDX-License-Identifier: Apache-2.0
"""What a request is served with: who asks, and what the service works with."""

import dataclasses
import datetime
from typing import Any

from oslo_context import context
from oslo_policy import policy as oslo_policy

from cloudkitty import messaging
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.db import engine
from cloudkitty.rating import chain
from cloudkitty.storage import base


class RequestContext(context.RequestContext):
    """Who asks, by the headers that the authentication middleware has set.

    :ivar is_admin: whether rule ``context_is_admin`` holds; it decides whose data is shown.
    """

    @property
    def actor(self) -> str:
        """The id of the user, for the record of changes."""
        return self.user_id or 'unknown'

    def to_policy_values(self) -> Any:
        """Return the attributes that rules may name, those of files of old included."""
        values = dict(super().to_policy_values())
        values.update(is_admin=self.is_admin, tenant=self.project_id, tenant_id=self.project_id, user=self.user_id)
        return values


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What the service works with; made once, shared by all requests.

    :ivar conf: options.
    :ivar chains: what quotes are priced with.
    :ivar zone: of the naive dates of rules.
    :ivar enforcer: of the policy; None with ``auth_strategy = noauth``.
    """

    conf: Any
    database: engine.Database
    storage: base.BaseStorage
    notifier: messaging.Notifier
    metrics: 'Metrics'
    chains: chain.Cache
    enforcer: oslo_policy.Enforcer | None
    zone: datetime.tzinfo


class Metrics:
    """The metrics file, read when it is first asked for; one that could not be read is tried again.

    What is the collector's in it is not looked at: it is the processor's business.

    :param path: of the file.
    :param scope_key: attribute that names a scope.
    """

    def __init__(self, path: str, scope_key: str) -> None:
        self._path = path
        self._scope_key = scope_key
        self._found: metrics_file.MetricsFile | None = None

    def read(self) -> Any:
        """Return the document as written; raise ConfigurationError if it cannot be read."""
        return self._found.document if self._found is not None else metrics_file.read(self._path)

    def get(self) -> metrics_file.MetricsFile:
        """Return the definitions; raise ConfigurationError if they are wrong or cannot be read."""
        if self._found is None:
            self._found = metrics_file.load(self._path, self._scope_key)
        return self._found
