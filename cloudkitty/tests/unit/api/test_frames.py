# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from cloudkitty import errors
from cloudkitty.api.v2 import frames

PERIOD = {'begin': '2026-06-01', 'end': '2026-06-01T01:00:00'}
POINT = {'vol': {'unit': 'u', 'qty': 1.5}, 'groupby': {'id': 'a'}, 'metadata': {}}


def read(value):
    text = value if isinstance(value, str) else json.dumps(value, indent=1)
    return [
        (frame.start.isoformat(), metric, str(point.qty))
        for frame in frames.read(text)
        for metric, point in frame.iterpoints()
    ]


@pytest.mark.parametrize('order', [('period', 'usage'), ('usage', 'period')])
def test_members_come_in_any_order(order):
    frame = {'period': PERIOD, 'usage': {'fee': [POINT] * 2, 'none': [], 'tax': [POINT]}}
    later = {'period': {'begin': '2026-06-02', 'end': '2026-06-03'}, 'usage': {'fee': [POINT]}}
    expected = [('2026-06-01T00:00:00+00:00', metric, '1.5') for metric in ('fee', 'fee', 'tax')]
    expected.append(('2026-06-02T00:00:00+00:00', 'fee', '1.5'))
    assert read({'dataframes': [{name: frame[name] for name in order}, later]}) == expected


def test_one_frame_needs_no_list():
    assert len(read({'dataframes': {'period': PERIOD, 'usage': {'fee': [POINT]}}})) == 1


def test_many_points_come_in_pieces(monkeypatch):
    monkeypatch.setattr(frames, 'PIECE', 2)
    text = json.dumps({'dataframes': [{'period': PERIOD, 'usage': {'fee': [POINT] * 5, 'tax': [POINT]}}]})
    found = [[metric for metric, _ in frame.iterpoints()] for frame in frames.read(text)]
    assert found == [['fee'] * 2, ['fee'] * 2, ['fee'], ['tax']]


def test_a_frame_without_points_is_a_frame():
    (frame,) = frames.read(json.dumps({'dataframes': [{'period': PERIOD, 'usage': {'fee': []}}]}))
    assert list(frame.iterpoints()) == []


FRAME = json.dumps({'period': PERIOD, 'usage': {'fee': [POINT]}})


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'not valid JSON'),
        ('[]', 'must be a JSON object'),
        ('null', 'must be a JSON object'),
        ('{}', 'dataframes is missing'),
        ('{"dataframes": []}', 'dataframes is missing'),
        ('{"dataframes": null}', r'dataframes\[0\]: null makes no sense'),
        ('{"dataframes": [%s, 1]}' % FRAME, r'dataframes\[1\]: expected a frame to be an object'),
        ('{"dataframes": [%s], "more": 1}' % FRAME, 'no member "more"'),
        ('{"dataframes": [%s], "dataframes": []}' % FRAME, 'dataframes is given more than once'),
        ('{"dataframes": [%s,]}' % FRAME, 'not valid JSON'),
        ('{"dataframes": [%s]' % FRAME, 'not valid JSON'),
        ('{"dataframes": [%s]} x' % FRAME, 'not valid JSON'),
        ('{"dataframes": [%s %s]}' % (FRAME, FRAME), 'not valid JSON'),
        ('{"dataframes": [%s]}' % FRAME.replace('1.5', 'NaN'), 'not valid JSON'),
        ('{"dataframes": [%s]}' % FRAME.replace('1.5', '1e99999999999999999999'), 'not valid JSON'),
        ('{"dataframes": [%s]}' % FRAME.replace('1.5', '[' * 100000), 'not valid JSON'),
        ('{"dataframes": [{"usage": {}, "usage": {}}]}', r'dataframes\[0\]: usage is given more than once'),
        ('{"dataframes": [{"usage": {"a": [], "a": []}}]}', r'dataframes\[0\]: usage.a is given more than once'),
        ('{"dataframes": [{"usage": {"a": [1]}}]}', r'dataframes\[0\]: a frame lacks period'),
        ('{"dataframes": [{"usage": {"a": 1}}]}', r'dataframes\[0\]: expected usage.a to be a list'),
        ('{"dataframes": [{"usage": []}]}', r'dataframes\[0\]: expected usage to be an object'),
        ('{"dataframes": [{"period": {}}]}', r'dataframes\[0\]: period lacks begin'),
        ('{"dataframes": [{1: 2}]}', 'not valid JSON'),
        ('{"dataframes": [{"more": 2}]}', r'dataframes\[0\]: a frame knows no more'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(errors.BadRequest, match=message):
        list(frames.read(text))
