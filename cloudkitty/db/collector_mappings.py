# SPDX-License-Identifier: Apache-2.0
"""Which collector a service used, as releases of old kept it; nothing but the API reads it any more."""

import dataclasses

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import models
from cloudkitty.db import texts

#: Characters that the columns hold.
LONGEST = 255


@dataclasses.dataclass(frozen=True)
class CollectorMapping:
    service: str
    collector: str


class NoSuchMapping(errors.NotFound):
    def __init__(self, service: str) -> None:
        super().__init__('No collector is mapped to service %s.' % service)


def list_mappings(database: engine.Database, collector: str | None = None) -> list[CollectorMapping]:
    """Return the mappings, of *collector* only if one is given, by service."""
    query = sqlalchemy.select(models.ServiceToCollector).order_by(models.ServiceToCollector.service)
    with database.reader() as session:
        # Compared here: MySQL takes more texts for equal than we do.
        return [
            CollectorMapping(row.service, row.collector)
            for row in session.scalars(query)
            if collector in (None, row.collector)
        ]


def get_mapping(database: engine.Database, service: str) -> CollectorMapping:
    """Return the mapping of *service*; raise NotFound."""
    with database.reader() as session:
        row = _find(session, service)
        return CollectorMapping(row.service, row.collector)


def set_mapping(database: engine.Database, service: str, collector: str) -> CollectorMapping:
    """Map *service* to *collector*, whatever it was mapped to, and return that; raise BadRequest."""
    for member, value in (('service', service), ('collector', collector)):
        if not value:
            raise errors.BadRequest('%s: expected a name.' % member)
        texts.check(database, member, value, LONGEST)

    def run(session: orm.Session) -> CollectorMapping:
        row = session.get(models.ServiceToCollector, service, with_for_update=True)
        if row is None:
            row = models.ServiceToCollector(service=service)
            session.add(row)
        row.collector = collector
        session.flush()
        return CollectorMapping(row.service, row.collector)

    return database.repeat(run)


def delete_mapping(database: engine.Database, service: str) -> None:
    """Forget the mapping of *service*; raise NotFound."""
    database.repeat(lambda session: session.delete(_find(session, service)))


def _find(session: orm.Session, service: str) -> models.ServiceToCollector:
    found = session.get(models.ServiceToCollector, service) if len(service) <= LONGEST else None
    if found is None or found.service != service:
        raise NoSuchMapping(service)
    return found
