# SPDX-License-Identifier: Apache-2.0
"""``/v1/rating/module_config/pyscripts``: the scripts of the rating module ``pyscripts``.

Whoever gets here may configure modules: :mod:`cloudkitty.api.v1.rating` has asked the policy.

Source: API contract, section 2.7.
"""

import datetime
from typing import Any

import wsme
import wsme.types

from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.rating import dated
from cloudkitty.rating.pyscripts import module
from cloudkitty.rating.pyscripts import store

DATE = types.LocalDate()
END = types.LocalDate(is_end=True)


class Script(wsme.types.Base):
    """A script. Its id, who changed it and when are no business of the caller: what he says is ignored."""

    script_id = types.identifier
    name = wsme.wsattr(types.text, mandatory=True)
    data = types.text
    checksum = wsme.wsattr(types.text, readonly=True)
    created_at = DATE
    start = DATE
    end = END
    description = types.text
    deleted = DATE
    created_by = types.text
    updated_by = types.text
    deleted_by = types.text


class ScriptCollection(wsme.types.Base):
    scripts = [Script]


class ScriptsController(rest.Controller):
    @rest.expose(
        ScriptCollection,
        types.boolean,
        types.boolean,
        DATE,
        END,
        types.text,
        types.text,
        types.text,
        types.text,
        types.boolean,
    )
    def get_all(
        self,
        no_data: bool = False,
        deleted: bool = False,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        created_by: str | None = None,
        updated_by: str | None = None,
        deleted_by: str | None = None,
        description: str | None = None,
        is_active: bool = False,
    ) -> ScriptCollection:
        """Return the scripts that the arguments let through, in the order in which they run."""
        found = rest.deployment()
        wanted = dated.Filter(
            deleted=deleted,
            start=start,
            end=end,
            created_by=created_by,
            updated_by=updated_by,
            deleted_by=deleted_by,
            description=description,
            active_at=_now() if is_active else None,
        )
        scripts = store.list_scripts(found.database, wanted, found.zone)
        return ScriptCollection(scripts=[_show(script, not no_data) for script in scripts])

    @rest.expose(Script, types.text)
    def get_one(self, script_id: str) -> Script:
        """Return a script that is not deleted."""
        return _show(store.get_script(rest.deployment().database, script_id))

    @rest.expose(Script, types.boolean, body=Script, status=201)
    def post(self, force: bool = False, script: Any = None) -> Script:
        """Make a script; with *force* it may start in the past."""
        found = rest.deployment()
        made = store.create_script(found.database, _read(script), rest.caller().actor, _now(), found.zone, force)
        return _announce(made)

    @rest.expose(Script, types.text, body=Script, status=201)
    def put(self, script_id: str, script: Script) -> Script:
        """Change a script; a second request with the same content changes nothing."""
        found = rest.deployment()
        changed = store.update_script(found.database, script_id, _read(script), rest.caller().actor, _now(), found.zone)
        return _announce(changed)

    @rest.expose(None, types.text, status=204)
    def delete(self, script_id: str) -> None:
        """Delete a script: it rates nothing any more."""
        found = rest.deployment()
        store.delete_script(found.database, script_id, rest.caller().actor, _now(), found.zone)
        _tell_processors()


class PyScriptsController(rest.Controller):
    scripts = ScriptsController()


def _now() -> datetime.datetime:
    return datetime.datetime.now(period.UTC)


def _announce(script: store.Script) -> Script:
    """Say in the answer where *script* is, tell the processors, and return it."""
    rest.point_to(script.id)
    _tell_processors()
    return _show(script)


def _tell_processors() -> None:
    """Have the processors read the scripts now; those that do not hear it see the change at their next batch."""
    found = rest.deployment()
    pyscripts = module.PyScripts()
    pyscripts.bind(found.database, found.notifier, found.zone)
    pyscripts.notify_reload()


def _read(script: Script) -> store.ScriptRequest:
    values = {
        name: value
        for name in ('name', 'data', 'start', 'end', 'description')
        if (value := getattr(script, name)) is not wsme.types.Unset
    }
    return store.ScriptRequest(**values)


def _show(script: store.Script, with_data: bool = True) -> Script:
    return Script(
        script_id=script.id,
        name=script.name,
        data=script.data if with_data else wsme.types.Unset,
        checksum=script.checksum,
        created_at=script.created_at,
        start=script.start,
        end=script.end,
        description=script.description,
        deleted=script.deleted,
        created_by=script.created_by,
        updated_by=script.updated_by,
        deleted_by=script.deleted_by,
    )
