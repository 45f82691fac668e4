# SPDX-License-Identifier: Apache-2.0
"""Scopes from Keystone: the projects in which the service's own user has the role ``rating``.

Source: collection contract, section 6. In place of one request per project, one asks for all grants of the role, and
it follows group grants, inheritance and implied roles as well.
"""

import logging
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1 import session as sessions

from cloudkitty import errors
from cloudkitty.clients import keystone
from cloudkitty.fetcher import base

LOG = logging.getLogger(__name__)
GROUP = 'fetcher_keystone'
ROLE = 'rating'


class KeystoneFetcher(base.BaseFetcher):
    """Rates projects.

    :param session: with credentials that may list projects and role assignments.
    :param ignore_rating_role: rate every project that can be listed.
    :param ignore_disabled: leave out disabled projects.
    """

    name = 'keystone'

    def __init__(
        self,
        session: sessions.Session,
        ignore_rating_role: bool = False,
        ignore_disabled: bool = False,
        interface: str | None = None,
        region_name: str | None = None,
    ) -> None:
        self._session = session
        self._ignore_rating_role = ignore_rating_role
        self._ignore_disabled = ignore_disabled
        self._filter = {'service_type': 'identity', 'interface': interface, 'region_name': region_name}

    @classmethod
    def from_options(cls, conf: Any) -> 'KeystoneFetcher':
        """Return the fetcher that [fetcher_keystone] describes; raises ConfigurationError."""
        options = conf[GROUP]
        if options.keystone_version != '3':
            LOG.warning('[fetcher_keystone] keystone_version %s is gone; 3 is used.', options.keystone_version)
        session = keystone.make_session(conf, GROUP, keystone.load_auth(conf, GROUP))
        return cls(session, options.ignore_rating_role, options.ignore_disabled_tenants)

    def get_tenants(self) -> list[str]:
        """Return the ids of the projects to rate.

        Raises TransientSourceError when Keystone does not answer, PermanentSourceError when it refuses the
        credentials or the user may not list what is needed.
        """
        projects = self._list('projects', {})
        if self._ignore_disabled:
            projects = [project for project in projects if project.get('enabled', True)]
        ids = {project['id'] for project in projects}
        return sorted(ids if self._ignore_rating_role else ids & self._list_rated())

    def _list_rated(self) -> set[str]:
        roles = [role['id'] for role in self._list('roles', {'name': ROLE})]
        if not roles:
            raise errors.PermanentSourceError(
                'Keystone has no role named %s: create it and give it to the service user in the projects to rate, '
                'or set [fetcher_keystone] ignore_rating_role.' % ROLE
            )
        user_id = self._ask(self._session.get_user_id)
        rated = set()
        for role_id in roles:
            query = {'user.id': user_id, 'role.id': role_id, 'effective': ''}
            for grant in self._list('role_assignments', query):
                project = grant.get('scope', {}).get('project')
                if project:
                    rated.add(project['id'])
        return rated

    def _list(self, what: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """Return the list *what* of the Identity API, following its pages."""
        url: str | None = '/%s' % what
        result: list[dict[str, Any]] = []
        seen = set()
        while url:
            seen.add(url)
            answer = self._ask(
                self._session.get,
                url,
                # A base URL in the catalogue may or may not name the version; the session finds out which.
                endpoint_filter={**self._filter, 'version': (3,)},
                params=query,
                headers={'Accept': 'application/json'},
                log=False,
            )
            try:
                body = answer.json()
                for item in body[what]:
                    if what != 'role_assignments':
                        item['id']  # one without makes as little sense as none
                    result.append(item)
                url = (body.get('links') or {}).get('next')
                if url in seen:
                    raise ValueError('Its pages go round in circles.')
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise errors.TransientSourceError('Keystone: the answer to GET /%s makes no sense.' % what) from error
            query = {}
        return result

    @staticmethod
    def _ask(request: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return request(*args, **kwargs)
        except (exceptions.Unauthorized, exceptions.Forbidden) as error:
            raise errors.PermanentSourceError(
                'Keystone refuses [fetcher_keystone]: HTTP %s. The user needs the right to list projects, roles and '
                'role assignments.' % error.http_status
            ) from error
        except exceptions.HttpError as error:
            raise errors.TransientSourceError('Keystone answers HTTP %s.' % error.http_status) from error
        except (exceptions.ClientException, OSError) as error:
            # The text of a connection error names the URL, never credentials.
            raise errors.TransientSourceError('Keystone does not answer: %s' % type(error).__name__) from error
