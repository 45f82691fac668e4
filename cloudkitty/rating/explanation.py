# SPDX-License-Identifier: Apache-2.0
"""Why stored points cost what they do: their rule set priced them once more, with the reasons.

A price of hashmap alone comes from the point itself. Scripts see all points of a scope and period, so that these are
run again together, as far as they are still what the scripts saw.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import decimal
from decimal import Decimal

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import rule_sets
from cloudkitty.rating import chain as chains
from cloudkitty.rating import jail as jails
from cloudkitty.rating.hashmap import reasons as hashmap
from cloudkitty.rating.pyscripts import module as pyscripts


@dataclasses.dataclass(frozen=True)
class ScriptPrice:
    """The price of a point before and after a script, rounded; None: it was not run once more."""

    script: pyscripts.Script
    before: Decimal | None = None
    after: Decimal | None = None


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a point costs what it does.

    :ivar status: of its cell; None: the ledger does not know it.
    :ivar rule_set: what priced it; None: nobody can tell, or nothing did.
    :ivar price: what the rule set gives today, rounded; None: it was not priced once more.
    :ivar equals: whether that is the stored price; None: it was not priced once more.
    :ivar why: why it was not, or why the two may differ; one sentence.
    """

    status: coverage.Status | None = None
    rule_set: rule_sets.RuleSet | None = None
    reasons: tuple[hashmap.Reason, ...] = ()
    scripts: tuple[ScriptPrice, ...] = ()
    price: Decimal | None = None
    equals: bool | None = None
    why: str | None = None


#: Returns the quantities of a scope and period.
Read = Callable[[], Sequence[series.Columns]]


class Explainer:
    """Explains points of one metric type, scope and period.

    :param runs: what became of the cells of the scope in that period, of any metric type.
    :param read: returns all collected points of the scope in that period; only asked where scripts saw them.
    """

    def __init__(
        self,
        database: engine.Database,
        jail: jails.Jail,
        runs: Sequence[coverage.Run],
        read: Read,
    ) -> None:
        self._database = database
        self._jail = jail
        self._runs = {run.metric: run for run in runs}
        self._read = read
        self._written: dict[str, rule_sets.RuleSet | None] = {}
        self._chains: dict[str, chains.Chain] = {}
        self._replays: dict[str, _FrameReplay | str] = {}

    def explain(self, point: series.Columns) -> Explanation:
        """Return the explanation of *point*, columns of one."""
        of = point.series
        assert point.prices is not None
        if of.origin is series.Origin.PUSHED:
            return Explanation(why='The point was pushed with its price: no rule set priced it.')
        run = self._runs.get(of.metric)
        if run is None:
            return Explanation(why='Nothing is known about how the point was priced.')
        if run.is_imported:
            return Explanation(
                run.status, why='The point was imported from an older release, which did not keep the rules.'
            )
        written = self._load(run.rule_set) if run.rule_set is not None else None
        found = Explanation(run.status, written, scripts=_list_scripts(written, point.begins[0]))
        if point.prices[0] is None:
            return dataclasses.replace(
                found, why='The point has no price yet: a module, script or expression failed on it.'
            )
        if run.rule_set is None:
            return dataclasses.replace(found, why='Nothing is known about how the point was priced.')
        if written is None:
            return dataclasses.replace(found, why='Rule set %s is not there any more.' % run.rule_set)
        opaque = [link['name'] for link in written.body['chain'] if link['opaque']]
        if opaque:
            return dataclasses.replace(
                found, why='Module %s took part, and what modules of others do cannot be replayed.' % ', '.join(opaque)
            )
        try:
            return self._replay(point, point.prices[0], found, self._chain(written))
        except (amount.AmountTooLarge, decimal.DecimalException):
            return dataclasses.replace(found, why='The replayed price is too large to be stored.')

    def _load(self, digest: str) -> rule_sets.RuleSet | None:
        if digest not in self._written:
            try:
                self._written[digest] = rule_sets.load(self._database, digest)
            except errors.NotFound:
                self._written[digest] = None
        return self._written[digest]

    def _chain(self, written: rule_sets.RuleSet) -> chains.Chain:
        if written.digest not in self._chains:
            self._chains[written.digest] = chains.read(written, self._jail)
        return self._chains[written.digest]

    def _replay(self, point: series.Columns, stored: Decimal, found: Explanation, chain: chains.Chain) -> Explanation:
        begin, quantity = point.begins[0], point.quantities[0]
        if not chain.sees_whole_frames(begin, begin + 1):
            # Skip expressions may have dropped others; this one is as the rules saw it.
            price = chain.explain(point.series, begin, quantity).price
            return dataclasses.replace(
                found,
                reasons=tuple(chain.find_reasons(point.series, begin, quantity)),
                price=price,
                equals=price == stored,
                why=None if price == stored else 'The replayed price is not the stored one.',
            )
        if chain.rule_set not in self._replays:
            self._replays[chain.rule_set] = self._replay_frame(chain, point)
        replay = self._replays[chain.rule_set]
        if isinstance(replay, str):
            return dataclasses.replace(found, why=replay)
        place = replay.find(point, stored)
        if place is None:
            return dataclasses.replace(found, why='The point was changed just now.')
        price = replay.prices[place]
        return dataclasses.replace(
            found,
            reasons=tuple(chain.find_reasons(point.series, begin, quantity)),
            scripts=replay.scripts(place),
            price=price,
            equals=price == stored,
            why=None
            if price == stored
            else 'The replayed price is not the stored one. Scripts may go by the order of points or by something '
            'outside, which is not kept.',
        )

    def _replay_frame(self, chain: chains.Chain, point: series.Columns) -> '_FrameReplay | str':
        """Return what the chain makes of the whole frame of *point*, or why that cannot be told."""
        if any(run.altered for run in self._runs.values()):
            return 'A script or skip expression changed more than prices in this period: what it saw is not kept.'
        if {run.rule_set for run in self._runs.values()} - {None, chain.rule_set}:
            return 'Metrics of this period were priced by several rule sets: what the scripts saw cannot be told.'
        points = [
            (column.series, quantity)
            for column in sorted(self._read(), key=lambda column: column.series.metric)
            for quantity in column.quantities
        ]
        begin = period.from_epoch(point.begins[0])
        when = period.of_length(begin, point.length)
        try:
            stages = chain.trace(point.series.scope_id, points, when)
        except chains.Altered:
            return 'A script changes more than prices when it is run again.'
        except chains.ModuleFailed:
            return 'A script fails when it is run again.'
        return _FrameReplay(points, stages)


class _FrameReplay:
    """A frame priced once more.

    :ivar prices: of its points, rounded.
    """

    def __init__(self, points: Sequence[tuple[series.Series, Decimal]], stages: Sequence[chains.Stage]) -> None:
        self._stages = stages
        self.prices = [amount.quantise(price) for price in stages[-1].prices] if stages else [amount.ZERO] * len(points)
        self._places: dict[tuple[bytes, Decimal], list[int]] = {}
        for place, (of, quantity) in enumerate(points):
            self._places.setdefault((of.fingerprint, quantity), []).append(place)

    def find(self, point: series.Columns, stored: Decimal) -> int | None:
        """Return the place of *point*; of several equal ones that of one with the *stored* price, if there is any."""
        places = self._places.get((point.series.fingerprint, point.quantities[0]), [])
        return next((place for place in places if self.prices[place] == stored), places[0] if places else None)

    def scripts(self, place: int) -> tuple[ScriptPrice, ...]:
        result = []
        before = amount.ZERO
        for stage in self._stages:
            after = amount.quantise(stage.prices[place])
            if stage.script is not None:
                result.append(ScriptPrice(stage.script, before, after))
            before = after
        return tuple(result)


def _list_scripts(written: rule_sets.RuleSet | None, begin: int) -> tuple[ScriptPrice, ...]:
    """Return the scripts of a rule set that apply to a period that begins at epoch second *begin*."""
    parts = () if written is None else written.parts
    scripts = pyscripts.read(content for kind, content in parts if kind == pyscripts.PART)
    return tuple(ScriptPrice(script) for script in scripts if script.is_active(begin))
