# SPDX-License-Identifier: Apache-2.0
"""What a caller may say: parameters of a query and members of a body, by the same kinds.

A handler names its own, ``{'offset': Single(types.integer, default=0), 'groupby': Multi(types.text)}``, and gets a
value for each: converted, or its default. What is unknown, missing, repeated or wrong is a BadRequest that names it.
Null in a body is as good as nothing.

Source: API contract, section 1.8.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types


class WholeNumber(types.Integer):
    """A whole number of at least *least*."""

    def __init__(self, least: int) -> None:
        self._least = least

    def frombasetype(self, value: Any) -> int:
        found = super().frombasetype(value)
        if found < self._least:
            raise ValueError('expected a number of at least %d' % self._least)
        return found


@dataclasses.dataclass(frozen=True)
class Single:
    """One value.

    :param scalar: what converts it.
    """

    scalar: types.Scalar
    default: Any = None
    required: bool = False

    def read(self, name: str, given: list[Any]) -> Any:
        if len(given) > 1:
            raise errors.BadRequest('%s is given more than once.' % name)
        return rest.convert_item(self.scalar, given[0], name)


@dataclasses.dataclass(frozen=True)
class Multi:
    """A list of values, repeated, split at commas, or both; empty ones do not count."""

    scalar: types.Scalar
    default: Any = None
    required: bool = False

    def read(self, name: str, given: list[Any]) -> list[Any]:
        return [rest.convert_item(self.scalar, part, name) for part in _split(name, given)]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Words and their values, ``word:value``; what reads it gets {word: [value]}.

    :param repeats: whether a word may have several values.
    """

    repeats: bool
    default: Any = dataclasses.field(default_factory=dict)
    required: bool = False

    def read(self, name: str, given: list[Any]) -> dict[str, list[str]]:
        result: dict[str, list[str]] = {}
        parts = _split(name, given, keep_empty=True)
        for part in parts:
            word, separator, value = part.partition(':')
            if not separator or ':' in value or not word:
                raise errors.BadRequest('%s: expected word:value, not %s.' % (name, types.shorten(part)))
            if word in result and not self.repeats:
                raise errors.BadRequest('%s: %s is given more than once.' % (name, types.shorten(word)))
            rest.convert_item(types.text, part, name)
            result.setdefault(word, []).append(value)
        return result


@dataclasses.dataclass(frozen=True)
class Items:
    """A list, of a body, whose items are converted one by one; an error names the item."""

    scalar: types.Scalar
    default: Any = None
    required: bool = False

    def read(self, name: str, given: list[Any]) -> list[Any]:
        return [rest.convert_item(self.scalar, item, '%s[%d]' % (name, index)) for index, item in enumerate(given)]


Parameter = Single | Multi | Pairs | Items

#: Those of every list.
PAGE: Mapping[str, Parameter] = {
    'offset': Single(WholeNumber(0), default=0),
    'limit': Single(WholeNumber(1), default=100),
}


def read(
    given: Iterable[tuple[str, Any]], known: Mapping[str, Parameter], word: str, others: str | None = None
) -> dict[str, Any]:
    """Return {name: value} of the names *known*.

    :param given: names and values of a query, of which names may be repeated, or the items of a body.
    :param word: what they are called, such as ``parameter``.
    :param others: name under which the result has {name: text} of all other names; None: there must be none.
    """
    found: dict[str, list[Any]] = {}
    rest_of_them: dict[str, str] = {}
    for name, value in given:
        if name not in known and others is not None:
            if name in rest_of_them:
                raise errors.BadRequest('%s is given more than once.' % types.shorten(name))
            rest_of_them[name] = rest.convert_item(types.text, value, types.shorten(name))
            continue
        if name not in known:
            raise errors.BadRequest('There is no %s "%s" here.' % (word, types.shorten(name)))
        if value is not None:
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    result: dict[str, Any] = {} if others is None else {others: rest_of_them}
    for name, parameter in known.items():
        if found.get(name):
            result[name] = parameter.read(name, found[name])
        elif parameter.required:
            raise errors.BadRequest('%s is missing.' % name)
        else:
            result[name] = parameter.default
    return result


def check_page(limit: int, most: int) -> None:
    """Raise BadRequest for a *limit* of more than *most*, an option."""
    if limit > most:
        raise errors.BadRequest('limit: expected at most %d, [api] max_page_size, not %d.' % (most, limit))


def _split(name: str, given: list[Any], keep_empty: bool = False) -> list[str]:
    parts: list[str] = []
    for text in given:
        if not isinstance(text, str):
            raise errors.BadRequest('%s: expected text, not %s.' % (name, types.shorten(text)))
        parts += text.split(',')
    return [part for part in parts if part or keep_empty]
