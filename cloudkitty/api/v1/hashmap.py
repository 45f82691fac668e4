# SPDX-License-Identifier: Apache-2.0
"""``/v1/rating/module_config/hashmap``: the rules of the rating module ``hashmap``.

Whoever gets here may configure modules: :mod:`cloudkitty.api.v1.rating` has asked the policy.

Source: API contract, section 2.6.
"""

import datetime
from decimal import Decimal
from typing import Any

import wsme
import wsme.types

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.db import engine
from cloudkitty.rating.hashmap import mappings
from cloudkitty.rating.hashmap import module
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rows
from cloudkitty.rating.hashmap import services
from cloudkitty.rating.hashmap import thresholds

KINDS = [kind.value for kind in pricing.Kind]
KIND = types.Choice(*KINDS)
COST = types.Amount(rows.COST_DIGITS[1], Decimal(10) ** rows.COST_DIGITS[0], is_exact=True)
#: Clients send what is left of an addition of floats, such as 2.8499999999999996.
LEVEL = types.Amount(thresholds.LEVEL_DIGITS[1], Decimal(10) ** thresholds.LEVEL_DIGITS[0])
DATE = types.LocalDate()
END = types.LocalDate(is_end=True)


class Service(wsme.types.Base):
    service_id = types.identifier
    name = wsme.wsattr(types.text, mandatory=True)


class ServiceCollection(wsme.types.Base):
    services = [Service]


class Field(wsme.types.Base):
    field_id = types.identifier
    name = wsme.wsattr(types.text, mandatory=True)
    service_id = wsme.wsattr(types.identifier, mandatory=True)


class FieldCollection(wsme.types.Base):
    fields = [Field]


class Group(wsme.types.Base):
    group_id = types.identifier
    name = wsme.wsattr(types.text, mandatory=True)


class GroupCollection(wsme.types.Base):
    groups = [Group]


class Mapping(wsme.types.Base):
    """A mapping. Ids of its own, who changed it and when are no business of the caller: what he says is ignored."""

    mapping_id = types.identifier
    value = types.text
    type = KIND
    cost = wsme.wsattr(COST, mandatory=True)
    service_id = types.identifier
    field_id = types.identifier
    group_id = types.identifier
    tenant_id = types.text
    created_at = DATE
    start = DATE
    end = END
    name = types.text
    description = types.text
    deleted = DATE
    created_by = types.text
    updated_by = types.text
    deleted_by = types.text


class MappingCollection(wsme.types.Base):
    mappings = [Mapping]


class Threshold(wsme.types.Base):
    threshold_id = types.identifier
    level = wsme.wsattr(LEVEL, mandatory=True)
    type = KIND
    cost = wsme.wsattr(COST, mandatory=True)
    service_id = types.identifier
    field_id = types.identifier
    group_id = types.identifier
    tenant_id = types.text


class ThresholdCollection(wsme.types.Base):
    thresholds = [Threshold]


class ServicesController(rest.Controller):
    _custom_actions = {'fields': ['GET'], 'mappings': ['GET']}

    @rest.expose(ServiceCollection)
    def get_all(self) -> ServiceCollection:
        """Return every service."""
        return ServiceCollection(services=[_show_service(found) for found in services.list_services(_database())])

    @rest.expose(Service, types.text)
    def get_one(self, service_id: str) -> Service:
        """Return a service."""
        return _show_service(services.get_service(_database(), service_id))

    @rest.expose(Service, body=Service, status=201)
    def post(self, service: Service) -> Service:
        """Make a service."""
        made = services.create_service(_database(), service.name)
        return _announce(made.id, _show_service(made))

    @rest.expose(None, types.text, status=204)
    def delete(self, service_id: str) -> None:
        """Delete a service with all that hangs on it."""
        services.delete_service(_database(), service_id)
        _tell_processors()

    @rest.expose(FieldCollection, types.text)
    def get_fields(self, service_id: str) -> FieldCollection:
        """Return the fields of a service."""
        return _list_fields(service_id)

    @rest.expose(MappingCollection, types.text)
    def get_mappings(self, service_id: str) -> MappingCollection:
        """Return the mappings of the service itself."""
        return _list_mappings(mappings.MappingFilter(service_id=service_id))


class FieldsController(rest.Controller):
    @rest.expose(FieldCollection, types.text)
    def get_all(self, service_id: str) -> FieldCollection:
        """Return the fields of a service; none of an unknown one."""
        return _list_fields(service_id)

    @rest.expose(Field, types.text)
    def get_one(self, field_id: str) -> Field:
        """Return a field."""
        return _show_field(services.get_field(_database(), field_id))

    @rest.expose(Field, body=Field, status=201)
    def post(self, field: Field) -> Field:
        """Make a field."""
        made = services.create_field(_database(), field.service_id, field.name)
        return _announce(made.id, _show_field(made))

    @rest.expose(None, types.text, status=204)
    def delete(self, field_id: str) -> None:
        """Delete a field with its rules."""
        services.delete_field(_database(), field_id)
        _tell_processors()


class GroupsController(rest.Controller):
    _custom_actions = {'mappings': ['GET'], 'thresholds': ['GET']}

    @rest.expose(GroupCollection)
    def get_all(self) -> GroupCollection:
        """Return every group."""
        return GroupCollection(groups=[_show_group(found) for found in services.list_groups(_database())])

    @rest.expose(Group, types.text)
    def get_one(self, group_id: str) -> Group:
        """Return a group."""
        return _show_group(services.get_group(_database(), group_id))

    @rest.expose(Group, body=Group, status=201)
    def post(self, group: Group) -> Group:
        """Make a group."""
        made = services.create_group(_database(), group.name)
        return _announce(made.id, _show_group(made))

    @rest.expose(None, types.text, types.boolean, status=204)
    def delete(self, group_id: str, recursive: bool = False) -> None:
        """Delete a group, with its rules or without."""
        services.delete_group(_database(), group_id, recursive)
        _tell_processors()

    @rest.expose(MappingCollection, types.text)
    def get_mappings(self, group_id: str) -> MappingCollection:
        """Return the mappings of a group."""
        return _list_mappings(mappings.MappingFilter(group_id=group_id))

    @rest.expose(ThresholdCollection, types.text)
    def get_thresholds(self, group_id: str) -> ThresholdCollection:
        """Return the thresholds of a group."""
        return _list_thresholds(rows.Filter(group_id=group_id))


class MappingsController(rest.Controller):
    _custom_actions = {'group': ['GET']}

    @rest.expose(
        MappingCollection,
        types.text,
        types.text,
        types.text,
        types.boolean,
        types.text,
        types.boolean,
        types.boolean,
        DATE,
        DATE,
        types.text,
        types.text,
        types.text,
        types.text,
        types.boolean,
        types.boolean,
    )
    def get_all(
        self,
        service_id: str | None = None,
        field_id: str | None = None,
        group_id: str | None = None,
        no_group: bool = False,
        tenant_id: str | None = None,
        filter_tenant: bool = False,
        deleted: bool = False,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        created_by: str | None = None,
        updated_by: str | None = None,
        deleted_by: str | None = None,
        description: str | None = None,
        is_active: bool = False,
        all: bool = True,
    ) -> MappingCollection:
        """Return the mappings that the arguments let through; without any all that are not deleted."""
        if not all and service_id is field_id is group_id is None:
            raise errors.BadRequest('One of service_id, field_id and group_id is missing.')
        return _list_mappings(
            mappings.MappingFilter(
                service_id=service_id,
                field_id=field_id,
                group_id=group_id,
                no_group=no_group,
                tenant_id=tenant_id,
                filter_tenant=filter_tenant,
                deleted=deleted,
                start=start,
                end=end,
                created_by=created_by,
                updated_by=updated_by,
                deleted_by=deleted_by,
                description=description,
                active_at=_now() if is_active else None,
            )
        )

    @rest.expose(Mapping, types.text)
    def get_one(self, mapping_id: str) -> Mapping:
        """Return a mapping, a deleted one too."""
        return _show_mapping(mappings.get_mapping(_database(), mapping_id))

    @rest.expose(Group, types.text)
    def get_group(self, mapping_id: str) -> Group:
        """Return the group of a mapping."""
        return _show_group(mappings.get_group_of_mapping(_database(), mapping_id))

    @rest.expose(Mapping, types.boolean, body=Mapping, status=201)
    def post(self, force: bool = False, mapping: Any = None) -> Mapping:
        """Make a mapping; with *force* it may start in the past."""
        request = _read_mapping(mapping)
        found = rest.deployment()
        made = mappings.create_mapping(found.database, request, rest.caller().actor, _now(), found.zone, force)
        return _announce(made.id, _show_mapping(made))

    @rest.expose(None, types.text, body=Mapping, status=302)
    def put(self, mapping_id: str, mapping: Mapping) -> None:
        """Change a mapping. A client follows the redirection with the same request: the second changes nothing."""
        found = rest.deployment()
        request = _read_mapping(mapping)
        mappings.update_mapping(found.database, mapping_id, request, rest.caller().actor, _now(), found.zone)
        rest.point_to(mapping_id)
        _tell_processors()

    @rest.expose(None, types.text, status=204)
    def delete(self, mapping_id: str) -> None:
        """Delete a mapping: it rates nothing any more."""
        found = rest.deployment()
        mappings.delete_mapping(found.database, mapping_id, rest.caller().actor, _now(), found.zone)
        _tell_processors()


class ThresholdsController(rest.Controller):
    _custom_actions = {'group': ['GET']}

    @rest.expose(ThresholdCollection, types.text, types.text, types.text, types.boolean, types.text, types.boolean)
    def get_all(
        self,
        service_id: str | None = None,
        field_id: str | None = None,
        group_id: str | None = None,
        no_group: bool = False,
        tenant_id: str | None = None,
        filter_tenant: bool = False,
    ) -> ThresholdCollection:
        """Return the thresholds that the arguments let through; without any all."""
        return _list_thresholds(
            rows.Filter(
                service_id=service_id,
                field_id=field_id,
                group_id=group_id,
                no_group=no_group,
                tenant_id=tenant_id,
                filter_tenant=filter_tenant,
            )
        )

    @rest.expose(Threshold, types.text)
    def get_one(self, threshold_id: str) -> Threshold:
        """Return a threshold."""
        return _show_threshold(thresholds.get_threshold(_database(), threshold_id))

    @rest.expose(Group, types.text)
    def get_group(self, threshold_id: str) -> Group:
        """Return the group of a threshold."""
        return _show_group(thresholds.get_group_of_threshold(_database(), threshold_id))

    @rest.expose(Threshold, body=Threshold, status=201)
    def post(self, threshold: Threshold) -> Threshold:
        """Make a threshold."""
        made = thresholds.create_threshold(_database(), _read_threshold(threshold))
        return _announce(made.id, _show_threshold(made))

    @rest.expose(None, types.text, body=Threshold, status=302)
    def put(self, threshold_id: str, threshold: Threshold) -> None:
        """Replace a threshold. A client follows the redirection with the same request: the second changes nothing."""
        thresholds.update_threshold(_database(), threshold_id, _read_threshold(threshold))
        rest.point_to(threshold_id)
        _tell_processors()

    @rest.expose(None, types.text, status=204)
    def delete(self, threshold_id: str) -> None:
        """Delete a threshold for good."""
        thresholds.delete_threshold(_database(), threshold_id)
        _tell_processors()


class HashMapController(rest.Controller):
    _custom_actions = {'types': ['GET']}

    services = ServicesController()
    fields = FieldsController()
    groups = GroupsController()
    mappings = MappingsController()
    thresholds = ThresholdsController()

    @rest.expose([types.text])
    def get_types(self) -> list[str]:
        """Return the kinds of rules."""
        return KINDS


def _database() -> engine.Database:
    return rest.deployment().database


def _now() -> datetime.datetime:
    return datetime.datetime.now(period.UTC)


def _announce(id_: str, made: Any) -> Any:
    """Say where what was *made* is, tell the processors, and return it."""
    rest.point_to(id_)
    _tell_processors()
    return made


def _tell_processors() -> None:
    """Have the processors read the rules now; those that do not hear it see the change at their next batch."""
    found = rest.deployment()
    hashmap = module.HashMap()
    hashmap.bind(found.database, found.notifier, found.zone)
    hashmap.notify_reload()


def _list_fields(service_id: str) -> FieldCollection:
    return FieldCollection(fields=[_show_field(found) for found in services.list_fields(_database(), service_id)])


def _list_mappings(wanted: mappings.MappingFilter) -> MappingCollection:
    found = rest.deployment()
    rules = mappings.list_mappings(found.database, wanted, found.zone)
    return MappingCollection(mappings=[_show_mapping(rule) for rule in rules])


def _list_thresholds(wanted: rows.Filter) -> ThresholdCollection:
    rules = thresholds.list_thresholds(_database(), wanted)
    return ThresholdCollection(thresholds=[_show_threshold(rule) for rule in rules])


def _show_service(found: services.Service) -> Service:
    return Service(service_id=found.id, name=found.name)


def _show_field(found: services.Field) -> Field:
    return Field(field_id=found.id, name=found.name, service_id=found.service_id)


def _show_group(found: services.Group) -> Group:
    return Group(group_id=found.id, name=found.name)


def _show_mapping(found: mappings.Mapping) -> Mapping:
    return Mapping(
        mapping_id=found.id,
        value=found.value,
        type=found.kind.value,
        cost=found.cost,
        service_id=found.service_id,
        field_id=found.field_id,
        group_id=found.group_id,
        tenant_id=found.tenant_id,
        created_at=found.created_at,
        start=found.start,
        end=found.end,
        name=found.name,
        description=found.description,
        deleted=found.deleted,
        created_by=found.created_by,
        updated_by=found.updated_by,
        deleted_by=found.deleted_by,
    )


def _show_threshold(found: thresholds.Threshold) -> Threshold:
    return Threshold(
        threshold_id=found.id,
        level=found.level,
        type=found.kind.value,
        cost=found.cost,
        service_id=found.service_id,
        field_id=found.field_id,
        group_id=found.group_id,
        tenant_id=found.tenant_id,
    )


def _read_mapping(given: Mapping) -> mappings.MappingRequest:
    return mappings.MappingRequest(
        cost=given.cost,
        kind=_read_kind(given),
        value='' if given.value is wsme.Unset else given.value,
        service_id=given.service_id or None,
        field_id=given.field_id or None,
        group_id=given.group_id or None,
        tenant_id=_or_none(given.tenant_id),
        start=given.start or None,
        end=given.end or None,
        name=given.name or None,
        description=_or_none(given.description),
    )


def _read_threshold(given: Threshold) -> thresholds.ThresholdRequest:
    return thresholds.ThresholdRequest(
        level=given.level,
        cost=given.cost,
        kind=_read_kind(given),
        service_id=given.service_id or None,
        field_id=given.field_id or None,
        group_id=given.group_id or None,
        tenant_id=_or_none(given.tenant_id),
    )


def _read_kind(given: Mapping | Threshold) -> pricing.Kind | None:
    return pricing.Kind(given.type) if given.type else None


def _or_none(value: Any) -> Any:
    return None if value is wsme.Unset else value
