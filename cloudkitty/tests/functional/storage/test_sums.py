# SPDX-License-Identifier: Apache-2.0
"""Reports by anything, over any window, against a sum of the same points in memory; on every server."""

import collections
import dataclasses
from decimal import Decimal
import uuid
import zoneinfo

from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import sqlalchemy

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.storage.sqlalchemy import commit as writing
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.sqlalchemy import reports
from cloudkitty.storage.sqlalchemy import windows
from cloudkitty.tests import effort
from cloudkitty.tests import samples

HOUR = samples.HOUR
#: 2026-05-20T00:00Z: three months begin within the days that follow.
BEGIN = samples.JUNE - 12 * period.DAY
DAYS = 80
WORDS = ['type', 'project_id', 'id', 'colour', *series.CALENDAR]
ZONES = [zoneinfo.ZoneInfo(name) for name in ('UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/St_Johns')]

points = strategies.lists(
    strategies.tuples(
        strategies.sampled_from('pq'),
        strategies.sampled_from(['cpu', 'disk']),
        strategies.sampled_from('ab'),
        strategies.sampled_from([None, 'red', 7]),
        strategies.sampled_from([HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR]),
        strategies.integers(0, DAYS * 24).map(lambda hour: BEGIN + hour * HOUR),
        strategies.sampled_from(['0', '1', '2.5', '0.0000000000000000000000000001']),
    ),
    max_size=40,
)
instants = strategies.integers(-2, DAYS * 24 + 48).map(lambda hour: BEGIN + hour * HOUR)
days = strategies.integers(-1, DAYS + 2).map(lambda day: BEGIN + day * period.DAY)


def add_up(columns, window, groupby):
    """Return {values: [points, quantity, price]} of the points of *columns* that *window* holds, one by one."""
    result = collections.defaultdict(lambda: [0, Decimal(0), Decimal(0)])
    for column in columns:
        words = {'type': column.series.metric, 'project_id': column.series.scope_id}
        for begin, qty, price in zip(column.begins, column.quantities, column.prices, strict=True):
            if window.holds(begin, column.length):
                total = result[tuple(words[word] for word in groupby)]
                total[0] += 1
                total[1] = amount.CONTEXT.add(total[1], qty)
                total[2] = amount.CONTEXT.add(total[2], price)
    return result


def to_columns(found, owner):
    grouped = collections.defaultdict(list)
    for scope_id, metric, id_, colour, length, begin, qty in sorted(found, key=lambda point: point[5]):
        groupby = {'id': id_} if colour is None else {'id': id_, 'colour': colour}
        item = series.Series(owner + scope_id, metric, 'u', groupby, {}, origin=series.Origin.PUSHED)
        grouped[item, length].append((begin, Decimal(qty)))
    for (item, length), values in grouped.items():
        begins, quantities = zip(*values, strict=True)
        yield series.Columns(item, length, begins, quantities, tuple(qty * 3 for qty in quantities))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=strategies.data(), found=points)
def test_every_report_is_the_sum_of_its_points(database, data, found):
    owner = uuid.uuid4().hex
    columns = list(to_columns(found, owner))
    writing.push(database, columns)
    for _ in range(5):
        zone = data.draw(strategies.sampled_from(ZONES))
        groupby = data.draw(strategies.lists(strategies.sampled_from(WORDS), max_size=4, unique=True))
        window = windows.Window(
            data.draw(instants | days), data.draw(instants | days), data.draw(strategies.booleans())
        )
        by_period = data.draw(strategies.booleans())
        filters = data.draw(
            strategies.dictionaries(
                strategies.sampled_from(['colour', 'id', 'month']), strategies.sampled_from(['red', '7', 'a', '6'])
            )
        )
        metrics = data.draw(strategies.sampled_from([None, ['cpu'], ['cpu', 'disk']]))
        scope_ids = data.draw(strategies.sampled_from([[owner + 'p'], [owner + 'p', owner + 'q']]))
        selection = windows.Selection(
            window, scope_ids, metrics, tuple((name, frozenset([text])) for name, text in filters.items())
        )
        expected = collections.defaultdict(lambda: [0, Decimal(0), Decimal(0)])
        for column in columns:
            item = column.series
            for begin, qty, price in zip(column.begins, column.quantities, column.prices, strict=True):
                words = {
                    'type': item.metric,
                    'project_id': item.scope_id,
                    **item.groupby,
                    **series.calendar(period.from_epoch(begin), zone),
                }
                if (
                    item.scope_id in scope_ids
                    and (metrics is None or item.metric in metrics)
                    and window.holds(begin, column.length)
                    and all(str(words.get(name)) == text for name, text in filters.items())
                ):
                    when = (begin, begin + column.length) if by_period else None
                    total = expected[(*(words.get(word) for word in groupby), when)]
                    total[0] += 1
                    total[1] = amount.CONTEXT.add(total[1], qty)
                    total[2] = amount.CONTEXT.add(total[2], price)
        answers = reports.Reports(database, 'project_id', zone)
        rows = answers.sum_up(selection, groupby, by_period)
        assert {(*row.values, row.period): [row.points, row.qty, row.price] for row in rows} == expected
        keys = [([(value is not None, str(value)) for value in row.values], row.period or ()) for row in rows]
        assert keys == sorted(keys)
        offset, limit = data.draw(strategies.integers(0, 10)), data.draw(strategies.none() | strategies.integers(1, 10))
        frames = answers.frames(selection)
        count, page = answers.page(selection, offset, limit)
        assert count == sum(total[0] for total in expected.values())
        wanted = reports.cut(frames, offset, None if limit is None else offset + limit)
        assert [frame.as_dict(mutable=True) for frame in page] == [frame.as_dict(mutable=True) for frame in wanted]


def test_sums_of_the_whole_cloud_by_scope_and_metric_are_those_of_its_points(database):
    found = [
        (scope_id, metric, 'a', None, length, samples.JUNE + (day * 24 + hour) * HOUR, qty)
        for scope_id, metric, length, day, hour, qty in [
            ('p', 'cpu', HOUR, 0, 0, '1'),
            ('p', 'cpu', HOUR, 29, 23, '2.5'),
            ('p', 'disk', HOUR, 14, 7, '0.0000000000000000000000000001'),
            ('q', 'cpu', 72 * HOUR, 28, 0, '7'),
            ('q', 'disk', 24 * HOUR, -1, 6, '9'),
            ('r', 'cpu', HOUR, 30, 0, '11'),
        ]
    ]
    columns = list(to_columns(found, ''))
    writing.push(database, columns)
    answers = reports.Reports(database, 'project_id', period.UTC)
    end = samples.JUNE + 30 * period.DAY
    for first, last, whole in [
        (samples.JUNE, end, False),
        (samples.JUNE, end, True),
        (samples.JUNE + HOUR, end - HOUR, False),
        (samples.JUNE, end + 3 * period.DAY, False),
        (samples.JUNE - 400 * period.DAY, end + 400 * period.DAY, True),
    ]:
        window = windows.Window(first, last, whole)
        for groupby in ([], ['type'], ['project_id'], ['type', 'project_id'], ['project_id', 'type']):
            expected = add_up(columns, window, groupby)
            rows = answers.sum_up(windows.Selection(window), groupby)
            assert [(row.values, [row.points, row.qty, row.price]) for row in rows] == sorted(expected.items())


#: Most end with their day, so that most days need no look at what is in them.
some = strategies.lists(
    strategies.tuples(
        strategies.sampled_from('pq'),
        strategies.sampled_from(['cpu', 'disk']),
        strategies.just('a'),
        strategies.none(),
        strategies.sampled_from([HOUR, HOUR, HOUR, 3 * HOUR, 30 * HOUR]),
        strategies.sampled_from([0, 12, 20, 22, 23, 23]).flatmap(
            lambda hour: strategies.integers(0, 34).map(lambda day: BEGIN + (day * 24 + hour) * HOUR)
        ),
        strategies.sampled_from(['1', '2.5']),
    ),
    max_size=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=strategies.data(), parts=strategies.lists(some, min_size=1, max_size=3))
def test_sums_of_what_ends_in_a_window_are_those_of_its_points(database, data, parts):
    """Whatever is known of points that end after their day; what others have stored does not matter."""
    owner = uuid.uuid4().hex
    with database.writer() as session:
        session.execute(sqlalchemy.delete(models.CrossedMidnight))
    columns = []
    for part in parts:
        columns += to_columns(part, owner)
        writing.push(database, list(to_columns(part, owner)))
    answers = reports.Reports(database, 'project_id', period.UTC)
    for _ in range(4):
        window = windows.Window(data.draw(days), data.draw(days | instants), True)
        selection = windows.Selection(window, [owner + name for name in 'pq'])
        groupby = data.draw(strategies.sampled_from([[], ['type'], ['project_id', 'type']]))
        expected = add_up(columns, window, groupby)
        rows = answers.sum_up(selection, groupby)
        assert [(row.values, [row.points, row.qty, row.price]) for row in rows] == sorted(expected.items())


def test_points_that_have_to_end_in_a_window_cost_a_look_at_days_that_some_end_after(database):
    """As far back as the longest frame is long: every day of a month would be a hundred times as much."""
    hours = range(samples.JUNE, samples.JUNE + 30 * period.DAY, HOUR)
    writing.push(database, [samples.columns('p', begins=tuple(hours))])
    answers = reports.Reports(database, 'project_id', period.UTC)
    selection = windows.Selection(windows.Window(samples.JUNE, samples.JUNE + 30 * period.DAY, True))
    before = answers.sum_up(selection, [])[0]
    assert before.points == 30 * 24
    assert count_bodies(database, answers, selection) == 0
    # From the last but two days of June into July.
    long = dataclasses.replace(samples.columns('q', begins=(samples.JUNE + 28 * period.DAY,)), length=3 * period.DAY)
    writing.push(database, [long])
    assert answers.sum_up(selection, []) == [before]
    # Those of the day on which it begins.
    assert count_bodies(database, answers, selection) == 2
    inside = dataclasses.replace(selection, window=windows.Window(samples.JUNE, samples.JUNE + 31 * period.DAY, True))
    assert answers.sum_up(inside, [])[0].points == 30 * 24 + 1
    # Half past is no good time to begin.
    half = [samples.JUNE + hour * HOUR + HOUR // 2 for hour in range(30 * 24)]
    writing.push(database, [samples.columns('r', begins=tuple(half))])
    assert answers.sum_up(selection, [])[0].points == 30 * 24 * 2 - 1
    assert count_bodies(database, answers, selection) == 2 + 3 + 2


def count_bodies(database, answers, selection):
    """Return how many rows with the periods of a day a report fetches."""
    with effort.note() as noted:
        answers.sum_up(selection, [])
    return effort.measure(database, [item for item in noted if 'body' in item[0]]).fetched
