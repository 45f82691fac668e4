# SPDX-License-Identifier: Apache-2.0
"""What the YAML tests name as their fixture: which API they speak to."""

from gabbi import fixture

from cloudkitty.tests.functional.api import deployment


class _Api(fixture.GabbiFixture):
    strategy: str
    current: deployment.Api | None = None

    def start_fixture(self):
        _Api.current = deployment.Api(self.strategy).seed()

    def stop_fixture(self):
        _Api.current.close()


class Keystone(_Api):
    """Tokens are validated and rules are checked."""

    strategy = 'keystone'


class Rated(_Api):
    """The same, with a point that rules have priced."""

    strategy = 'keystone'

    def start_fixture(self):
        super().start_fixture()
        _Api.current.rate()


class NoAuth(_Api):
    """Everybody may do everything."""

    strategy = 'noauth'


def application():
    """Return an application that hands on to that of the fixture which is on."""
    return lambda environ, start_response: _Api.current.application(environ, start_response)
