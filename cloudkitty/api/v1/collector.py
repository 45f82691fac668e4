# SPDX-License-Identifier: Apache-2.0
"""``/v1/collector``: what releases of old kept about collectors. Deprecated: the processor reads nothing of it.

Source: API contract, section 2.2.
"""

from typing import Any

import wsme
import wsme.types

from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.db import collector_mappings
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.db import texts

#: Before the name of a collector, where states of modules are kept.
_PREFIX = 'collector_'


class ServiceMapping(wsme.types.Base):
    service = types.text
    collector = types.text


class ServiceMappingCollection(wsme.types.Base):
    mappings = [ServiceMapping]


class CollectorState(wsme.types.Base):
    name = types.text
    enabled = wsme.wsattr(types.boolean, mandatory=True)


class MappingsController(rest.Controller):
    @rest.expose(ServiceMappingCollection, types.text, rule='collector:list_mappings')
    def get_all(self, collector: str | None = None) -> ServiceMappingCollection:
        """Return the mappings, of one collector if it is given."""
        found = collector_mappings.list_mappings(_database(), collector or None)
        return ServiceMappingCollection(mappings=[_show(mapping) for mapping in found])

    @rest.expose(ServiceMapping, types.text, rule='collector:get_mapping')
    def get_one(self, service: str) -> ServiceMapping:
        """Return the mapping of a service."""
        return _show(collector_mappings.get_mapping(_database(), service))

    @rest.expose(ServiceMapping, types.text, types.text, rule='collector:manage_mapping', path_of_post=2)
    def post(self, collector: str, service: str) -> ServiceMapping:
        """Map a service to a collector, in place of the one it was mapped to."""
        return _show(collector_mappings.set_mapping(_database(), service, collector))

    @rest.expose(None, types.text, status=204, rule='collector:manage_mapping')
    def delete(self, service: str) -> None:
        """Forget the mapping of a service."""
        collector_mappings.delete_mapping(_database(), service)


class StatesController(rest.Controller):
    @rest.expose(CollectorState, types.text, rule='collector:get_state')
    def get_one(self, name: str) -> CollectorState:
        """Return the state of a collector, disabled where nobody set it."""
        return get_state(name)

    #: The name may be in the query or the body.
    get_all = get_one

    @rest.expose(CollectorState, types.text, body=CollectorState, rule='collector:update_state')
    def put(self, name: str, state: Any) -> CollectorState:
        """Enable or disable a collector of old."""
        return set_state(name, state.enabled)


class CollectorController(rest.Controller):
    _custom_actions = {'states': ['GET', 'PUT']}

    mappings = MappingsController()
    states = StatesController()

    @rest.expose(None, status=204)
    def get_all(self) -> None:
        """There is nothing to say."""

    @rest.expose(CollectorState, types.text, rule='collector:get_state')
    def get_states(self, name: str) -> CollectorState:
        """Return the state of a collector: ``/v1/collector/<name>/states``."""
        return get_state(name)

    @rest.expose(CollectorState, types.text, body=CollectorState, rule='collector:update_state')
    def put_states(self, name: str, state: Any) -> CollectorState:
        """Enable or disable a collector of old: ``/v1/collector/<name>/states``."""
        return set_state(name, state.enabled)


def get_state(name: str) -> CollectorState:
    """Return the state of collector *name*."""
    return CollectorState(name=name, enabled=rating_modules.get_state(_database(), _key(name)).enabled)


def set_state(name: str, enabled: bool) -> CollectorState:
    """Enable or disable collector *name*, and return its state."""
    rating_modules.set_enabled(_database(), _key(name), enabled)
    return get_state(name)


def _key(name: str) -> str:
    if not name:
        raise errors.BadRequest('name: expected the name of a collector.')
    texts.check(_database(), 'name', name, 255 - len(_PREFIX))
    return _PREFIX + name


def _database() -> engine.Database:
    return rest.deployment().database


def _show(mapping: collector_mappings.CollectorMapping) -> ServiceMapping:
    return ServiceMapping(service=mapping.service, collector=mapping.collector)
