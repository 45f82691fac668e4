# SPDX-License-Identifier: Apache-2.0
"""What ``cloudkitty-source-compare`` does: what two sources would bill for one period, side by side."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from decimal import Decimal
from typing import Any

from oslo_config import cfg
import prettytable

from cloudkitty import amount
from cloudkitty import collector
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import service
from cloudkitty import usage
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import service as processor_service
from cloudkitty.rating import chain
from cloudkitty.rating import skips


@dataclasses.dataclass
class Sum:
    """What a source has for one scope and metric: *price* is None where something could not be priced."""

    points: int = 0
    quantity: Decimal = amount.ZERO
    price: Decimal | None = amount.ZERO
    trouble: str = ''


Sums = dict[tuple[str, str], Sum]


def run(conf: Any, database: engine.Database) -> None:
    """Print what both sources would bill; nothing is written.

    :raises Conflict: they differ.
    """
    if not conf.other:
        raise errors.ConfigurationError('--other: expected the configuration file of the other source.')
    other = _read_other(conf)
    length = conf.collect.period
    if other.collect.period != length:
        raise errors.ConfigurationError('[collect] period of both has to be the same.')
    begin = find_begin(conf, length, period.to_epoch(processor_service.now()))
    ids = _list_scopes(conf, other, database)
    if not ids:
        raise errors.ConfigurationError('No scope is rated yet: name some by --scope.')
    names = [conf.collect.collector, other.collect.collector]
    if names[0] == names[1]:
        names[1] = '%s (other)' % names[1]
    found = [sum_up(settings, database, ids, begin, length) for settings in (conf, other)]
    differing = show(names, found[0], found[1], begin, length, conf.differences)
    if differing:
        raise errors.Conflict('%d of %d sums differ.' % (differing, len({*found[0], *found[1]})))


def _read_other(conf: Any) -> Any:
    words = []
    for path in (*(conf.config_file or ()), *conf.other):
        words += ['--config-file', path]
    for path in conf.config_dirs:
        words += ['--config-dir', path]
    return service.prepare_service(words, conf=cfg.ConfigOpts(), program='cloudkitty-source-compare')


def find_begin(conf: Any, length: int, now: int) -> int:
    """Return the begin of the period that *conf* asks for; by default of the last that is due at second *now*.

    Periods are counted from the begin of their month, as those of new scopes are.
    """
    zone = options.zone(conf)
    if not conf.begin:
        first = period.to_epoch(period.month_start(period.from_epoch(now), zone))
        return first + ((now - 1 - first) // length - conf.collect.wait_periods) * length
    try:
        begin = period.to_epoch(period.parse(conf.begin))
    except ValueError as error:
        raise errors.ConfigurationError('--begin: expected an instant such as 2026-06-01T12:00.') from error
    over = (begin - period.to_epoch(period.month_start(period.from_epoch(begin), zone))) % length
    if over:
        raise errors.ConfigurationError(
            '--begin: no period begins then, but one at %s.' % period.from_epoch(begin - over).isoformat()
        )
    return begin


def _list_scopes(conf: Any, other: Any, database: engine.Database) -> list[str]:
    if conf.scope:
        return sorted(set(conf.scope))
    found: set[str] = set()
    for settings in (conf, other):
        identity = scopes.Identity(
            settings.collect.scope_key, settings.fetcher.backend, settings.collect.collector
        )  # fmt: skip
        found.update(state.scope.id for state in scopes.list_states(database, identity, active=True))
    return sorted(found)


def sum_up(conf: Any, database: engine.Database, ids: Sequence[str], begin: int, length: int) -> Sums:
    """Return {(scope id, metric type): :class:`Sum`} of the period from *begin* on, priced by the rules of today.

    What has neither points nor a trouble is left out.
    """
    metrics = processor_service.load_metrics(conf)
    source = collector.load(conf, metrics, None)
    chains = chain.Cache(database, conf, skips=skips.from_options(conf, metrics.metrics), write=False)
    result: Sums = {}
    left = list(ids)
    while left:
        asked = tuple(left[: conf.orchestrator.batch_scopes])
        found = source.collect(usage.Batch(asked, metrics.metrics, begin, length, 1))
        rated = chains.get().price(found)
        for item in rated.columns:
            place = result.setdefault((item.series.scope_id, item.series.metric), Sum())
            place.points += len(item.begins)
            place.quantity = amount.CONTEXT.add(place.quantity, amount.total(item.quantities))
            prices = [price for price in item.prices or () if price is not None]
            if place.price is None or len(prices) < len(item.begins):
                place.price = None
            else:
                place.price = amount.CONTEXT.add(place.price, amount.total(prices))
        for trouble in rated.troubles:
            place = result.setdefault((trouble.scope_id, trouble.metric), Sum())
            place.trouble = '%s: %s' % (trouble.status.value, trouble.error)
        done = set(found.batch.scope_ids)
        left = [scope_id for scope_id in left if scope_id not in done]
    return result


def show(names: Sequence[str], one: Sums, other: Sums, begin: int, length: int, only_differences: bool) -> int:
    """Print the sums side by side; return how many differ."""
    table = prettytable.PrettyTable(
        ['Scope', 'Metric', *('%s %s' % (name, what) for name in names for what in ('points', 'quantity', 'price')), '']
    )
    table.align = 'r'
    table.align['Scope'] = table.align['Metric'] = 'l'
    differing = 0
    for key in sorted({*one, *other}):
        pair = [sums.get(key, Sum()) for sums in (one, other)]
        same = (pair[0].points, pair[0].quantity, pair[0].price) == (pair[1].points, pair[1].quantity, pair[1].price)
        same = same and not any(item.trouble.startswith('failed') for item in pair)
        differing += not same
        if not (same and only_differences):
            cells = [text for item in pair for text in _texts(item)]
            table.add_row([*key, *cells, '' if same else '<>'])
    first, last = (period.from_epoch(second).isoformat(timespec='minutes') for second in (begin, begin + length))
    print('From %s to %s; nothing was written.' % (first, last))
    print(table)
    both = list(zip(names, (one, other), strict=True))
    totals = ['%s %s' % (name, amount.to_text(_total(sums.values()))) for name, sums in both]
    print('Price of all: %s.' % ', '.join(totals))
    for name, sums in both:
        told: dict[tuple[str, str], int] = {}
        for (_, metric), item in sums.items():
            if item.trouble:
                told[metric, item.trouble] = told.get((metric, item.trouble), 0) + 1
        for (metric, text), count in sorted(told.items()):
            print('%s, metric %s, %d scopes: %s' % (name, metric, count, text))
    return differing


def _texts(item: Sum) -> list[str]:
    return [str(item.points), amount.to_text(item.quantity), '-' if item.price is None else amount.to_text(item.price)]


def _total(items: Iterable[Sum]) -> Decimal:
    return amount.total(item.price for item in items if item.price is not None)
