# SPDX-License-Identifier: Apache-2.0
"""Scopes from Gnocchi: those that some resource belongs to.

Source: collection contract, section 6. Each request asks for resources of scopes that no answer has named yet, so one
page a scope at most is read, and not every resource.
"""

import json
from typing import Any

from keystoneauth1 import adapter as adapters
from keystoneauth1 import exceptions

from cloudkitty import errors
from cloudkitty.clients import gnocchi
from cloudkitty.fetcher import base

GROUP = 'fetcher_gnocchi'


class GnocchiFetcher(base.BaseFetcher):
    """Rates what resources belong to.

    :param adapter: to Gnocchi.
    :param attribute: of resources; it holds the id of their scope.
    :param resource_types: names, at least one.
    """

    name = 'gnocchi'

    def __init__(self, adapter: adapters.Adapter, attribute: str, resource_types: list[str]) -> None:
        self._adapter = adapter
        self._attribute = attribute
        self._resource_types = resource_types

    @classmethod
    def from_options(cls, conf: Any) -> 'GnocchiFetcher':
        """Return the fetcher that [fetcher_gnocchi] describes; raises ConfigurationError."""
        options = conf[GROUP]
        resource_types = sorted({name.strip() for name in options.resource_types} - {''})
        for name, value in (('resource_types', resource_types), ('scope_attribute', options.scope_attribute)):
            if not value:
                raise errors.ConfigurationError('[%s] %s is empty: no scope would ever be found.' % (GROUP, name))
        return cls(gnocchi.from_options(conf, GROUP), options.scope_attribute, resource_types)

    def get_tenants(self) -> list[str]:
        """Return the ids of all scopes that have resources, ended ones included.

        Raises TransientSourceError when Gnocchi does not answer or its answer makes no sense, PermanentSourceError when
        it refuses the credentials, or knows a type or the attribute not. One type that fails is no list at all: what
        it would have named would seem gone.
        """
        seen: set[str] = set()
        for resource_type in self._resource_types:
            while found := self._ask(resource_type, seen):
                if found <= seen:
                    raise errors.TransientSourceError('Gnocchi names scopes again that it was asked to leave out.')
                seen |= found
        return sorted(seen)

    def _ask(self, resource_type: str, seen: set[str]) -> set[str]:
        """Return the scopes of a page of resources that belong to none of *seen*."""
        # Else resources of nobody would come each time.
        query: dict[str, Any] = {'!=': {self._attribute: None}}
        if seen:
            query = {'and': [query, {'not': {'in': {self._attribute: sorted(seen)}}}]}
        try:
            answer = self._adapter.post(
                '/v1/search/resource/%s' % resource_type,
                params={'attrs': ['id', self._attribute]},
                json=query,
                # With any other value Gnocchi answers errors as HTML pages.
                headers={'Accept': 'application/json'},
                log=False,
            )
        except exceptions.HttpError as error:
            raise self._translate(error, resource_type) from error
        except (exceptions.ClientException, OSError) as error:
            # The text of a connection error names the URL, never credentials.
            raise errors.TransientSourceError('Gnocchi does not answer: %s.' % type(error).__name__) from error
        try:
            resources = answer.json()
            if not isinstance(resources, list):
                raise TypeError('no list')
            values = [resource[self._attribute] for resource in resources]
        except (ValueError, KeyError, TypeError) as error:
            raise errors.TransientSourceError('Gnocchi: an answer that makes no sense.') from error
        # Whatever is no text is no id of a scope either, and would come each time.
        if not all(isinstance(value, str) for value in values):
            raise errors.PermanentSourceError(
                '[%s] scope_attribute: %s is no text in resources of type %s.' % (GROUP, self._attribute, resource_type)
            )
        return set(values)

    def _translate(self, error: exceptions.HttpError, resource_type: str) -> errors.SourceError:
        if error.http_status in (401, 403):
            return errors.PermanentSourceError('Gnocchi refuses [%s]: HTTP %d.' % (GROUP, error.http_status))
        if error.http_status == 404:
            return errors.PermanentSourceError('[%s] resource_types: Gnocchi has no type %s.' % (GROUP, resource_type))
        if error.http_status == 400:
            return errors.PermanentSourceError(
                '[%s] scope_attribute: Gnocchi takes no search for %s in resources of type %s: %s'
                % (GROUP, self._attribute, resource_type, _read_reason(error))
            )
        return errors.TransientSourceError('Gnocchi answers HTTP %s.' % error.http_status)


def _read_reason(error: exceptions.HttpError) -> str:
    """Return in a line what Gnocchi says of a refusal."""
    try:
        text = json.dumps(error.response.json()['description'], ensure_ascii=False)  # type: ignore[union-attr]
    except (ValueError, KeyError, TypeError, AttributeError):
        text = 'HTTP %s.' % error.http_status
    return ' '.join(text.split())[:300]
