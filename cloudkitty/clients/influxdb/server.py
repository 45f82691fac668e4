# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of InfluxDB: answers line by line, however long they are."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import json
from typing import Any
import urllib.parse

import requests
from requests import adapters
import urllib3

from cloudkitty import errors


class Server:
    """A server, and how to reach it.

    :param patience: seconds to connect, and between two pieces of an answer.
    :param verify: whether its certificate is checked, or the file to check it with.
    """

    def __init__(
        self,
        url: str,
        patience: tuple[float | None, float | None],
        verify: bool | str = True,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip('/')
        self._patience = patience
        self._session = requests.Session()
        # What a file in somebody's home says is not for us.
        self._session.trust_env = False
        self._session.verify = verify
        self._session.auth = auth
        self._session.headers.update(headers or {})
        # A query changes nothing: it may be asked again.
        retry = urllib3.Retry(3, backoff_factor=0.5, status_forcelist=(502, 503, 504), allowed_methods=None)
        retry.raise_on_status = False
        for prefix in ('http://', 'https://'):
            self._session.mount(prefix, adapters.HTTPAdapter(max_retries=retry))
        parts = urllib.parse.urlsplit(self._url)
        self.name = 'InfluxDB at %s' % parts.netloc.rpartition('@')[2]

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """POST *query* (keywords of :mod:`requests`) to *path*; yield the lines of the answer, with their ends.

        :raises SourceError: there is none, it is a refusal, or it breaks off.
        """
        with self._translate(), self._ask(path, query) as answer:
            if answer.status_code != 200:
                text = ' '.join(_describe(answer).split())[:500]
                kind = errors.TransientSourceError if answer.status_code >= 500 else errors.PermanentSourceError
                raise kind('%s answers HTTP %d: %s' % (self.name, answer.status_code, text))
            rest: list[bytes] = []
            for chunk in answer.iter_content(2**16):
                first, *others = chunk.split(b'\n')
                rest.append(first)
                for other in others:
                    yield (b''.join(rest) + b'\n').decode()
                    rest = [other]
            if any(rest):
                yield b''.join(rest).decode()

    def _ask(self, path: str, query: Mapping[str, Any]) -> requests.Response:
        return self._session.post(self._url + path, timeout=self._patience, stream=True, allow_redirects=False, **query)

    @contextlib.contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except requests.Timeout as error:
            raise errors.TransientSourceError('%s does not answer in time.' % self.name) from error
        except requests.exceptions.SSLError as error:
            raise errors.PermanentSourceError('%s: its certificate is not accepted.' % self.name) from error
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            raise errors.ConfigurationError('[storage_influxdb] url is no URL.') from error
        except (requests.RequestException, OSError) as error:
            # Text of a connection error would name the URL, which may hold a password.
            raise errors.TransientSourceError(
                '%s does not answer, or breaks off: %s.' % (self.name, type(error).__name__)
            ) from error
        except UnicodeDecodeError as error:
            raise errors.PermanentSourceError('%s: its answer is no UTF-8.' % self.name) from error

    def refuse(self, text: str) -> errors.SourceError:
        """Return the error for what the server says within an answer."""
        return errors.PermanentSourceError('%s says: %s' % (self.name, ' '.join(text.split())[:500]))


def _describe(answer: requests.Response) -> str:
    try:
        found = json.loads(answer.text)
        return str(found.get('error') or found.get('message') or answer.reason)
    except (ValueError, AttributeError):
        return answer.reason or 'no reason given'
