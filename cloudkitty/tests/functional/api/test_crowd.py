# SPDX-License-Identifier: Apache-2.0
"""32 clients that change rules at the same time, on each server, against the command ``cloudkitty-api``."""

import collections

from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.rating import chain
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.rating.pyscripts import module as pyscripts
from cloudkitty.tests import crowd as crowds
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_command
from cloudkitty.tests.functional.rating import test_chain


def test_no_change_is_lost_and_nothing_is_there_twice(database_url):
    api = deployment.Api('noauth', url=database_url).seed()
    try:
        for name in ('hashmap', 'pyscripts'):
            rating_modules.set_enabled(api.database, name, True)
        before = rule_revision.current(api.database)
        arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
        with test_command.serve(*arguments) as (_, port, _):
            crowd = crowds.Crowd('http://127.0.0.1:%d' % port).run(12)
            assert crowd.check() == []
            mappings = crowd._list(crowds.HASHMAP + '/mappings', 'mappings')
            thresholds = crowd._list(crowds.HASHMAP + '/thresholds', 'thresholds')
            scripts = crowd._list(crowds.SCRIPTS, 'scripts')
        assert {201, 204, 302, 409} <= set(crowd.statuses)
        assert rule_revision.current(api.database) - before >= crowd.changes() > 100
        # What is priced with is what is listed.
        loaded = chain.load(api.database, test_chain.CONF)
        counts = collections.Counter()
        for kind, part in chain._parts(loaded):
            if kind == rulebook.PART:
                for place in [part, *part['fields']]:
                    counts['mappings'] += len(place['mappings'])
                    counts['thresholds'] += len(place['thresholds'])
            elif kind == pyscripts.PART:
                counts['scripts'] += 1
        assert counts == {'mappings': len(mappings), 'thresholds': len(thresholds), 'scripts': len(scripts)}
    finally:
        api.close()
