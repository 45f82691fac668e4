# SPDX-License-Identifier: Apache-2.0
"""Rates the scopes that a file lists, one a line."""

import pathlib

from oslo_config import cfg

from cloudkitty import errors
from cloudkitty import fetcher

OPTS = [cfg.StrOpt('path', default='/etc/cloudkitty/scopes', help='File with the id of a scope on each line.')]


class FileFetcher(fetcher.BaseFetcher):
    name = 'file'

    def __init__(self, path):
        self._path = pathlib.Path(path)

    @classmethod
    def from_options(cls, conf):
        conf.register_opts(OPTS, 'fetcher_file')
        return cls(conf.fetcher_file.path)

    def get_tenants(self):
        try:
            lines = self._path.read_text().splitlines()
        except OSError as error:
            # The list before is used on, and the log says why.
            raise errors.TransientSourceError('%s: %s.' % (self._path, error.strerror)) from error
        return sorted({line.strip() for line in lines} - {''})
