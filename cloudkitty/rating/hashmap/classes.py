# SPDX-License-Identifier: Apache-2.0
"""Classes of what rules look at: values that the same rules apply to are one, whatever the scope and the instant.

A class holds what its rules come to, group by group, and says nothing of where they are from: scopes with prices of
their own have other classes for the values that these are for, and share all others, and what is made of them.
"""

import bisect
from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Sequence
import decimal
from decimal import Decimal
from typing import Any

from cloudkitty.rating.hashmap import pricing

#: How many values a service keeps the classes of, over all tables, and how many classes.
CACHE = 50000

#: In place of the value of an attribute that is not there.
MISSING: Any = object()


class Effect:
    """What the rules of one group come to for a class, or for several together.

    :ivar flat, rate: the largest flat cost and the product of the rates of mappings.
    :ivar kept: the threshold of a field that holds.
    :ivar base: the factor of the quantity without *kept*, for where a threshold of the service takes its place.
    :ivar factor: that with *kept*.
    """

    __slots__ = ('group', 'flat', 'rate', 'kept', 'base', 'factor')

    def __init__(self, group: str, flat: Decimal, rate: Decimal, kept: pricing.Threshold | None) -> None:
        self.group = group
        self.flat = flat
        self.rate = rate
        self.kept = kept
        self.base, _ = pricing.combine(flat, rate, None, True)
        self.factor = self.base if kept is None else pricing.combine(flat, rate, kept, True)[0]

    def join(self, later: 'Effect') -> 'Effect':
        """Return what it comes to together with that of a *later* field."""
        kept = self.kept
        # Of equal levels that of the first field.
        if kept is None or (later.kept is not None and later.kept.level > kept.level):
            kept = later.kept
        rate = pricing.EXACT.multiply(self.rate, later.rate)
        return Effect(self.group, max(self.flat, later.flat), rate, kept)


class Class:
    """What values of one class, or quantities between two levels, are charged by.

    :ivar effects: one a group.
    :ivar reached: the threshold of the service that holds, by group.
    """

    __slots__ = ('effects', 'reached')

    def __init__(self, effects: tuple[Effect, ...], reached: tuple[tuple[str, pricing.Threshold], ...] = ()) -> None:
        self.effects = effects
        self.reached = reached


#: The class of what no rule looks at.
NOTHING = Class(())


class Pool:
    """The classes of a service: of equal rules there is one."""

    __slots__ = ('_classes', '_tables', '_kept')

    def __init__(self) -> None:
        self._classes: dict[Any, Class] = {}
        self._tables: set[Table] = set()
        self._kept = 0

    def count(self, table: 'Table') -> None:
        """Count a value that *table* is about to keep; have all tables forget theirs if that were too many."""
        if self._kept >= CACHE:
            self._kept = 0
            tables, self._tables = self._tables, set()
            for other in tables:
                other.known.clear()
        self._kept += 1
        self._tables.add(table)

    def get(
        self,
        mappings: Sequence[pricing.Mapping],
        kept: Sequence[tuple[str, pricing.Threshold]] = (),
        reached: tuple[tuple[str, pricing.Threshold], ...] = (),
    ) -> Class:
        """Return the class of what *mappings*, one a group, and thresholds apply to.

        :param kept: of fields: the one that holds, by group.
        :param reached: the same of the service.
        """
        if not (mappings or kept or reached):
            return NOTHING
        # Rules of the same costs come to the same, whatever their ids.
        content = (
            frozenset([(rule.group, rule.kind.value, rule.cost) for rule in mappings]),
            frozenset([(group, rule.level, rule.kind.value, rule.cost) for group, rule in kept]),
            frozenset([(group, rule.level, rule.kind.value, rule.cost) for group, rule in reached]),
        )
        found = self._classes.get(content)
        if found is None:
            if len(self._classes) >= CACHE:
                self._classes.clear()
            # Of threads that come at once each makes one, and one of them is kept.
            found = self._classes.setdefault(content, Class(_effects(mappings, kept), reached))
        return found


def _effects(mappings: Iterable[pricing.Mapping], kept: Sequence[tuple[str, pricing.Threshold]]) -> tuple[Effect, ...]:
    thresholds = dict(kept)
    result = []
    for rule in mappings:
        threshold = thresholds.pop(rule.group, None)
        if rule.kind is pricing.Kind.FLAT:
            result.append(Effect(rule.group, max(pricing.ZERO, rule.cost), pricing.ONE, threshold))
        else:
            result.append(Effect(rule.group, pricing.ZERO, rule.cost, threshold))
    result += [Effect(group, pricing.ZERO, pricing.ONE, threshold) for group, threshold in thresholds.items()]
    return tuple(result)


class Ladder:
    """Thresholds of a service or of a field, and which of them hold from level to level.

    :ivar levels: of all groups, ascending.
    """

    __slots__ = ('levels', '_groups')

    def __init__(self, thresholds: Iterable[pricing.Threshold]) -> None:
        """Set up the ladder; of *thresholds* of the same group and level the last counts."""
        found: dict[str, dict[Decimal, pricing.Threshold]] = {}
        for threshold in thresholds:
            if threshold.level > pricing.BOTTOM:
                found.setdefault(threshold.group, {})[threshold.level] = threshold
        self.levels = tuple(sorted({level for cells in found.values() for level in cells}))
        self._groups = [
            (group, sorted(cells), [cells[level] for level in sorted(cells)]) for group, cells in found.items()
        ]

    def at(self, index: int) -> tuple[tuple[str, pricing.Threshold], ...]:
        """Return the thresholds that hold from level *index* - 1 up to level *index*, by group."""
        if not index:
            return ()
        level = self.levels[index - 1]
        result = []
        for group, levels, thresholds in self._groups:
            place = bisect.bisect_right(levels, level)
            if place:
                result.append((group, thresholds[place - 1]))
        return tuple(result)


class Head:
    """The rules of a service itself; their classes follow the quantity.

    :ivar levels: of the thresholds, ascending.
    :ivar classes: class i holds from level i - 1 up to level i; None: not made yet.
    """

    __slots__ = ('levels', 'classes', '_mappings', '_ladder', '_pool')

    def __init__(self, mappings: Sequence[pricing.Mapping], ladder: Ladder, pool: Pool) -> None:
        self.levels = ladder.levels
        self.classes: list[Class | None] = [None] * (len(ladder.levels) + 1)
        self._mappings = mappings
        self._ladder = ladder
        self._pool = pool

    def make(self, index: int) -> Class:
        """Make, keep and return class *index*."""
        found = self.classes[index] = self._pool.get(self._mappings, reached=self._ladder.at(index))
        return found


class Table:
    """The classes of the values of a field for a scope and a stretch of time.

    :ivar known: of values that came before: of texts, and of others by their type and text. 1, 1.0 and True are equal
        keys but three texts, and True is a number that its text is not.
    """

    __slots__ = ('name', 'known', '_find', '_ladder', '_pool', '_warn', '_by_level', '_common', '_own')

    def __init__(
        self,
        name: str,
        find: Callable[[str], Sequence[pricing.Mapping]],
        ladder: Ladder,
        pool: Pool,
        warn: Callable[[str], None],
        common: 'Table | None' = None,
        own: Container[str] = (),
    ) -> None:
        """Set up the table of field *name*.

        :param find: gives the mappings of a text, one a group.
        :param warn: is called with *name* where a value is no number, and thresholds want one.
        :param common: has the same classes but of the texts that *own* has; None: no table has.
        """
        self.name = name
        self.known: dict[Any, Class] = {}
        self._find = find
        self._ladder = ladder
        self._pool = pool
        self._warn = warn
        self._by_level: dict[int, Class] = {}
        self._common = common
        self._own = own

    def classify(self, value: Any) -> Class:
        """Return the class of *value*, which may be :data:`MISSING`."""
        if value is MISSING:
            return NOTHING
        is_text = value.__class__ is str
        text = value if is_text else str(value)
        levels = self._ladder.levels
        key = text if is_text or not levels else (value.__class__, text)
        found = self.known.get(key)
        if found is not None:
            return found
        if self._common is not None and text not in self._own:
            found = self._common.known.get(key) or self._common.classify(value)
        elif levels:
            number = parse_number(value)
            if number is None:
                self._warn(self.name)
            index = 0 if number is None else bisect.bisect_right(levels, number)
            mappings = self._find(text)
            found = self._pool.get(mappings, self._ladder.at(index)) if mappings else self._at(index)
        else:
            found = self._pool.get(self._find(text))
        # What no rule looks at takes no room; that no level is reached was worth finding out.
        if levels or found is not NOTHING:
            self._pool.count(self)
            self.known[key] = found
        return found

    def _at(self, index: int) -> Class:
        found = self._by_level.get(index)
        if found is None:
            found = self._by_level[index] = self._pool.get((), self._ladder.at(index))
        return found


def parse_number(value: object) -> Decimal | None:
    """Return the number that thresholds compare, or None for what is none; a float by its shortest text.

    Source: rating contract, section 5.4 and verdict R6.
    """
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)  # type: ignore[arg-type]
    except (decimal.InvalidOperation, TypeError, ValueError):
        return None
    return None if number.is_nan() else number


class Part:
    """The rules of a service itself, or of a field, by whom they are for; None: everybody.

    :ivar mappings: by value ('' of the service's), in the order of their ids.
    :ivar dates: epoch seconds at which they change, ascending.
    """

    __slots__ = ('name', 'mappings', 'thresholds', 'dates', '_ladders')

    def __init__(
        self, name: str | None, mappings: Iterable[pricing.Mapping], thresholds: Iterable[pricing.Threshold]
    ) -> None:
        """Set up the part.

        :param name: of the field; None: the service itself.
        """
        self.name = name or ''
        self.mappings: dict[str | None, dict[str, list[pricing.Mapping]]] = {}
        self.thresholds: dict[str | None, list[pricing.Threshold]] = {}
        dates: dict[str | None, set[int]] = {}
        for mapping in sorted(mappings, key=pricing.BY_ID):
            value = '' if name is None else mapping.value or ''
            self.mappings.setdefault(mapping.tenant, {}).setdefault(value, []).append(mapping)
            dates.setdefault(mapping.tenant, set()).add(mapping.start)
            if mapping.end is not None:
                dates[mapping.tenant].add(mapping.end)
        for threshold in sorted(thresholds, key=pricing.BY_ID):
            self.thresholds.setdefault(threshold.tenant, []).append(threshold)
        self.dates = {tenant: sorted(found) for tenant, found in dates.items()}
        self._ladders: dict[str | None, Ladder] = {}

    @property
    def tenants(self) -> set[str]:
        """Who has rules of its own; points without a scope have none."""
        return {tenant for tenant in (*self.mappings, *self.thresholds) if tenant}

    def has_any(self, tenant: str | None) -> bool:
        """Return whether there are rules for *tenant* alone."""
        return tenant in self.mappings or tenant in self.thresholds

    def window(self, tenant: str | None, begin: int) -> int:
        """Return the number of the stretch of time of *begin* in which the rules for *tenant* alone do not change."""
        return bisect.bisect_right(self.dates.get(tenant, ()), begin)

    def has_active(self, tenant: str | None, begin: int) -> bool:
        """Return whether any rule for *tenant* alone holds at *begin*."""
        if tenant in self.thresholds:
            return True
        found = self.mappings.get(tenant, {})
        return any(pricing.is_active(mapping, begin) for same in found.values() for mapping in same)

    def finder(self, tenant: str | None, begin: int) -> Callable[[str], Sequence[pricing.Mapping]]:
        """Return the function of a value that gives its mappings for *tenant* at *begin*, one a group."""
        layers = [self.mappings[layer] for layer in dict.fromkeys([None, tenant]) if layer in self.mappings]

        def find(value: str) -> Sequence[pricing.Mapping]:
            cells = {}
            for layer in layers:
                for mapping in layer.get(value, ()):
                    if pricing.is_active(mapping, begin):
                        cells[mapping.group] = mapping
            return tuple(cells.values())

        return find

    def ladder(self, tenant: str | None) -> Ladder:
        """Return the thresholds for *tenant*: those of everybody, replaced level by level by its own."""
        mine = tenant if tenant in self.thresholds else None
        found = self._ladders.get(mine)
        if found is None:
            thresholds = self.thresholds.get(None, [])
            if mine is not None:
                thresholds = thresholds + self.thresholds[mine]
            found = self._ladders[mine] = Ladder(thresholds)
        return found
