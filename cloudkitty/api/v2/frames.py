# SPDX-License-Identifier: Apache-2.0
"""Reads dataframes that somebody pushes, some points at a time: there may be very many in one body.

What JSON makes of 100,000 points takes ten times the room of its text, so frames and points are read off the text one
after the other. The last of two equal members, as JSON has it, would be points that are lost without a word: they are
refused.

Source: API contract, section 3.4.
"""

from collections.abc import Iterator
import datetime
import json
import re
from typing import Any

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import resource

#: How many points are read at once.
PIECE = 500

_BLANKS = re.compile('[ \t\n\r]*')


def read(text: str) -> Iterator[dataframe.DataFrame]:
    """Yield the frames of the body *text*; one of many points as several of the same period.

    :raises BadRequest: at the place where something is wrong, what comes before it being read.
    """
    source = _Text(text)
    if not source.begins('{'):
        source.read()
        raise errors.BadRequest('The body must be a JSON object.')
    count = 0
    for name in source.members(''):
        if name != 'dataframes':
            raise errors.BadRequest('There is no member "%s" here.' % types.shorten(name))
        for _ in source.items() if source.begins('[') else (None,):
            yield from _read_frame(source, 'dataframes[%d]' % count)
            count += 1
    source.end()
    if not count:
        raise errors.BadRequest('dataframes is missing.')


class _Text:
    """JSON, and how far it has been read.

    :ivar at: index of the next character.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decode = json.JSONDecoder(parse_float=types.parse_decimal, parse_constant=rest.refuse_constant).raw_decode
        self.at = 0

    def read(self) -> Any:
        """Return the value that comes next."""
        self._skip_blanks()
        try:
            found, self.at = self._decode(self._text, self.at)
        except (ValueError, RecursionError) as error:
            raise rest.InvalidJson from error
        return found

    def begins(self, character: str) -> bool:
        """Return whether *character* comes next."""
        self._skip_blanks()
        return self._text.startswith(character, self.at)

    def members(self, path: str) -> Iterator[str]:
        """Yield the names of the object that comes next; whoever takes one reads its value."""
        seen = set()
        for _ in self._parts('{', '}'):
            name = self.read()
            if not isinstance(name, str):
                raise rest.InvalidJson
            if name in seen:
                raise errors.BadRequest('%s%s is given more than once.' % (path, types.shorten(name)))
            seen.add(name)
            self._take(':')
            yield name

    def items(self) -> Iterator[None]:
        """Yield as often as the list that comes next has items; whoever takes one reads it."""
        return self._parts('[', ']')

    def end(self) -> None:
        """Raise BadRequest if anything comes next."""
        self._skip_blanks()
        if self.at != len(self._text):
            raise rest.InvalidJson

    def _parts(self, first: str, last: str) -> Iterator[None]:
        self._take(first)
        if not self.begins(last):
            yield
            while not self.begins(last):
                self._take(',')
                yield
        self._take(last)

    def _take(self, character: str) -> None:
        if not self.begins(character):
            raise rest.InvalidJson
        self.at += 1

    def _skip_blanks(self) -> None:
        self.at = _BLANKS.match(self._text, self.at).end()  # type: ignore[union-attr]


def _read_frame(source: _Text, path: str) -> Iterator[dataframe.DataFrame]:
    if not source.begins('{'):
        value = source.read()
        reason = 'null makes no sense here' if value is None else 'expected a frame to be an object'
        raise errors.BadRequest('%s: %s.' % (path, reason))
    try:
        period = None
        behind = None
        seen = []
        for name in source.members(path + ': '):
            seen.append(name)
            if name == 'period':
                period = _read_period(source.read())
            elif name != 'usage':
                raise ValueError('a frame knows no %s' % types.shorten(name))
            elif period is not None:
                yield from _read_usage(source, path, *period)
            else:
                # Its points are read once it is known when they are from.
                behind = source.at
                for _ in _walk(source, path):
                    source.read()
        for name in ('period', 'usage'):
            if name not in seen:
                raise ValueError('a frame lacks %s' % name)
        if behind is not None and period is not None:
            source.at, end = behind, source.at
            yield from _read_usage(source, path, *period)
            source.at = end
    except ValueError as error:
        raise errors.BadRequest('%s: %s.' % (path, error)) from error


def _read_period(value: Any) -> tuple[datetime.datetime, datetime.datetime]:
    period = _take(value, 'period', ('begin', 'end'))
    begin, end = (_convert(resource.timestamp, period[name], 'period.%s' % name) for name in ('begin', 'end'))
    return begin, end


def _read_usage(
    source: _Text, path: str, begin: datetime.datetime, end: datetime.datetime
) -> Iterator[dataframe.DataFrame]:
    points: list[dataframe.DataPoint] = []
    last = ''
    for metric, name in _walk(source, path):
        if points and (metric != last or len(points) == PIECE):
            yield dataframe.DataFrame(begin, end, {last: points})
            points = []
        last = metric
        points.append(_read_point(source.read(), name))
    yield dataframe.DataFrame(begin, end, {last: points} if points else {})


def _walk(source: _Text, path: str) -> Iterator[tuple[str, str]]:
    """Yield (metric, how it is called) for each point of the usage that comes next; whoever takes one reads it."""
    if not source.begins('{'):
        source.read()
        raise ValueError('expected usage to be an object')
    for metric in source.members(path + ': usage.'):
        name = 'usage.%s' % types.shorten(metric)
        if not source.begins('['):
            source.read()
            raise ValueError('expected %s to be a list' % name)
        for _ in source.items():
            yield metric, name


def _read_point(value: Any, name: str) -> dataframe.DataPoint:
    members = _take(value, name, ('vol', 'groupby', 'metadata'), ('rating',))
    vol = _take(members['vol'], name + '.vol', ('unit', 'qty'))
    rating = _take(members.get('rating', {}), name + '.rating', (), ('price',))
    if not isinstance(vol['unit'], str):
        raise ValueError('expected %s.vol.unit to be text' % name)
    for word in ('groupby', 'metadata'):
        if not isinstance(members[word], dict):
            raise ValueError('expected %s.%s to be an object' % (name, word))
    return dataframe.DataPoint(
        vol['unit'],
        _convert(types.decimal_number, vol['qty'], name + '.vol.qty'),
        _convert(types.decimal_number, rating.get('price', 0), name + '.rating.price'),
        types.to_float(members['groupby']),
        types.to_float(members['metadata']),
    )


def _convert(scalar: types.Scalar, value: Any, name: str) -> Any:
    try:
        return scalar.frombasetype(value)
    except ValueError as error:
        raise ValueError('%s: %s' % (name, error)) from error


def _take(value: Any, name: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return *value*, an object with just these members."""
    if not isinstance(value, dict):
        raise ValueError('expected %s to be an object' % name)
    for word in required:
        if word not in value:
            raise ValueError('%s lacks %s' % (name, word))
    if len(value) > len(required):
        for word in value:
            if word not in required and word not in optional:
                raise ValueError('%s knows no %s' % (name, types.shorten(word)))
    return value
