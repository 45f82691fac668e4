# SPDX-License-Identifier: Apache-2.0
"""Dates of rules: naive and local to the deployment's zone, in whole seconds, as the tables hold them.

They are compared as instants. Of an hour that a clock goes through twice the tables know only the first time.

Source: rating contract, section 5.6.
"""

import datetime

from cloudkitty import errors
from cloudkitty import period


class Started(errors.BadRequest):
    """A rule that may have rated something keeps what it rated with. Clients look for the second sentence."""

    def __init__(self, kind: str, id_: str, member: str, start: datetime.datetime) -> None:
        super().__init__(
            '%s of %s %s cannot be changed. You are allowed to update only the attribute [end] as this rule is '
            'already running as it started on [%s].' % (member, kind, id_, start.isoformat())
        )


class Ended(errors.BadRequest):
    """A rule that started and has an end stays as it is. Clients look for the end of the text."""

    def __init__(self, kind: str, id_: str) -> None:
        super().__init__(
            '%s %s cannot be changed: it was already processed and has a defined end date.' % (kind.capitalize(), id_)
        )


def localise(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return *instant* as the tables hold it."""
    return instant.astimezone(zone).replace(tzinfo=None, microsecond=0, fold=0)


def to_local(member: str, date: datetime.datetime | None, zone: datetime.tzinfo) -> datetime.datetime | None:
    """Return *date*, naive or aware, as the tables hold it; raise BadRequest that names *member*."""
    if date is None or date.tzinfo is None:
        return None if date is None else date.replace(microsecond=0, fold=0)
    try:
        return localise(date, zone)
    except OverflowError:
        raise errors.BadRequest('%s: there is no such date.' % member) from None


def to_epoch(date: datetime.datetime, zone: datetime.tzinfo) -> int:
    """Return the epoch second of a naive *date*."""
    return period.to_epoch(date.replace(tzinfo=zone))


def is_past(date: datetime.datetime, now: datetime.datetime, zone: datetime.tzinfo) -> bool:
    """Return whether the naive *date* is before the aware *now*."""
    return to_epoch(date, zone) < period.to_epoch(now)


def is_active(
    start: datetime.datetime, end: datetime.datetime | None, at: datetime.datetime, zone: datetime.tzinfo
) -> bool:
    """Return whether the aware *at* is in the window of the naive ``[start, end)``."""
    second = period.to_epoch(at)
    return to_epoch(start, zone) <= second and (end is None or second < to_epoch(end, zone))


def check_new(
    given: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
    zone: datetime.tzinfo,
    force: bool,
) -> datetime.datetime:
    """Return the start of a new rule, *now* unless one is *given*; raise BadRequest for dates that make no sense.

    :param force: let it start in the past.
    """
    if given is not None and not force and is_past(given, now, zone):
        raise errors.BadRequest('start: %s is in the past, which needs force=true.' % given.isoformat())
    start = localise(now, zone) if given is None else given
    check_order(start, end, zone)
    return start


def check_change(
    start: datetime.datetime, end: datetime.datetime | None, now: datetime.datetime, zone: datetime.tzinfo
) -> None:
    """Raise BadRequest for new dates, of a rule that is not in force yet, that make no sense."""
    if is_past(start, now, zone):
        raise errors.BadRequest('start: %s is in the past.' % start.isoformat())
    check_order(start, end, zone)


def check_end(start: datetime.datetime, end: datetime.datetime, now: datetime.datetime, zone: datetime.tzinfo) -> None:
    """Raise BadRequest for an *end*, of a rule that is in force, that makes no sense."""
    if is_past(end, now, zone):
        raise errors.BadRequest('end: %s is in the past.' % end.isoformat())
    check_order(start, end, zone)


def check_order(start: datetime.datetime, end: datetime.datetime | None, zone: datetime.tzinfo) -> None:
    """Raise BadRequest if the *end* is before the *start*."""
    if end is not None and to_epoch(end, zone) < to_epoch(start, zone):
        raise errors.BadRequest('end: %s is before the start, %s.' % (end.isoformat(), start.isoformat()))
