# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-api`` under many clients that change rules and read at once, on every server."""

import datetime
from decimal import Decimal
import os
import re
from types import SimpleNamespace

import pytest
import sqlalchemy

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.db import ledger_models
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.rating import chain
from cloudkitty.rating import dates
from cloudkitty.rating import quotes
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.rating.pyscripts import models as script_models
from cloudkitty.rating.pyscripts import module as pyscripts
from cloudkitty.tests import clients
from cloudkitty.tests import samples
from cloudkitty.tests import serving

CONF = SimpleNamespace(collect=SimpleNamespace(timezone='UTC'), pyscripts=samples.make_pyscripts())
CLIENTS = 32
#: Requests of each client; more by hand: ``CK_RUSH_REQUESTS=500``.
REQUESTS = int(os.environ.get('CK_RUSH_REQUESTS', 16))
SEED = int(os.environ.get('CK_RUSH_SEED', 3))


@pytest.fixture
def api(make_api, database_url):
    """An API with data, once on every server; modules that rate are on."""
    made = make_api('noauth', url=database_url, collect='timezone = UTC').seed()
    for name in ('hashmap', 'pyscripts'):
        rating_modules.set_enabled(made.database, name, True)
    return made


def read_everything(client):
    """Return {kind: objects} as the API lists them."""
    result = {}
    for kind, (url, _) in clients.KINDS.items():
        if kind != 'field':
            result[kind] = client.ask('GET', 'GET', url).answer[kind + 's']
    url = clients.KINDS['field'][0]
    pages = [client.ask('GET', 'GET', '%s?service_id=%s' % (url, found['service_id'])) for found in result['service']]
    result['field'] = [field for page in pages for field in page.answer['fields']]
    return result


def find_orphans(database):
    """Return rows that belong to a row which is not there, and whole ids of actors of no rule."""
    result = []
    references = [
        (models.Field.service_id, models.Service.id),
        *((getattr(model, '%s_id' % name), parent.id)
          for model in (models.Mapping, models.Threshold)
          for name, parent in (('service', models.Service), ('field', models.Field), ('group', models.Group))),
    ]  # fmt: skip
    with database.reader() as session:
        for child, parent in references:
            query = sqlalchemy.select(child.class_.id).where(
                child.is_not(None), child.not_in(sqlalchemy.select(parent))
            )
            result += [(str(child), id_) for id_ in session.scalars(query)]
        rules = set(session.scalars(sqlalchemy.select(models.Mapping.mapping_id)))
        rules |= set(session.scalars(sqlalchemy.select(script_models.Script.script_id)))
        actors = session.scalars(sqlalchemy.select(ledger_models.RuleActors.rule_id))
        return result + [('actors', id_) for id_ in actors if id_ not in rules]


def find_doubles(listed):
    """Return the places that two objects have, where nothing but the API's refusal keeps them from it."""
    places = {}
    for kind, names in (('service', ('name',)), ('group', ('name',)), ('field', ('service_id', 'name')),
                        ('mapping', ('name',)), ('script', ('name',))):  # fmt: skip
        for entry in listed[kind]:
            places.setdefault((kind, *(entry[name] for name in names)), []).append(entry)
    return {place: found for place, found in places.items() if len(found) > 1}


def describe_listed(listed, zone):
    """Return what the rules are by the API's lists, as :func:`describe_chain` has it."""
    groups = {found['group_id']: found['name'] for found in listed['group']} | {None: pricing.DEFAULT_GROUP}
    result = {}
    for service in listed['service']:
        result[service['name']] = {'': _describe_listed(listed, groups, zone, service_id=service['service_id'])} | {
            field['name']: _describe_listed(listed, groups, zone, field_id=field['field_id'])
            for field in listed['field']
            if field['service_id'] == service['service_id']
        }
    scripts = [(found['name'], found['data'], _epoch(found['start'], zone), None) for found in listed['script']]
    return result, scripts


def _describe_listed(listed, groups, zone, **parent):
    ((member, id_),) = parent.items()
    mappings = [
        (found['type'], Decimal(found['cost']), found['value'] or None, groups[found['group_id']], found['tenant_id'],
         _epoch(found['start'], zone), _epoch(found['end'], zone))
        for found in listed['mapping'] if found[member] == id_
    ]  # fmt: skip
    thresholds = [
        (found['type'], Decimal(found['cost']), Decimal(found['level']), groups[found['group_id']], found['tenant_id'])
        for found in listed['threshold']
        if found[member] == id_
    ]
    return mappings, thresholds


def _epoch(text, zone):
    return None if text is None else dates.to_epoch(datetime.datetime.fromisoformat(text), zone)


def describe_chain(loaded):
    """Return ({service: {field ('': none): (mappings, thresholds)}}, scripts) of a chain, by its written form."""
    result, scripts = {}, []
    for link in loaded.links:
        for kind, part in link.module.write():
            if kind == rulebook.PART:
                result[part['name']] = {'': _describe_part(part)} | {
                    field['name']: _describe_part(field) for field in part['fields']
                }
            elif kind == pyscripts.PART:
                scripts.append((part['name'], part['source'], part['start'], part['end']))
    return result, scripts


def _describe_part(part):
    mappings = [
        (found['type'], Decimal(found['cost']), found['value'], found['group'], found['tenant'], found['start'],
         found['end'])
        for found in part['mappings']
    ]  # fmt: skip
    thresholds = [
        (found['type'], Decimal(found['cost']), Decimal(found['level']), found['group'], found['tenant'])
        for found in part['thresholds']
    ]
    return mappings, thresholds


NAMES = ['service-%d' % number for number in range(6)]
DESC = {'field-%d' % number: 'value-%d' % number for number in range(3)}


def ask_for_quote(client, name):
    resource = {'service': name, 'desc': DESC, 'volume': '3'}
    return client.ask('POST quote', 'POST', '/v1/rating/quote', {'resources': [resource]}).answer


def test_many_clients_lose_nothing_and_break_nothing(api):
    before = rule_revision.current(api.database)
    with serving.serve(api.config_file, api.directory) as server:
        events, _ = clients.Rush(SEED).run(server.port, CLIENTS, REQUESTS)
        revision = rule_revision.current(api.database)
        client = clients.Client(server.port)
        listed = read_everything(client)
        told = {name: ask_for_quote(client, name) for name in NAMES}
        client.close()
        log = server.read_log()
    model = clients.Model(events)
    # It says why an answer is not as it should be.
    assert not re.search('ERROR|Traceback', log), log
    assert len(events) == CLIENTS * REQUESTS
    assert model.check() == []
    assert model.check_end(listed) == []
    assert revision - before == model.count_changes()
    assert find_orphans(api.database) == []
    assert find_doubles(listed) == {}
    loaded = chain.load(api.database, CONF)
    assert describe_chain(loaded) == describe_listed(listed, loaded.zone)
    assert loaded.revision == revision
    assert told == {name: quote_by(loaded, name) for name in NAMES}


def quote_by(loaded, name):
    """Return what the API should say to :func:`ask_for_quote`."""
    resource = quotes.Resource(name, Decimal(3), DESC)
    return amount.to_text(quotes.quote(loaded, [resource], datetime.datetime.now(period.UTC), 3600))
