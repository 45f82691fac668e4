# SPDX-License-Identifier: Apache-2.0
"""Where scripts are kept, and what may be done to them.

Dates are naive and local to the deployment's zone, as :mod:`cloudkitty.rating.dates` has them; an aware one that comes
in is converted. Every change locks the revision of the rules first, and moves it in the same transaction.

Source: API contract, section 2.7; rating contract, section 6.1.
"""

import dataclasses
import datetime
import hashlib
from typing import Any
import uuid
import zlib

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import rule_actors
from cloudkitty.db import rule_revision
from cloudkitty.db import texts
from cloudkitty.rating import dated
from cloudkitty.rating import dates
from cloudkitty.rating.pyscripts import models

#: Characters that the columns hold, the description's as for mappings.
LONGEST = {'name': 255, 'description': 256}
#: Bytes of compressed source that MySQL's BLOB holds; the same everywhere, so that a database can be moved.
LARGEST = 65535


@dataclasses.dataclass(frozen=True)
class ScriptRequest:
    """What a caller says of a script; None: nothing.

    :ivar start, end: naive and local to the zone, or aware.
    """

    name: str
    data: str | None = None
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    description: str | None = None


@dataclasses.dataclass(frozen=True)
class Script:
    """A script.

    :ivar data: its source; None: what the table has is none.
    :ivar checksum: hexadecimal digest of the source: SHA-512, or SHA-1 where a release of old wrote it.
    :ivar deleted: when it was deleted; None: it was not.
    """

    id: str
    name: str
    data: str | None
    checksum: str
    created_at: datetime.datetime
    start: datetime.datetime
    end: datetime.datetime | None
    description: str | None
    deleted: datetime.datetime | None
    created_by: str
    updated_by: str | None
    deleted_by: str | None


class NoSuchScript(errors.NotFound):
    def __init__(self, script_id: str) -> None:
        super().__init__('No script with id %s.' % script_id)


class NameTaken(errors.Conflict):
    def __init__(self, name: str, script_id: str) -> None:
        super().__init__('A script named %s exists already, with id %s.' % (name, script_id))


def create_script(
    database: engine.Database,
    request: ScriptRequest,
    actor: str,
    now: datetime.datetime,
    zone: datetime.tzinfo,
    force: bool = False,
) -> Script:
    """Make a script that starts *now* unless the request says otherwise.

    :param actor: id of the user who asks.
    :param now: aware.
    :param force: let it start in the past.
    :raises BadRequest: a member makes no sense or is missing.
    :raises Conflict: a script that is not deleted has the name.
    """
    _check(database, request)
    if request.data is None:
        raise errors.BadRequest('data is missing: a script needs its source.')
    data = _compress(request.data)
    end = dates.to_local('end', request.end, zone)
    start = dates.check_new(dates.to_local('start', request.start, zone), end, now, zone, force)
    source = request.data

    def create(session: orm.Session) -> Script:
        _refuse_taken_name(session, request.name)
        _release_name(session, request.name)
        row = models.Script(
            script_id=str(uuid.uuid4()),
            name=request.name,
            data=data,
            checksum=_checksum(source),
            created_at=dates.localise(now, zone),
            start=start,
            end=end,
            description=request.description,
            created_by=actor[: rule_actors.LONGEST],
        )
        session.add(row)
        session.flush()
        rule_actors.note(session, row.script_id, 'created_by', actor)
        return _read(session, row.script_id)

    return rule_revision.change(database, create)


def list_scripts(database: engine.Database, wanted: dated.Filter, zone: datetime.tzinfo) -> list[Script]:
    """Return the scripts that *wanted* lets through, in the order in which they were made and are run."""
    query = dated.narrow(_select(), models.Script, wanted, zone).order_by(models.Script.id)
    with database.reader() as session:
        found = [_to_script(*row) for row in session.execute(query)]
    return [script for script in found if dated.is_wanted(script, wanted, zone)]


def get_script(database: engine.Database, script_id: str) -> Script:
    """Return a script; raise NotFound if there is none, or it is deleted."""
    with database.reader() as session:
        return _read(session, script_id)


def update_script(
    database: engine.Database,
    script_id: str,
    request: ScriptRequest,
    actor: str,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> Script:
    """Change a script to what *request* says, and return it.

    Before it starts, its source, dates and description are changed, whatever else is said; afterwards only its end is
    set, if it has none. What changes nothing is no change, so that a request may be repeated.

    :raises NotFound: there is no such script, or it is deleted.
    :raises BadRequest: a member makes no sense or cannot be changed any more.
    """
    _check(database, request)
    start = dates.to_local('start', request.start, zone)
    end = dates.to_local('end', request.end, zone)

    def update(session: orm.Session) -> Script:
        stored = _read(session, script_id)
        if dates.to_epoch(stored.start, zone) > period.to_epoch(now):
            changes = _plan_before_start(stored, request, start, end, now, zone)
        else:
            changes = _plan_after_start(stored, request, start, end, now, zone)
        if not changes:
            return stored
        row = _get(session, script_id)
        for name, value in changes.items():
            setattr(row, name, value)
        row.updated_by = actor[: rule_actors.LONGEST]
        rule_actors.note(session, script_id, 'updated_by', actor)
        session.flush()
        rule_revision.bump(session)
        return _read(session, script_id)

    return rule_revision.in_turn(database, update)


def delete_script(
    database: engine.Database, script_id: str, actor: str, now: datetime.datetime, zone: datetime.tzinfo
) -> None:
    """Delete a script: it rates nothing any more, and its name may be used again.

    :raises NotFound: there is no such script, or it is deleted already.
    """

    def delete(session: orm.Session) -> None:
        row = _get(session, script_id)
        row.deleted = dates.localise(now, zone)
        row.deleted_by = actor[: rule_actors.LONGEST]
        rule_actors.note(session, script_id, 'deleted_by', actor)

    rule_revision.change(database, delete)


def _plan_before_start(
    stored: Script,
    request: ScriptRequest,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> dict[str, Any]:
    """Return {column: value} of what *request* changes of a script that is not in force yet."""
    start = stored.start if start is None else start
    new = {'start': start, 'end': end, 'description': request.description}
    changes: dict[str, Any] = {name: value for name, value in new.items() if value != getattr(stored, name)}
    if changes:
        dates.check_change(start, end, now, zone)
    if request.data is not None and request.data != stored.data:
        changes.update(data=_compress(request.data), checksum=_checksum(request.data))
    return changes


def _plan_after_start(
    stored: Script,
    request: ScriptRequest,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> dict[str, Any]:
    """Return {column: value} of what *request* changes of a script that was or is in force."""
    given = {
        'name': request.name or None,
        'data': request.data or None,
        'start': start,
        'description': request.description or None,
    }
    changed = [name for name, value in given.items() if value is not None and value != getattr(stored, name)]
    if stored.end is not None:
        if changed or end != stored.end:
            raise dates.Ended('script', stored.id)
        return {}
    if changed:
        raise dates.Started('script', stored.id, changed[0], stored.start)
    if end is None:
        return {}
    dates.check_end(stored.start, end, now, zone)
    return {'end': end}


def _check(database: engine.Database, request: ScriptRequest) -> None:
    if not request.name:
        raise errors.BadRequest('name: a script needs one.')
    for member, longest in LONGEST.items():
        texts.check(database, member, getattr(request, member), longest)


def _compress(source: str) -> bytes:
    data = zlib.compress(source.encode('utf-8'))
    if len(data) > LARGEST:
        raise errors.BadRequest(
            'data: the script takes %d bytes when compressed, at most %d are kept.' % (len(data), LARGEST)
        )
    return data


def _checksum(source: str) -> str:
    return hashlib.sha512(source.encode('utf-8')).hexdigest()


def _select() -> Any:
    actors = rule_actors.RuleActors
    return sqlalchemy.select(models.Script, actors).outerjoin(actors, actors.rule_id == models.Script.script_id)


def _get(session: orm.Session, script_id: str) -> models.Script:
    """Return the row of a script that is not deleted; raise NotFound."""
    # What is no ASCII is no id, and MySQL may refuse to look it up; nor does it tell upper from lower case.
    query = sqlalchemy.select(models.Script).where(models.Script.script_id == script_id)
    found = session.scalars(query).first() if script_id.isascii() else None
    if found is None or found.script_id != script_id or found.deleted is not None:
        raise NoSuchScript(script_id)
    return found


def _read(session: orm.Session, script_id: str) -> Script:
    row = _get(session, script_id)
    return _to_script(row, session.get(rule_actors.RuleActors, script_id))


def _refuse_taken_name(session: orm.Session, name: str) -> None:
    # MySQL takes more texts for equal than we do.
    rows = session.scalars(
        sqlalchemy.select(models.Script).where(models.Script.name == name, models.Script.deleted.is_(None))
    )
    for row in rows:
        if row.name == name:
            raise NameTaken(name, row.script_id)


def _release_name(session: orm.Session, name: str) -> None:
    """Have deleted scripts give *name* back where the table still has the unique of old on it.

    Others left it on SQLite, and their chain gets no revision of ours: the table is taken as it is.
    """
    deleted = sqlalchemy.select(models.Script).where(models.Script.name == name, models.Script.deleted.is_not(None))
    rows = session.scalars(deleted).all()
    if rows and _is_name_unique(session):
        for row in rows:
            # Its id keeps it apart from others of that name.
            row.name = '%s (%s)' % (row.name[: LONGEST['name'] - len(row.script_id) - 3], row.script_id)
        session.flush()


def _is_name_unique(session: orm.Session) -> bool:
    inspector = sqlalchemy.inspect(session.connection())
    table = models.Script.__tablename__
    indexes = [index for index in inspector.get_indexes(table) if index['unique']]
    return any(found['column_names'] == ['name'] for found in (*inspector.get_unique_constraints(table), *indexes))


def _to_script(row: models.Script, actors: rule_actors.RuleActors | None) -> Script:
    def actor(role: str) -> Any:
        return rule_actors.read(actors, row, role)

    try:
        source: str | None = read_source(row.name, row.data)
    except ValueError:
        # It can be shown and deleted all the same.
        source = None
    return Script(
        id=row.script_id,
        name=row.name,
        data=source,
        # Databases of release 25 on MySQL may have none.
        checksum=row.checksum or _checksum(source or ''),
        created_at=row.created_at,
        # Others may have written parts of a second, which rate nothing.
        start=row.start.replace(microsecond=0),
        end=None if row.end is None else row.end.replace(microsecond=0),
        description=row.description,
        deleted=row.deleted,
        created_by=actor('created_by'),
        updated_by=actor('updated_by'),
        deleted_by=actor('deleted_by'),
    )


def read_source(name: str, data: bytes) -> str:
    """Return the source of script *name* as the table has it; raise ValueError if it makes no sense."""
    try:
        return zlib.decompress(data).decode('utf-8') if data else ''
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError('Script "%s" cannot be read from the table: %s' % (name, error)) from error
