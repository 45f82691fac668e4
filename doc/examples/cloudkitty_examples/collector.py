# SPDX-License-Identifier: Apache-2.0
"""Reads usage from a table of text: columns metric, project_id, id, begin (epoch second) and value.

``extra_args`` of a metric names the file: ``extra_args: {path: /var/lib/usage.csv}``.
"""

import collections
import csv
from decimal import Decimal

from cloudkitty import collector
from cloudkitty import coverage
from cloudkitty import metric as metrics
from cloudkitty import series
from cloudkitty import usage


class CsvCollector(collector.BaseCollector):
    collector_name = 'csv'

    @classmethod
    def from_options(cls, conf, metrics_file, executor):
        return cls(period=conf.collect.period, metrics=metrics_file.metrics)

    @staticmethod
    def check_extra_args(extra_args):
        if set(extra_args) != {'path'} or not isinstance(extra_args['path'], str):
            raise ValueError('path: expected the name of a file, and nothing else')
        return extra_args

    def collect(self, batch):
        columns, troubles = [], []
        for metric in batch.metrics:
            try:
                columns += self._read(metric, batch)
            except OSError as error:
                # These cells are failed: they hold their scopes for a while, and are tried again.
                text = '%s: %s.' % (metric.extra_args['path'], error.strerror)
                troubles += [
                    usage.Trouble(scope_id, metric.type, batch.begin, batch.end, coverage.Status.FAILED, text)
                    for scope_id in batch.scope_ids
                ]
        # A cell without points and without trouble is empty.
        return usage.Usage(batch, columns, troubles)

    def _read(self, metric, batch):
        """Return the points of *metric* in *batch*: columns, one for each resource."""
        found = collections.defaultdict(list)
        with open(metric.extra_args['path'], newline='') as file:
            for row in csv.DictReader(file):
                begin = int(row['begin'])
                if row['metric'] == metric.name and row['project_id'] in batch.scope_ids and begin in batch.begins:
                    # Never by way of a float.
                    quantity = metrics.convert(metric, Decimal(row['value']))
                    found[row['project_id'], row['id']].append((begin, quantity))
        for (scope_id, resource_id), points in found.items():
            begins, quantities = zip(*sorted(points), strict=True)
            groupby = {'id': resource_id, 'project_id': scope_id}
            of = series.Series(scope_id, metric.type, metric.unit, groupby, {}, metric.description)
            yield series.Columns(of, batch.length, begins, quantities)
