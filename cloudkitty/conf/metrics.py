# SPDX-License-Identifier: Apache-2.0
"""metrics.yml: what is measured, checked strongly before anything is rated.

Source: collection contract, section 1.
"""

import collections
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import decimal
from typing import Any

from oslo_log import log
import voluptuous
import yaml

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import metric

LOG = log.getLogger(__name__)

#: Of what stands in columns of the database, in characters.
_LONGEST = 255

CheckExtraArgs = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class MetricsFile:
    """A metrics file.

    :ivar document: the YAML as written.
    :ivar metrics: its definitions, checked and with defaults, in the order of the file.
    """

    document: Mapping[str, Any]
    metrics: tuple[metric.Metric, ...]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise voluptuous.Invalid('expected text of one character or more')
    if '\0' in value:
        raise voluptuous.Invalid('expected text without NUL characters')
    return value


def _word(value: object) -> str:
    if len(_text(value)) > _LONGEST:
        raise voluptuous.Invalid('expected at most %d characters' % _LONGEST)
    return str(value)


def _fraction(value: object) -> object:
    try:
        return metric.parse_factor(value)
    except ValueError:
        raise voluptuous.Invalid('expected a number or a fraction such as 1/1024')


def _names(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise voluptuous.Invalid('expected a list of attribute names')
    return value


def _mutation(value: object) -> metric.Mutation:
    try:
        return metric.Mutation(value)
    except ValueError:
        known = ', '.join(mutation.value for mutation in metric.Mutation)
        raise voluptuous.Invalid('expected one of %s' % known)


def _mutate_map(value: object) -> dict[decimal.Decimal, decimal.Decimal]:
    """Return the numeric entries; text keys never match anything, as ever."""
    if not isinstance(value, dict) or not value:
        raise voluptuous.Invalid('expected a mapping of numbers to numbers')
    try:
        return {
            amount.from_number(key): amount.from_number(item)
            for key, item in value.items()
            if isinstance(key, int | float) and not isinstance(key, bool)
        }
    except (TypeError, ValueError):
        raise voluptuous.Invalid('expected a mapping of numbers to numbers')


#: What a definition may hold, whatever the collector.
METRIC_BASE_SCHEMA = {
    voluptuous.Required('unit'): _word,
    voluptuous.Optional('alt_name'): _word,
    voluptuous.Optional('description'): _text,
    voluptuous.Optional('factor', default=1): _fraction,
    voluptuous.Optional('offset', default=0): _fraction,
    voluptuous.Optional('groupby', default=list): _names,
    voluptuous.Optional('metadata', default=list): _names,
    voluptuous.Optional('mutate', default='NONE'): _mutation,
    voluptuous.Optional('mutate_map'): _mutate_map,
    voluptuous.Optional('skip_datapoints_expression'): _text,
    voluptuous.Optional('extra_args', default=dict): dict,
}


def metric_dict(value: object) -> dict[str, Any]:
    """Return *value* if it maps metric names to definitions or lists of them; raise voluptuous.Invalid."""
    if not isinstance(value, dict) or not value:
        raise voluptuous.Invalid('expected a mapping of metric names to definitions')
    for name, definition in value.items():
        if not isinstance(name, str) or not name or not isinstance(definition, dict | list):
            raise voluptuous.Invalid('expected a mapping of metric names to definitions', [name])
    return value


#: What a metrics file holds; plugins of the field extend it.
CONF_BASE_SCHEMA = {voluptuous.Required('metrics'): metric_dict}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: of two metrics of one name, one would silently not be billed."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        # Before keys are merged by "<<", which may stand twice and whose keys may be given again.
        node = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != '<<']
        for (_, key), count in collections.Counter(keys).items():
            if count > 1:
                raise yaml.MarkedYAMLError(problem='"%s" stands twice' % key, problem_mark=node.start_mark)
        return node


def load(path: str, scope_key: str, check_extra_args: CheckExtraArgs | None = None) -> MetricsFile:
    """Return the metrics file at *path*.

    :param scope_key: added to each groupby that lacks it.
    :param check_extra_args: given by the collector: takes the ``extra_args`` of a definition, returns them with
        defaults, raises ValueError('key: what was expected').
    :raises ConfigurationError: naming file, metric, key and what was expected.
    """
    return parse(read(path), scope_key, check_extra_args, path)


def read(path: str) -> Any:
    """Return the YAML of the metrics file at *path* as written; ``{}`` for an empty file.

    :raises ConfigurationError: it cannot be read, or is not YAML.
    """
    try:
        with open(path, encoding='utf-8') as stream:
            return yaml.load(stream, _Loader) or {}  # nosec B506
    except OSError as error:
        raise errors.ConfigurationError(
            'The metrics file %s cannot be read (%s). Copy etc/cloudkitty/metrics.yml there, or name another one by '
            '[collect] metrics_conf.' % (path, error.strerror)
        ) from error
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        # The library lets errors of its scalars through as they are.
        raise errors.ConfigurationError('%s: this is not YAML: %s' % (path, ' '.join(str(error).split()))) from error


def parse(
    document: Any,
    scope_key: str,
    check_extra_args: CheckExtraArgs | None = None,
    path: str = 'metrics.yml',
) -> MetricsFile:
    """Return the definitions of *document*, the parsed YAML of *path*; see :func:`load`."""
    if not isinstance(document, dict) or not isinstance(document.get('metrics'), dict) or not document['metrics']:
        raise errors.ConfigurationError('%s: metrics: expected a mapping of metric names to definitions' % path)
    for key in set(document) - {'metrics', 'period'}:
        raise errors.ConfigurationError('%s: %s: there is no such key; expected metrics' % (path, key))
    found = []
    for name, value in document['metrics'].items():
        definitions = value if isinstance(value, list) else [value]
        if not isinstance(name, str):
            raise errors.ConfigurationError('%s: metric %s: expected a name that is text' % (path, name))
        if '\0' in name:
            raise errors.ConfigurationError('%s: metric %r: expected a name without NUL characters' % (path, name))
        if not definitions:
            raise errors.ConfigurationError('%s: metric %s: expected one definition or more' % (path, name))
        for definition in definitions:
            found.append(_check(name, definition, scope_key, check_extra_args, path))
    for item in found:
        if len(item.key) > _LONGEST:
            raise errors.ConfigurationError(
                '%s: metric %s: expected a name of at most %d characters, its alt_name included'
                % (path, item.name, _LONGEST)
            )
    for kind, names in (
        ('alt_name', collections.Counter(item.type for item in found)),
        ('definition', collections.Counter(item.key for item in found)),
    ):
        for name, count in names.items():
            if count > 1:
                raise errors.ConfigurationError(
                    '%s: metric %s: alt_name: expected a name of its own, this %s already exists' % (path, name, kind)
                )
    return MetricsFile(document, tuple(found))


def _check(
    name: str, definition: Any, scope_key: str, check_extra_args: CheckExtraArgs | None, path: str
) -> metric.Metric:
    def fail(key: str, expectation: str) -> errors.ConfigurationError:
        return errors.ConfigurationError('%s: metric %s: %s: %s' % (path, name, key, expectation))

    if not isinstance(definition, dict):
        raise fail('definition', 'expected a mapping')
    try:
        checked = voluptuous.Schema(METRIC_BASE_SCHEMA)(definition)
    except voluptuous.MultipleInvalid as error:
        first = error.errors[0]
        expectation = {
            'extra keys not allowed': 'there is no such key; expected one of %s'
            % ', '.join(sorted(str(key) for key in METRIC_BASE_SCHEMA)),
            'required key not provided': 'expected, and missing',
            'expected dict': 'expected a mapping',
        }.get(first.error_message, first.error_message)
        raise fail('.'.join(str(part) for part in first.path), expectation) from error
    if (checked['mutate'] is metric.Mutation.MAP) != ('mutate_map' in checked):
        raise fail('mutate_map', 'expected together with mutate: MAP, and only then')
    both = set(checked['groupby']) & set(checked['metadata'])
    if both:
        raise fail('metadata', '%s is in groupby already; expected in one of them' % sorted(both)[0])
    extra_args = _check_extra_args(checked['extra_args'], scope_key, check_extra_args, fail)
    groupby = list(dict.fromkeys(checked['groupby']))
    for key in (extra_args.get('resource_key'), scope_key):
        if key and key not in groupby and key not in checked['metadata']:
            groupby.append(key)
    if scope_key not in groupby:
        raise fail('metadata', '%s is the scope key; expected in groupby' % scope_key)
    return metric.Metric(
        name=name,
        type=checked.get('alt_name', name),
        alt_name=checked.get('alt_name'),
        unit=checked['unit'],
        description=checked.get('description'),
        factor=checked['factor'],
        offset=checked['offset'],
        groupby=tuple(groupby),
        metadata=tuple(dict.fromkeys(checked['metadata'])),
        mutate=checked['mutate'],
        mutate_map=checked.get('mutate_map', {}),
        skip_expression=checked.get('skip_datapoints_expression'),
        extra_args=extra_args,
    )


def _check_extra_args(
    extra_args: dict[str, Any],
    scope_key: str,
    check_extra_args: CheckExtraArgs | None,
    fail: Callable[[str, str], errors.ConfigurationError],
) -> dict[str, Any]:
    extra_args = dict(extra_args)
    old_key = extra_args.pop('scope_key', None)
    if old_key is not None:
        if old_key != scope_key:
            raise fail('extra_args.scope_key', 'expected [collect] scope_key, which is %s' % scope_key)
        LOG.warning('metrics.yml: extra_args.scope_key is ignored; [collect] scope_key says the same.')
    if check_extra_args is None:
        return extra_args
    try:
        return dict(check_extra_args(extra_args))
    except ValueError as error:
        key, _, expectation = str(error).partition(': ')
        raise fail('extra_args.%s' % key, expectation) from error
