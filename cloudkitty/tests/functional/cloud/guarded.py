# SPDX-License-Identifier: Apache-2.0
"""An API with data that asks a real Keystone who comes."""

import contextlib

from cloudkitty.tests import samples
from cloudkitty.tests.functional.api import deployment


@contextlib.contextmanager
def make_api(cloud, name):
    """Give an API on SQLite, not served yet, whose service user is called *name*; its paste file is the shipped one."""
    service = cloud.create_service_user(name)
    api = deployment.Api('keystone')
    options = ''.join('%s = %s\n' % pair for pair in service.options().items())
    text = api.config_file.read_text()
    start, end = text.index('[keystone_authtoken]'), text.index('[cors]')
    own = '[keystone_authtoken]\nwww_authenticate_uri = %s\ninterface = public\n%s' % (service.auth_url, options)
    api.config_file.write_text(text[:start] + own + text[end:])
    (api.directory / 'api_paste.ini').write_text(deployment.PASTE_FILE.read_text())
    try:
        yield api
    finally:
        api.close()


def rate(api, *project_ids):
    """Rate an hour of each project: one instance, for 0.5, 1.5, 2.5 and so on."""
    found = samples.ready_states(api.database, *project_ids)
    points = [
        samples.columns(project_id, 'instance', (samples.JUNE,), id='a%d' % number, prices=('%d.5' % number,))
        for number, project_id in enumerate(project_ids)
    ]
    api.storage.commit(samples.commit(found, points))
