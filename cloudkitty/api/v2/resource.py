# SPDX-License-Identifier: Apache-2.0
"""How the handlers of the v2 API are exposed: policy, parameters in, JSON out.

A handler is a function under :func:`handler`, which names the policy rule and what a caller may say::

    @resource.handler('scope:get_state', query={'scope_id': Multi(types.text), **PAGE})
    def list_scopes(scope_id, offset, limit): ...

Segments of the path come first, then the members of the query or the body, by name. What it returns is what the answer
says in JSON, :class:`rest.Json` where that is written already, or a :class:`Table`; with status 204 there is none. The
policy is asked before anything is said about the parameters.

Source: API contract, section 1.8.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import datetime
from decimal import Decimal
import io
import json
import math
from typing import Any

import pecan

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import parameters

JSON = 'application/json'
CSV = 'text/csv'


@dataclasses.dataclass(frozen=True)
class Table:
    """An answer in CSV: one header line, amounts with every digit.

    :param rows: a value per column.
    """

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]

    def lines(self) -> Iterator[bytes]:
        """Yield the text in parts."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.columns)
        for number, row in enumerate(self.rows, 1):
            writer.writerow([_to_text(value) for value in row])
            if number % 1000 == 0:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()


def _to_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ''
    return amount.to_text(value) if isinstance(value, Decimal) else json.dumps(value, default=_encode)


def wants_table() -> bool:
    """Return whether the caller prefers CSV to JSON."""
    offers = pecan.request.accept.acceptable_offers([JSON, CSV])
    return bool(offers) and offers[0][0] == CSV


@dataclasses.dataclass(frozen=True)
class Handler:
    """What answers one method of one URL.

    :ivar rule: of the policy.
    :ivar owner: returns the project whose data is asked for; None: everybody's.
    :ivar query, body: what a caller may say; with a body there is no query.
    :ivar others: argument that takes what else is in the query, by name; None: nothing else may be.
    :ivar headers: what he may say besides; ``Some-Key`` becomes the argument ``some_key``.
    :ivar read: returns the members of the text of the body, in place of what reads it by *body*.
    """

    function: Callable[..., Any]
    rule: str
    query: Mapping[str, parameters.Parameter]
    body: Mapping[str, parameters.Parameter] | None
    status: int
    owner: Callable[[], str | None] | None
    others: str | None = None
    headers: Mapping[str, parameters.Parameter] = dataclasses.field(default_factory=dict)
    read: Callable[[str], dict[str, Any]] | None = None

    def answer(self, path: tuple[str, ...], request: Any, response: Any) -> None:
        """Fill *response*."""
        rest.authorize(self.rule, None if self.owner is None else self.owner())
        values = parameters.read(request.GET.items(), self.query, 'parameter', self.others)
        if 'limit' in self.query:
            parameters.check_page(values['limit'], rest.deployment().conf.api.max_page_size)
        said = [(name, request.headers[name]) for name in self.headers if name in request.headers]
        for name, value in parameters.read(said, self.headers, 'header').items():
            values[name.lower().replace('-', '_')] = value
        if self.read is not None:
            values |= self.read(read_text(request))
        elif self.body is not None:
            values |= parameters.read(read_object(request).items(), self.body, 'member')
        found = self.function(*path, **values)
        response.status = self.status
        if self.status == 204:
            response.content_type = None
        elif isinstance(found, Table):
            response.content_type, response.charset = CSV, 'UTF-8'
            response.app_iter = found.lines()
        else:
            response.body = (found.text if isinstance(found, rest.Json) else write(found)).encode()


def handler(
    rule: str,
    query: Mapping[str, parameters.Parameter] | None = None,
    body: Mapping[str, parameters.Parameter] | None = None,
    status: int = 200,
    owner: Callable[[], str | None] | None = None,
    others: str | None = None,
    headers: Mapping[str, parameters.Parameter] | None = None,
    read: Callable[[str], dict[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Handler]:
    """Return a decorator that makes a function a :class:`Handler`."""
    return lambda function: Handler(function, rule, query or {}, body, status, owner, others, headers or {}, read)


def read_object(request: Any) -> dict[str, Any]:
    """Return the JSON object that the body is; numbers with a fraction are Decimal."""
    found = rest.parse_json(_read_body(request))
    if not isinstance(found, dict):
        raise errors.BadRequest('The body must be a JSON object.')
    return found


def read_text(request: Any) -> str:
    """Return the text of a body that should be JSON."""
    try:
        return _read_body(request).decode('utf-8')
    except UnicodeDecodeError as error:
        raise rest.InvalidJson from error


def _read_body(request: Any) -> bytes:
    # Once: it is read anew each time.
    body: bytes = request.body
    if body and request.content_type != JSON:
        raise rest.UnsupportedMediaType('Content-Type must be application/json.')
    return body


def print_instant(value: datetime.datetime) -> str:
    """Return *value* as the API prints it: in the deployment's zone, without parts of a second."""
    return value.astimezone(rest.deployment().zone).replace(microsecond=0).isoformat()


class Timestamp(types.Instant):
    """An instant that every server and time zone knows; parts of a second are dropped."""

    def frombasetype(self, value: Any) -> datetime.datetime:
        found = super().frombasetype(value).replace(microsecond=0)
        if not 1000 <= found.year < 9999:
            raise ValueError('expected a year between 1000 and 9998')
        return found


timestamp = Timestamp()


def write_amount(value: Decimal) -> str:
    """Return *value* as a JSON number."""
    found = float(value)
    if found.is_integer():
        # Perhaps it is not: a float may have lost the fraction.
        return repr(_to_number(value))
    return repr(found) if math.isfinite(found) else write(value)


def _to_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def _encode(value: object) -> Any:
    if isinstance(value, Decimal):
        return _to_number(value)
    raise TypeError('%r is no JSON.' % (value,))


#: Returns the JSON text of what an answer says; amounts are numbers.
write = json.JSONEncoder(default=_encode).encode
