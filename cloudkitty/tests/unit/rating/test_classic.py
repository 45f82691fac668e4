# SPDX-License-Identifier: Apache-2.0
import datetime
from decimal import Decimal

import pytest

from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.rating import classic

START = datetime.datetime(2030, 3, 17, 17, tzinfo=period.UTC)


def make_frame(*prices):
    points = [dataframe.DataPoint('GiB', 2, price, {'id': 'a', 'kind': 'x'}, {'kind': 'y'}, 'text') for price in prices]
    return dataframe.DataFrame(START, START + datetime.timedelta(hours=1), {'vol': points})


class ByKeyword:
    def __init__(self, tenant_id=None):
        self.scope = tenant_id


class ByPosition:
    def __init__(self, scope):
        self.scope = scope


class ByAnything:
    def __init__(self, **kwargs):
        self.scope = kwargs['tenant_id']


class ByNothing:
    scope = 'p'


@pytest.mark.parametrize('plugin', [ByKeyword, ByPosition, ByAnything, ByNothing, lambda: ByNothing()])
def test_constructor_gets_what_it_takes(plugin):
    assert classic.construct(plugin, 'p').scope == 'p'


def test_error_of_a_constructor_is_not_taken_for_its_signature():
    class Bad:
        def __init__(self, tenant_id=None):
            raise TypeError('inside')

    with pytest.raises(TypeError, match='inside'):
        classic.construct(Bad, 'p')


def test_module_of_old_sees_its_dictionaries():
    (item,) = list(classic.Frame.of(make_frame(0)))
    assert item == {
        'period': {'begin': 1899997200, 'end': 1900000800},
        'usage': {
            'vol': [
                {
                    'groupby': {'id': 'a', 'kind': 'x'},
                    'metadata': {'kind': 'y'},
                    # There metadata win.
                    'desc': {'id': 'a', 'kind': 'y'},
                    'vol': {'unit': 'GiB', 'qty': Decimal(2)},
                }
            ]
        },
    }


def test_price_of_a_module_before_is_in_the_dictionaries():
    assert classic.Frame.of(make_frame(3))[0]['usage']['vol'][0]['rating'] == {'price': Decimal(3)}


def test_looking_at_the_dictionaries_changes_nothing():
    frame = classic.Frame.of(make_frame(3, 4))
    assert len(frame) == 1
    assert list(frame.settled().iterpoints()) == list(make_frame(3, 4).iterpoints())


def test_dictionaries_without_a_quantity_are_refused():
    frame = classic.Frame.of(make_frame(3))
    del frame[0]['usage']['vol'][0]['vol']
    with pytest.raises(ValueError, match='vol'):
        frame.settled()


@pytest.mark.parametrize(('takes', 'expected'), [(True, [START]), (False, ['none'])])
def test_reload_gets_what_it_takes(takes, expected):
    seen = []

    class Module:
        if takes:

            def reload_config(self, start=None):
                seen.append(start)
        else:

            def reload_config(self):
                seen.append('none')

    classic.Adapter('m', Module, lambda module: None).reload('p', START)
    assert seen == expected


def test_quote_is_asked_for_where_there_is_one():
    class Module:
        def process(self, data):
            raise AssertionError

        def quote(self, data):
            return make_frame(9)

    adapter = classic.Adapter('m', Module, lambda module: None)
    assert [point.price for _, point in adapter.process(None, make_frame(0), quote=True).iterpoints()] == [9]
