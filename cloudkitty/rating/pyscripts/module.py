# SPDX-License-Identifier: Apache-2.0
"""The rating module ``pyscripts``: it reads the scripts, and the jail runs them.

Source: rating contract, section 6.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy

from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import rule_actors
from cloudkitty.db import rule_revision
from cloudkitty.rating import base
from cloudkitty.rating import dates
from cloudkitty.rating import jail
from cloudkitty.rating.pyscripts import models
from cloudkitty.rating.pyscripts import store

#: Kind of the parts that hold a script in a written rule set.
PART = 'script'


@dataclasses.dataclass(frozen=True)
class Script:
    """A script as the module runs it.

    :ivar start, end: epoch seconds of the window in which it applies; no end: for ever.
    :ivar public_id: None: in rule sets that were written without.
    :ivar created_by: id of the user who made it; None: nobody knows.
    """

    id: int
    name: str
    source: str
    start: int
    end: int | None
    public_id: str | None = None
    created_by: str | None = None

    def is_active(self, begin: int) -> bool:
        return self.start <= begin and (self.end is None or begin < self.end)

    @property
    def checksum(self) -> str:
        """SHA-512 of the source, in hexadecimal digits."""
        return self.program.key

    @property
    def program(self) -> jail.Program:
        return jail.Program('script "%s"' % self.name, self.source)


class PyScripts(base.FrameModule):
    """Prices by scripts, each of which may change everything but the period."""

    module_name = 'pyscripts'
    description = 'PyScripts rating module.'
    hot_config = True
    config_controller = 'cloudkitty.api.v1.pyscripts:PyScriptsController'

    _scripts: tuple[Script, ...] | None = None
    _revision: int | None = None

    @classmethod
    def of(cls, scripts: Iterable[Script], runner: jail.Jail | None) -> 'PyScripts':
        """Return a module of *scripts*, wherever they come from."""
        made = cls()
        made._scripts = tuple(scripts)
        made.jail = runner
        return made

    @property
    def scripts(self) -> tuple[Script, ...]:
        """All scripts, in the order in which they were made, read at the first use."""
        if self._scripts is None:
            self.reload_config()
        assert self._scripts is not None
        return self._scripts

    def reload_config(self, start: datetime.datetime | None = None) -> None:
        """Read the scripts unless nobody changed them; those of every instant, so that *start* does not matter."""
        revision = rule_revision.current(self._bound())
        if self._scripts is not None and revision == self._revision and revision:
            return
        found, self._revision = rule_revision.read_settled(
            self._bound(), revision, lambda: load_scripts(self._bound(), self._zone)
        )
        self._scripts = tuple(found)

    def is_active(self, begin: int, end: int) -> bool:
        """Return whether a script applies to a period that begins in ``[begin, end)``."""
        return any(script.start < end and (script.end is None or begin < script.end) for script in self.scripts)

    def rate(self, entries: Sequence[tuple[str | None, dataframe.DataFrame]]) -> list[dataframe.DataFrame | str]:
        scripts = self.scripts
        programs = [script.program for script in scripts]
        results: list[dataframe.DataFrame | str] = []
        tasks, places = [], []
        for scope_id, frame in entries:
            begin = period.to_epoch(frame.start)
            active = tuple([place for place, script in enumerate(scripts) if script.is_active(begin)])
            if active:
                tasks.append(jail.Task('frame', active, _to_arguments(frame), scope_id))
                places.append(len(results))
            results.append(frame)
        if tasks:
            assert self.jail is not None
            for place, found in zip(places, self.jail.run(programs, tasks), strict=True):
                frame = entries[place][1]
                results[place] = found.text if isinstance(found, jail.Failure) else _to_frame(frame, found)
        return results

    def trace(self, scope_id: str | None, frame: dataframe.DataFrame) -> list[tuple[Script, dataframe.DataFrame | str]]:
        """Return each script that applies to *frame* and what it made of it, or one line on why nothing.

        What scripts hand on to each other is what it is in :meth:`rate`: they run together, once for each of them.
        """
        scripts = self.scripts
        begin = period.to_epoch(frame.start)
        active = [place for place, script in enumerate(scripts) if script.is_active(begin)]
        if not active:
            return []
        arguments = _to_arguments(frame)
        tasks = [jail.Task('frame', tuple(active[: count + 1]), arguments, scope_id) for count in range(len(active))]
        assert self.jail is not None
        results = self.jail.run([script.program for script in scripts], tasks)
        return [
            (scripts[place], found.text if isinstance(found, jail.Failure) else _to_frame(frame, found))
            for place, found in zip(active, results, strict=True)
        ]

    def process(self, data: dataframe.DataFrame) -> dataframe.DataFrame:
        """Return *data* as the scripts leave it; raise ValueError where one fails."""
        (result,) = self.rate([(self._tenant_id, data)])
        if isinstance(result, str):
            raise ValueError(result)
        return result

    def write(self) -> list[tuple[str, dict[str, Any]]]:
        return [(PART, _write(script)) for script in self.scripts]


def _write(script: Script) -> dict[str, Any]:
    written = dataclasses.asdict(script)
    if script.public_id is None:
        # Read from a rule set of before they were written, it is to stay what it is.
        del written['public_id'], written['created_by']
    return written


def read(parts: Iterable[Any]) -> list[Script]:
    """Return the scripts of written *parts*."""
    return [Script(**part) for part in parts]


def load_scripts(database: engine.Database, zone: datetime.tzinfo) -> list[Script]:
    """Return the scripts that are not deleted, in the order in which they were made; one statement.

    :param zone: what their naive dates are local to.
    """
    actors = rule_actors.RuleActors
    query = (
        sqlalchemy.select(models.Script, actors)
        .outerjoin(actors, actors.rule_id == models.Script.script_id)
        .where(models.Script.deleted.is_(None))
        .order_by(models.Script.id)
    )
    with database.reader() as session:
        return [
            Script(
                row.id,
                row.name,
                store.read_source(row.name, row.data),
                dates.to_epoch(row.start, zone),
                None if row.end is None else dates.to_epoch(row.end, zone),
                row.script_id,
                rule_actors.read(whole, row, 'created_by'),
            )
            for row, whole in session.execute(query)
        ]


def _to_arguments(frame: dataframe.DataFrame) -> tuple[Any, ...]:
    usage: dict[str, list[Any]] = {metric: [] for metric in frame.itertypes()}
    for metric, point in frame.iterpoints():
        usage[metric].append((point.unit, point.qty, point.price, dict(point.groupby), dict(point.metadata)))
    return frame.start, frame.end, list(usage.items())


def _to_frame(before: dataframe.DataFrame, found: Any) -> dataframe.DataFrame | str:
    """Return the frame of the points that came back, which a script may have forged; or what is wrong with it."""
    origins = [point for _, point in before.iterpoints()]
    result = dataframe.DataFrame(before.start, before.end)
    try:
        for metric, origin, unit, quantity, price, groupby, metadata in found:
            if not (isinstance(metric, str) and isinstance(unit, str) and isinstance(groupby, dict)):
                raise TypeError('a point of other types')
            if not (isinstance(quantity, Decimal) and isinstance(price, Decimal) and isinstance(metadata, dict)):
                raise TypeError('a point of other types')
            # Scripts do not see descriptions.
            description = None if origin is None else origins[origin].description
            result.add_point(dataframe.DataPoint(unit, quantity, price, groupby, metadata, description), metric)
    except (TypeError, ValueError, IndexError) as error:
        return 'the process of the scripts answered nonsense: %s' % error
    return result
