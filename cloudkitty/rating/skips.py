# SPDX-License-Identifier: Apache-2.0
"""``skip_datapoints_expression``: which rated points are left out.

Expressions are evaluated where scripts run, on whole batches.

Source: rating contract, section 7.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from oslo_log import log

from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage as usages
from cloudkitty.rating import jail as jails
from cloudkitty.rating import troubles

LOG = log.getLogger(__name__)

#: Expressions that leave nothing out, and are not worth being evaluated.
_NEVER = ('', 'False', 'None', '0')

#: Points that are looked at in one exchange with a child.
_TOGETHER = 20000


@dataclasses.dataclass(frozen=True)
class Skips:
    """The expression of each metric type.

    :ivar default: of the types that have none of their own.
    """

    default: str = 'False'
    by_type: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether any leaves something out."""
        return any(expression not in _NEVER for expression in (self.default, *self.by_type.values()))

    def of(self, metric: str) -> str | None:
        """Return the expression of metric type *metric*; None: nothing of it is left out."""
        expression = self.by_type.get(metric, self.default)
        return None if expression in _NEVER else expression

    def write(self) -> dict[str, Any] | None:
        """Return the written form, ready for JSON; None if nothing is left out."""
        return {'default': self.default, 'metrics': dict(self.by_type)} if self else None


def read(written: Mapping[str, Any] | None) -> Skips:
    """Return the expressions of a written form."""
    return Skips(written['default'], written['metrics']) if written else Skips()


def from_options(conf: Any, definitions: Iterable[metrics.Metric]) -> Skips:
    """Return the expressions of *definitions*, with that of [orchestrator] for the others.

    Raises ConfigurationError for one that is no Python expression, and for two definitions of a type that differ.
    """
    default = conf.orchestrator.skip_datapoints_expression.strip()
    _check('[orchestrator]', default)
    by_type: dict[str, str] = {}
    for definition in definitions:
        own = definition.skip_expression
        expression = default if own is None else own.strip()
        where = '%s: metric %s' % (conf.collect.metrics_conf, definition.key)
        _check(where, expression)
        if by_type.setdefault(definition.type, expression) != expression:
            raise errors.ConfigurationError(
                '%s: skip_datapoints_expression: another metric of type %s has another one' % (where, definition.type)
            )
    return Skips(default, {name: text for name, text in by_type.items() if text != default})


def _check(where: str, expression: str) -> None:
    try:
        if expression not in _NEVER:
            # It is not run here.
            compile(expression, '<expression>', 'eval', dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = getattr(error, 'msg', str(error))
        raise errors.ConfigurationError(
            '%s: skip_datapoints_expression: expected a Python expression: %s' % (where, text)
        ) from error


def apply(
    skips: Skips, rated: usages.Rated, jail: jails.Jail, zone: datetime.tzinfo, pause: Callable[[], None]
) -> usages.Rated:
    """Return *rated* without the points that *skips* leaves out, which are counted.

    A cell with a point that an expression fails on is UNRATED, with all of its points.
    """
    programs: dict[str, int] = {}
    chosen: list[tuple[int, jails.Task, str, list[int]]] = []
    words: dict[int, dict[str, str]] = {}
    for place, columns in enumerate(rated.columns):
        expression = skips.of(columns.series.metric)
        if expression is None or columns.prices is None:
            continue
        program = programs.setdefault(expression, len(programs))
        points, numbers = [], []
        for number, (begin, quantity, price) in enumerate(
            zip(columns.begins, columns.quantities, columns.prices, strict=True)
        ):
            if price is not None:
                if begin not in words:
                    words[begin] = series.calendar(period.from_epoch(begin), zone)
                points.append((quantity, price, words[begin]))
                numbers.append(number)
        if not points:
            continue
        of = columns.series
        arguments = (of.unit, dict(of.groupby), dict(of.metadata), points)
        chosen.append((place, jails.Task('skip', (program,), arguments, of.scope_id), of.metric, numbers))
    if not chosen:
        return rated
    titles = [jails.Program('skip_datapoints_expression', expression) for expression in programs]
    verdicts: dict[int, dict[int, bool]] = {}
    failed: dict[str, set[troubles.Cell]] = {}
    for group in _in_groups(chosen):
        results = jail.run(titles, [task for _, task, _, _ in group])
        pause()
        for (place, _, metric, numbers), result in zip(group, results, strict=True):
            of, begins = rated.columns[place].series, rated.columns[place].begins
            if not isinstance(result, jails.Failure) and not _is_answer(result, len(numbers)):
                result = jails.Failure('skip_datapoints_expression: its process answered nonsense')
            if isinstance(result, jails.Failure):
                text = 'Metric %s: %s' % (metric, result.text)
                cells = {(of.scope_id, metric, begins[number]) for number in numbers}
                failed.setdefault(text, set()).update(cells)
                continue
            verdict = verdicts[place] = {}
            for number, answer in zip(numbers, result, strict=True):
                if isinstance(answer, str):
                    text = 'Metric %s: skip_datapoints_expression: %s' % (metric, answer)
                    failed.setdefault(text, set()).add((of.scope_id, metric, begins[number]))
                else:
                    verdict[number] = answer
    return _settle(rated, verdicts, failed)


def _in_groups(chosen: list[tuple[int, jails.Task, str, list[int]]]) -> Iterable[list[Any]]:
    group: list[Any] = []
    count = 0
    for entry in chosen:
        group.append(entry)
        count += len(entry[3])
        if count >= _TOGETHER:
            yield group
            group, count = [], 0
    if group:
        yield group


def _is_answer(result: Any, count: int) -> bool:
    return isinstance(result, list) and len(result) == count and all(isinstance(item, bool | str) for item in result)


def _settle(
    rated: usages.Rated, verdicts: Mapping[int, Mapping[int, bool]], failed: Mapping[str, set[troubles.Cell]]
) -> usages.Rated:
    unrated = {cell for cells in failed.values() for cell in cells}
    found = list(rated.troubles)
    for text, cells in failed.items():
        LOG.error('%d cells are not rated, to be rated when the rules change: %s', len(cells), text)
        found += troubles.unrated(cells, rated.batch.length, text)
    result = []
    skipped = dict(rated.skipped)
    for place, columns in enumerate(rated.columns):
        of = columns.series
        gone = set()
        for number, is_skipped in verdicts.get(place, {}).items():
            cell = (of.scope_id, of.metric, columns.begins[number])
            if is_skipped and cell not in unrated:
                skipped[cell] = skipped.get(cell, 0) + 1
                gone.add(number)
        columns = troubles.without_prices(columns, unrated) if unrated else columns
        if len(gone) < len(columns.begins):
            result.append(_without_points(columns, gone) if gone else columns)
    return dataclasses.replace(rated, columns=result, troubles=found, skipped=skipped)


def _without_points(columns: series.Columns, gone: set[int]) -> series.Columns:
    def keep(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([value for number, value in enumerate(values) if number not in gone])

    flags = None if columns.unpriced is None else keep(columns.unpriced)
    return series.Columns(
        columns.series,
        columns.length,
        keep(columns.begins),
        keep(columns.quantities),
        None if columns.prices is None else keep(columns.prices),
        flags if flags and any(flags) else None,
    )
