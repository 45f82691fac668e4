# SPDX-License-Identifier: Apache-2.0
"""Scalar types of the v1 API: what is accepted of a caller, and how it is printed.

Each is a WSME user type whose ``frombasetype`` takes a JSON value or the text of a path or query, and raises ValueError
with what was expected; the caller adds the name of the member. Null never comes here: :mod:`cloudkitty.api.rest` sets
optional members to None and refuses it for mandatory ones and for types that say so (:attr:`takes_null`).

Source: API contract, section 1.6.
"""

import datetime
import decimal
from decimal import Decimal
import math
import re
from typing import Any
import uuid

from dateutil import parser
from dateutil import tz
import wsme.types

from cloudkitty import amount
from cloudkitty import period

_TRUE = ('true', 't', 'yes', 'y', 'on', '1')
_FALSE = ('false', 'f', 'no', 'n', 'off', '0')
_DATE = re.compile(r'\d{4}-?\d{2}-?\d{2}')


class Scalar(wsme.types.UserType):
    """Base of the types here.

    :cvar takes_null: whether null is taken for an optional member.
    :cvar is_absent_when_empty: whether an empty query value is the same as none.
    """

    basetype: Any = str
    takes_null = True
    is_absent_when_empty = True

    def validate(self, value: Any) -> Any:
        """Return *value*: what the service itself puts into an answer is not checked again."""
        return value

    def tobasetype(self, value: Any) -> Any:
        return value

    def frombasetype(self, value: Any) -> Any:
        raise NotImplementedError


class Text(Scalar):
    """Text that a database can hold.

    :param longest: in characters; None: as long as it likes.
    :param shortest: in characters.
    """

    name = 'text'
    is_absent_when_empty = False

    def __init__(self, longest: int | None = None, shortest: int = 0) -> None:
        self._longest = longest
        self._shortest = shortest

    def frombasetype(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError('expected text')
        if '\0' in value or any('\ud800' <= character <= '\udfff' for character in value):
            raise ValueError('expected text without NUL and surrogate characters')
        if self._longest is not None and len(value) > self._longest:
            raise ValueError('expected at most %d characters' % self._longest)
        if len(value) < self._shortest:
            raise ValueError('expected at least %d characters' % self._shortest)
        return value


class Choice(Text):
    """One of a few words.

    :param words: all of them.
    """

    name = 'choice'
    takes_null = False

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._words = words

    def frombasetype(self, value: Any) -> str:
        if value not in self._words:
            raise ValueError('expected one of %s' % ', '.join(self._words))
        return value


class Boolean(Scalar):
    """``true`` or ``false``, or a word that says so."""

    name = 'boolean'
    basetype = bool

    def frombasetype(self, value: Any) -> bool:
        if isinstance(value, int):
            return bool(value)
        word = value.strip().lower() if isinstance(value, str) else None
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise ValueError('expected true or false')


class Integer(Scalar):
    """A whole number that fits an INTEGER column."""

    name = 'integer'
    basetype = int

    def frombasetype(self, value: Any) -> int:
        if isinstance(value, bool):
            raise ValueError('expected a whole number')
        try:
            found = Decimal(value) if isinstance(value, int | Decimal | str) else None
        except decimal.InvalidOperation:
            found = None
        if found is None or not found.is_finite() or (found.adjusted() < 40 and found != int(found)):
            raise ValueError('expected a whole number')
        if not -(2**31) <= found < 2**31:
            raise ValueError('expected a number of 32 bits')
        return int(found)


class Amount(Scalar):
    """An exact decimal, printed as text in plain notation.

    :param digits: after the point, when it is printed and to which it is rounded, half-even; None: as they are.
    :param limit: what it must stay below, whatever its sign.
    :param is_exact: refuse what has more digits rather than round it.
    """

    name = 'decimal'

    def __init__(self, digits: int | None = None, limit: Decimal = amount.LIMIT, is_exact: bool = False) -> None:
        self._digits = digits
        self._limit = limit
        self._is_exact = is_exact

    def frombasetype(self, value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise ValueError('expected a decimal number')
        try:
            found = amount.from_number(value)
        except ValueError:
            raise ValueError('expected a decimal number') from None
        if not found.is_finite():
            raise ValueError('expected a decimal number')
        if found.copy_abs() < self._limit:
            rounded = self._round(found)
            if self._is_exact and rounded != found:
                raise ValueError('expected at most %s digits after the point' % self._digits)
            found = rounded
        if found.copy_abs() >= self._limit:
            raise ValueError('expected a number below %s' % amount.to_text(self._limit))
        return found

    def tobasetype(self, value: Decimal | None) -> str | None:
        return None if value is None else self.to_text(value)

    def to_text(self, value: Decimal) -> str:
        """Return the text of *value*."""
        text = format(value, 'f')
        # So short a text has no digit too many.
        if self._digits is None and len(text) <= amount.DIGITS and value.is_finite():
            return text
        return format(self._round(value), 'f')

    def _round(self, value: Decimal) -> Decimal:
        digits = amount.DIGITS if self._digits is None else self._digits
        rounded = value.quantize(Decimal(1).scaleb(-digits), context=amount.CONTEXT)
        if not rounded:
            rounded = rounded.copy_abs()  # no "-0"
        return value if self._digits is None and rounded == value else rounded


class Instant(Scalar):
    """An aware instant; text without a zone is UTC; printed as naive UTC."""

    name = 'datetime'

    def frombasetype(self, value: Any) -> datetime.datetime:
        found = _parse(value)
        try:
            return (found if found.tzinfo else found.replace(tzinfo=period.UTC)).astimezone(period.UTC)
        except OverflowError:
            raise ValueError('expected a date and time of ISO 8601') from None

    def tobasetype(self, value: datetime.datetime | None) -> str | None:
        return None if value is None else period.to_naive(value).isoformat()


class LocalDate(Scalar):
    """A date of a rule: naive in the deployment's zone, or aware if the caller named a zone; printed without one.

    :param is_end: a date without a time is the last second of that day.
    """

    name = 'local datetime'

    def __init__(self, is_end: bool = False) -> None:
        self._is_end = is_end

    def frombasetype(self, value: Any) -> datetime.datetime:
        found = _parse(value)
        if self._is_end and _DATE.fullmatch(value.strip()):
            found = found.replace(hour=23, minute=59, second=59)
        return found

    def tobasetype(self, value: datetime.datetime | None) -> str | None:
        return None if value is None else value.replace(tzinfo=None).isoformat()


class Uuid(Scalar):
    """A UUID in any of its forms; it becomes the canonical one."""

    name = 'uuid'

    def frombasetype(self, value: Any) -> str:
        try:
            if isinstance(value, str) and len(value) in (32, 36):
                return str(uuid.UUID(value))
        except ValueError:
            pass
        raise ValueError('expected a UUID')


class Free(Scalar):
    """Whatever JSON can hold."""

    name = 'value'
    is_absent_when_empty = False

    def frombasetype(self, value: Any) -> Any:
        return value

    def tobasetype(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): self.tobasetype(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tobasetype(item) for item in value]
        if value is None or isinstance(value, str | bool | int | float):
            return value
        return value.isoformat() if isinstance(value, datetime.date) else str(value)


class Attribute(Free):
    """Text, a number, true, false, null or an object, as attributes of a resource are."""

    name = 'attribute'

    def frombasetype(self, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError('expected no list')
        return to_float(value)


def to_float(value: Any) -> Any:
    """Return JSON *value* with its numbers as sources give them."""
    if isinstance(value, dict):
        return {key: to_float(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_float(item) for item in value]
    if isinstance(value, Decimal):
        found = float(value)
        if math.isinf(found):
            raise ValueError('expected a smaller number')
        return found
    return value


def _parse(value: Any) -> datetime.datetime:
    """Return the datetime of ISO 8601 text, a blank in place of the T allowed; aware if it names a zone."""
    if isinstance(value, str):
        try:
            found = parser.isoparser().isoparse(value.strip())
        except (ValueError, OverflowError):
            pass
        else:
            # Its zones know no more than their offset.
            return found if found.tzinfo is None else found.replace(tzinfo=_offset(found.tzinfo, found))
    raise ValueError('expected a date and time of ISO 8601')


def _offset(zone: datetime.tzinfo, at: datetime.datetime) -> datetime.tzinfo:
    return period.UTC if isinstance(zone, tz.tzutc) else datetime.timezone(at.utcoffset() or datetime.timedelta())


def parse_decimal(text: str) -> Decimal:
    """Return the number of JSON *text* exactly; raise ValueError if no arithmetic can hold it."""
    try:
        return Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError('The number %s is too large.' % text[:60]) from None


def shorten(value: Any) -> str:
    """Return *value* as a fault shows it: no longer than 60 characters, and UTF-8."""
    text = value if isinstance(value, str) else str(value)
    text = text.encode('utf-8', 'backslashreplace').decode('utf-8')
    return text if len(text) <= 60 else text[:57] + '...'


text = Text()
boolean = Boolean()
integer = Integer()
decimal_number = Amount()
instant = Instant()
identifier = Uuid()
free = Free()
attribute = Attribute()
