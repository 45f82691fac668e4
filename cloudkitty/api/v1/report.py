# SPDX-License-Identifier: Apache-2.0
"""``/v1/report``: what was paid. A window counts the periods that lie wholly inside.

Source: API contract, section 2.8.
"""

from collections.abc import Sequence
import datetime
from decimal import Decimal
from typing import Any

import wsme
import wsme.types

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types

ALL = 'ALL'
_QUANTUM = Decimal('0.00001')

#: ((project, metric type), price) of the rows of a summary, in order.
Rows = Sequence[tuple[tuple[str, str], Decimal]]


class SummaryItem(wsme.types.Base):
    begin = types.instant
    end = types.instant
    tenant_id = types.text
    res_type = types.text
    rate = types.text


class Summary(wsme.types.Base):
    summary = [SummaryItem]


def window(
    begin: datetime.datetime | None, end: datetime.datetime | None
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the window asked for; what is missing is that of the current month, in UTC."""
    now = datetime.datetime.now(period.UTC)
    return (
        period.month_start(now, period.UTC) if begin is None else begin,
        period.next_month_start(now, period.UTC) if end is None else end,
    )


def choose_project(tenant_id: str | None = None, all_tenants: bool = False, **others: Any) -> str | None:
    """Return the project whose data the arguments of a report ask for; None: everybody's."""
    if all_tenants:
        return None
    project_id = tenant_id or rest.caller().project_id or None
    if project_id is None and not rest.caller().is_admin:
        raise errors.Forbidden('The token is not of a project.')
    return project_id


class ReportController(rest.Controller):
    _custom_actions = {'total': ['GET'], 'tenants': ['GET'], 'summary': ['GET']}

    @rest.expose([types.text], types.instant, types.instant, rule='report:list_tenants')
    def tenants(self, begin: datetime.datetime | None = None, end: datetime.datetime | None = None) -> list[str]:
        """Return the projects with rated data in the window, sorted."""
        return rest.deployment().storage.get_tenants(*window(begin, end), whole=True)

    @rest.expose(
        types.decimal_number,
        types.instant,
        types.instant,
        types.text,
        types.text,
        types.boolean,
        rule='report:get_total',
        owner=choose_project,
    )
    def total(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        tenant_id: str | None = None,
        service: str | None = None,
        all_tenants: bool = False,
    ) -> Decimal:
        """Return the sum of the prices in the window."""
        rows = _sum_up([], *window(begin, end), choose_project(tenant_id, all_tenants), service)
        total: Decimal = rows[0]['rate'] if rows else amount.ZERO
        return Decimal(amount.to_text(total))

    @rest.expose(
        Summary,
        types.instant,
        types.instant,
        types.text,
        types.text,
        types.text,
        types.boolean,
        rule='report:get_summary',
        owner=choose_project,
    )
    def summary(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        tenant_id: str | None = None,
        service: str | None = None,
        groupby: str | None = None,
        all_tenants: bool = False,
    ) -> Summary | rest.Json:
        """Return the sums of the prices in the window by project and metric type, the smallest first."""
        begin, end = window(begin, end)
        project_id = choose_project(tenant_id, all_tenants)
        key = rest.deployment().conf.collect.scope_key
        by_project, by_type = 'tenant_id' in (groupby or ''), 'res_type' in (groupby or '')
        words = [key] if by_project else []
        # By type even if nobody asked for it, if not by project: a sum over nothing is not told from one that is 0.
        words += ['type'] if by_type or not by_project else []
        rates: dict[tuple[str, str], Decimal] = {}
        for row in _sum_up(words, begin, end, project_id, service):
            found = (
                row[key] if by_project else project_id or ALL,
                row['type'] if by_type else service or ALL,
            )
            rates[found] = amount.CONTEXT.add(rates.get(found, amount.ZERO), row['rate'])
        rows = sorted(rates.items(), key=lambda item: (item[1], item[0]))
        if rest.wants_json():
            return rest.Json(write_summary(begin, end, rows))
        return make_summary(begin, end, rows)


def make_summary(begin: datetime.datetime, end: datetime.datetime, rows: Rows) -> Summary:
    """Return the summary of *rows*."""
    return Summary(
        summary=[
            SummaryItem(begin=begin, end=end, tenant_id=tenant, res_type=type_, rate=round_rate(rate))
            for (tenant, type_), rate in rows
        ]
    )


def write_summary(begin: datetime.datetime, end: datetime.datetime, rows: Rows) -> str:
    """Return the JSON of :func:`make_summary`."""
    quote = rest.quote
    head = '{"begin": "%s", "end": "%s", "tenant_id": ' % (
        types.instant.tobasetype(begin),
        types.instant.tobasetype(end),
    )
    # A type is that of many rows.
    printed: dict[str, str] = {}
    parts = []
    for (tenant, type_), rate in rows:
        text = printed.get(type_)
        if text is None:
            text = printed[type_] = quote(type_)
        parts.append(f'{head}{quote(tenant)}, "res_type": {text}, "rate": "{round_rate(rate)}"}}')
    return '{"summary": [%s]}' % ', '.join(parts)


def round_rate(rate: Decimal) -> str:
    """Return *rate* to 5 digits after the point as the shortest float, as clients have always got it."""
    if not rate:
        return '0'
    return str(float(rate.quantize(_QUANTUM, context=amount.CONTEXT)))


def _sum_up(
    groupby: list[str],
    begin: datetime.datetime,
    end: datetime.datetime,
    project_id: str | None,
    service: str | None,
) -> list[dict[str, Any]]:
    found = rest.deployment()
    return list(
        found.storage.total(
            groupby=groupby,
            begin=begin,
            end=end,
            metric_types=[service] if service else None,
            filters={found.conf.collect.scope_key: [project_id]} if project_id else None,
            paginate=False,
            whole=True,
        )['results']
    )
