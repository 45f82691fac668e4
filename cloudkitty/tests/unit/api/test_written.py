# SPDX-License-Identifier: Apache-2.0
"""JSON that is written straight from rows is, to the last byte, that of the same answer built of objects."""

import datetime
from decimal import Decimal
import json
from types import SimpleNamespace
import zoneinfo

import hypothesis
from hypothesis import strategies
import pytest
from wsme.rest import json as wsme_json

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v1 import report
from cloudkitty.api.v1 import storage
from cloudkitty.api.v2 import dataframes
from cloudkitty.api.v2 import resource
from cloudkitty.api.v2 import summary

ZONE = zoneinfo.ZoneInfo('Asia/Kolkata')

names = strategies.text(max_size=8)
instants = strategies.datetimes(
    datetime.datetime(2020, 1, 1), datetime.datetime(2030, 1, 1), timezones=strategies.just(datetime.timezone.utc)
)
amounts = strategies.one_of(
    strategies.decimals(-(10**24) + 1, 10**24 - 1, allow_nan=False, allow_infinity=False),
    strategies.decimals(-1000, 1000, places=28),
    strategies.decimals(-1000, 1000, places=40),
    strategies.integers(-(2**54), 2**54).map(Decimal),
    strategies.builds(
        lambda number, exponent: Decimal(number).scaleb(exponent),
        strategies.integers(-(10**6), 10**6),
        strategies.integers(-60, 17),
    ),
    strategies.sampled_from(
        [Decimal(text) for text in ('-0', '-0.0', '0E+3', '0E-40', '1E+3', '1E-28', '1E-29', '-1E-29', '1.0', '1.10')]
        + [Decimal(2**53) + Decimal('0.25'), Decimal('1.0000000000000000000000000001')]
    ),
)
#: What attributes of a series may be.
values = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | names,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
attributes = strategies.dictionaries(names | strategies.just('project_id'), values, max_size=4)
points = strategies.builds(dataframe.DataPoint, names, amounts, amounts, attributes, attributes)
frames = strategies.builds(
    dataframe.DataFrame,
    instants,
    instants,
    strategies.dictionaries(names, strategies.lists(points, min_size=1, max_size=3), max_size=3),
)


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    monkeypatch.setattr(rest, 'deployment', lambda: SimpleNamespace(zone=ZONE))


def several(*arguments):
    """Return :func:`hypothesis.given`, of what takes no fixture of a single example's."""
    checks = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    return lambda test: hypothesis.settings(deadline=None, suppress_health_check=checks)(
        hypothesis.given(*arguments)(test)
    )


def dumps(found):
    """Return the JSON of an answer as version 2 writes it if nobody has a quicker way."""
    return json.dumps(found, default=encode)


def encode(value):
    assert isinstance(value, Decimal)
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


@hypothesis.given(amounts)
def test_amounts_of_v2_are_numbers(value):
    assert resource.write_amount(value) == dumps(value)


@pytest.mark.parametrize('text', ['NaN', 'Infinity', '-Infinity'])
def test_what_is_no_amount_is_written_as_ever(text):
    assert resource.write_amount(Decimal(text)) == dumps(float(text))


@hypothesis.given(amounts)
def test_amounts_of_v1_are_texts_of_28_digits_at_most(value):
    rounded = value.quantize(Decimal(1).scaleb(-28), context=amount.CONTEXT)
    exact = value if rounded == value else rounded if rounded else rounded.copy_abs()
    assert types.decimal_number.tobasetype(value) == format(exact, 'f')


@several(instants, instants, strategies.lists(strategies.tuples(strategies.tuples(names, names), amounts), max_size=4))
def test_summary_of_v1(begin, end, rows):
    built = wsme_json.encode_result(report.make_summary(begin, end, rows), report.Summary)
    assert report.write_summary(begin, end, rows) == built


@several(strategies.lists(frames, max_size=3))
def test_frames_of_v1(found):
    rows = [item for frame in found for item in storage._split(frame, 'project_id')]
    built = wsme_json.encode_result(storage.make_frames(rows), storage.DataFrameCollection)
    assert storage.write_frames(rows) == built


@several(
    strategies.lists(names, unique=True, max_size=4),
    strategies.lists(strategies.lists(names | amounts | instants | values, min_size=4, max_size=4), max_size=4),
)
def test_summary_of_v2(columns, rows):
    found = [dict(zip(columns, row, strict=False)) for row in rows]
    printed = [[show(row[column]) for column in columns] for row in found]
    assert summary.write_lists(columns, found) == dumps(printed)
    objects = [dict(zip(columns, row, strict=True)) for row in printed]
    assert summary.write_objects(columns, found) == dumps(objects)


def show(value):
    if isinstance(value, datetime.datetime):
        return value.astimezone(ZONE).replace(microsecond=0).isoformat()
    return '' if value is None else value


@several(strategies.lists(frames, max_size=3), strategies.booleans())
def test_frames_of_v2(found, twice):
    found = found * 2 if twice else found
    expected = []
    for frame in found:
        when = {'begin': show(frame.start), 'end': show(frame.end)}
        if not expected or expected[-1]['period'] != when:
            expected.append({'period': when, 'usage': {}})
        for metric, point in frame.iterpoints():
            expected[-1]['usage'].setdefault(metric, []).append(point.as_dict(mutable=True))
    assert dataframes.write_frames(found) == dumps(expected)
