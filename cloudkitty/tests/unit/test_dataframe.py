# SPDX-License-Identifier: Apache-2.0
import datetime
from decimal import Decimal

import pytest

from cloudkitty import dataframe

BEGIN = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)
END = BEGIN + datetime.timedelta(hours=1)
POINT = dataframe.DataPoint('GiB', '1.5', 0.1, {'id': 'a'}, {'type': 'ssd'}, 'text')


def test_amounts_become_decimals_by_their_text():
    assert (POINT.qty, POINT.price) == (Decimal('1.5'), Decimal('0.1'))


def test_an_empty_unit_is_undefined():
    assert dataframe.DataPoint('', 1, 0, {}, {}).unit == 'undefined'


def test_a_point_cannot_be_changed():
    with pytest.raises(AttributeError):
        POINT.price = Decimal(1)
    with pytest.raises(TypeError):
        POINT.groupby['id'] = 'b'
    assert POINT.set_price(2).price == 2
    assert POINT.price == Decimal('0.1')


def test_desc_lays_groupby_over_metadata():
    assert dataframe.DataPoint('x', 1, 0, {'a': 1}, {'a': 2, 'b': 3}).desc == {'a': 1, 'b': 3}


@pytest.mark.parametrize('legacy', [False, True])
def test_a_point_comes_back_from_its_dictionary(legacy):
    again = dataframe.DataPoint.from_dict(POINT.as_dict(legacy), legacy)
    assert (again.unit, again.qty, again.price, again.desc) == (POINT.unit, POINT.qty, POINT.price, POINT.desc)


@pytest.mark.parametrize(
    'value',
    [
        {},
        {'vol': {}, 'groupby': {}, 'metadata': {}},
        {'vol': {'unit': 'x', 'qty': 'many'}, 'groupby': {}, 'metadata': {}},
        {'vol': {'unit': 1, 'qty': 1}, 'groupby': {}, 'metadata': {}},
        {'vol': {'unit': 'x', 'qty': 1}, 'groupby': {}},
        {'vol': {'unit': 'x', 'qty': 1}, 'groupby': {}, 'metadata': {}, 'more': 1},
        [],
        None,
    ],
)
def test_a_wrong_dictionary_is_a_value_error(value):
    with pytest.raises(ValueError, match='is not a data'):
        dataframe.DataPoint.from_dict(value)
    with pytest.raises(ValueError, match='is not a data'):
        dataframe.DataFrame.from_dict({'period': {'begin': BEGIN, 'end': END}, 'usage': {'cpu': [value]}})


def test_a_frame_comes_back_from_its_json():
    frame = dataframe.DataFrame(BEGIN, END, {'volume': [POINT], 'cpu': []})
    assert list(frame.itertypes()) == ['cpu', 'volume']
    text = frame.json()
    assert text['usage']['volume'][0]['vol'] == {'unit': 'GiB', 'qty': 1.5}
    again = dataframe.DataFrame.from_dict(text)
    assert again.start == BEGIN and again.json() == text


def test_a_frame_wants_instants():
    with pytest.raises(TypeError, match='"start"'):
        dataframe.DataFrame('2026-06-01', END)
    with pytest.raises(TypeError, match='"usage"'):
        dataframe.DataFrame(BEGIN, END, [POINT])
