# SPDX-License-Identifier: Apache-2.0
"""Metrics whose series do not live long: each is a row a day, so an attribute that keeps changing costs dearly."""

from collections.abc import Iterable
import dataclasses

from oslo_log import log

from cloudkitty import series

LOG = log.getLogger(__name__)


@dataclasses.dataclass
class _Sample:
    """The series of one metric in one scope, over some periods."""

    scope_id: str
    periods: set[int] = dataclasses.field(default_factory=set)
    points: dict[series.Series, int] = dataclasses.field(default_factory=dict)

    def add(self, columns: series.Columns) -> None:
        self.periods.update(columns.begins)
        self.points[columns.series] = self.points.get(columns.series, 0) + len(columns.begins)

    @property
    def lifetime(self) -> float:
        return sum(self.points.values()) / len(self.points)

    def find_culprit(self) -> str:
        """Return the attribute without which the fewest series would be left."""
        found = [{**item.groupby, **item.metadata} for item in self.points]
        names = sorted({name for attributes in found for name in attributes})
        left = {name: len({series.canonical({**attributes, name: None}) for attributes in found}) for name in names}
        return min(names, key=lambda name: left[name])


class Churn:
    """Looks at one scope per metric at a time, and warns once per metric."""

    #: Periods that a look takes.
    PERIODS = 6
    #: Points that a series should have by then, on average.
    POINTS = 3
    #: Series below which nothing is worth a word.
    SERIES = 10

    def __init__(self) -> None:
        self._samples: dict[str, _Sample] = {}
        self._reported: set[str] = set()

    def look(self, columns: Iterable[series.Columns]) -> None:
        """Take in what was rated."""
        for item in columns:
            name = item.series.metric
            if name in self._reported or not item.begins:
                continue
            sample = self._samples.setdefault(name, _Sample(item.series.scope_id))
            if sample.scope_id == item.series.scope_id:
                sample.add(item)
        for name, sample in list(self._samples.items()):
            if len(sample.periods) >= self.PERIODS:
                del self._samples[name]
                self._judge(name, sample)

    def _judge(self, name: str, sample: _Sample) -> None:
        if len(sample.points) < self.SERIES or sample.lifetime >= self.POINTS:
            return
        self._reported.add(name)
        LOG.warning(
            'Metric %s: a series of it lives for %.1f periods only, as attribute %s keeps changing. Every change makes '
            'a row; leave the attribute out of groupby and metadata unless it is billed by.',
            name,
            sample.lifetime,
            sample.find_culprit(),
        )
