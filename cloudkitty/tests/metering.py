# SPDX-License-Identifier: Apache-2.0
"""The usage of a :class:`seeding.Seed` as exporters report it to Prometheus, and a metrics file that bills it alike."""

import yaml

from cloudkitty.tests import cloud as clouds
from cloudkitty.tests import seeding


def name_of(metric):
    """Return what Prometheus calls *metric* of Gnocchi."""
    return metric.replace('.', '_')


def describe(path=clouds.ROOT / 'etc/cloudkitty/metrics.yml'):
    """Return the text of a metrics file for Prometheus that bills what that at *path* bills of Gnocchi."""
    found = {}
    for metric, definition in yaml.safe_load(path.read_text())['metrics'].items():
        alt_name = definition.get('alt_name', metric)
        kept = {key: value for key, value in definition.items() if key != 'extra_args'}
        found[name_of(metric)] = {**kept, 'alt_name': alt_name, 'extra_args': {'aggregation_method': 'max'}}
    return yaml.safe_dump({'metrics': found}, sort_keys=False)


def fill(source, seed):
    """Put the usage of *seed* into *source*, a Prometheus or its stand-in."""
    for project in seed.projects:
        for resource in project.resources:
            for metric, values in resource.measures.items():
                # Series that are reported with other labels are others.
                series = {}
                for begin, value in values.items():
                    attributes = resource.attributes_before(begin + seeding.HOUR)
                    labels = {**attributes, 'id': resource.id, 'user_id': resource.user_id, 'project_id': project.id}
                    series.setdefault(tuple(sorted(labels.items())), {})[begin + seeding.OFFSET] = value
                for labels, samples in series.items():
                    source.add(name_of(metric), dict(labels), samples)
    source.settle()
