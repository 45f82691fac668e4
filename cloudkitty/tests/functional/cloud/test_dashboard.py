# SPDX-License-Identifier: Apache-2.0
"""Every page of the dashboard in a browser: no error anywhere, and the figures of the API.

Where the environment variable CLOUDKITTY_PICTURES names a directory, it gets a picture of each page.
"""

import calendar
import contextlib
import dataclasses
import datetime
import json
import os
import re
import subprocess

from keystoneauth1 import adapter
import pytest

from cloudkitty import period
from cloudkitty.tests import browser as browsers
from cloudkitty.tests import horizon as horizons
from cloudkitty.tests import samples
from cloudkitty.tests import serving
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.cloud import guarded

pytestmark = pytest.mark.cloud
HOUR = samples.HOUR
HASHMAP = '/v1/rating/module_config/hashmap'
PROJECT, OTHER = 'web-shop', 'research'
#: Of each project: metric, unit, attributes, quantity and price of an hour.
USAGE = {
    PROJECT: [
        ('instance', 'instance', {'id': 'shop-1'}, {'flavor_name': 'm1.large'}, '1', '0.096'),
        ('instance', 'instance', {'id': 'shop-2'}, {'flavor_name': 'm1.small'}, '1', '0.012'),
        ('volume.size', 'GiB', {'id': 'shop-disk'}, {'volume_type': 'ssd'}, '200', '0.048'),
        ('image.size', 'MiB', {'id': 'shop-image'}, {'disk_format': 'qcow2'}, '512', '0.0256'),
        ('ip.floating', 'ip', {'id': 'shop-address'}, {'state': 'ACTIVE'}, '1', '0.004'),
    ],
    OTHER: [
        ('instance', 'instance', {'id': 'cluster-1'}, {'flavor_name': 'm1.medium'}, '1', '0.048'),
        ('volume.size', 'GiB', {'id': 'cluster-disk'}, {'volume_type': 'hdd'}, '1000', '0.15'),
    ],
}
#: What the dashboard asks for and does without: a service of hashmap need not be a metric.
TOLERATED = re.compile(r'404 GET /v1/info/metrics/%s$' % 'backup')
#: When a rule begins that has not started.
FUTURE = '2999-01-01T00:00:00'
#: Lines of Horizon's log that tell of trouble; Python's own warnings are of its packages.
_LOGGED = re.compile('(WARNING|ERROR|CRITICAL) (?!py.warnings)|Traceback|[A-Za-z.]+(Error|Exception)')


@dataclasses.dataclass(frozen=True)
class Stage:
    """Horizon, the service in its catalogue, and who may sign in."""

    horizon: horizons.Horizon
    admin: object
    member: object
    projects: dict
    answers: object
    browser_directory: object

    def call(self, path, credentials=None, **query):
        """Return what the API answers to the administrator, or to who else has *credentials*."""
        client = adapter.Adapter((credentials or self.admin).session(), service_type='rating')
        return client.get(path, params=query, headers={'Accept': 'application/json'}).json()

    def post(self, path, **body):
        """Make something as the administrator."""
        return adapter.Adapter(self.admin.session(), service_type='rating').post(path, json=body).json()

    def sum_up(self, credentials=None, **query):
        """Return the rows of a summary of version 2."""
        return self.call('/v2/summary', credentials, response_format='object', **query)['results']


def first_of_months(now):
    """Return the first instants of the month before that of *now* and of its own."""
    own = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (own - datetime.timedelta(days=1)).replace(day=1), own


def rate(api, projects):
    """Rate every hour from the first of last month to now: usage grows and shrinks from day to day."""
    now = period.to_epoch(datetime.datetime.now(period.UTC))
    begin = period.to_epoch(first_of_months(datetime.datetime.now(period.UTC))[0])
    begins = tuple(range(begin, now - now % HOUR, HOUR))
    factors = [1 + (hour // 24 % 7) for hour in range(len(begins))]
    points = [
        samples.columns(
            projects[name], metric, begins, [samples.Decimal(qty) * factor for factor in factors],
            [samples.Decimal(price) * factor for factor in factors],
            unit=unit, groupby={'project_id': projects[name], 'user_id': name, **groupby}, metadata=metadata,
        )
        for name, rows in USAGE.items()
        for metric, unit, groupby, metadata, qty, price in rows
    ]  # fmt: skip
    found = samples.ready_states(api.database, *projects.values(), first=begin)
    api.storage.commit(samples.commit(found, points, begin, len(begins)))


@pytest.fixture(scope='module')
def stage(cloud, tmp_path_factory):
    try:
        horizons.install()
    except horizons.HorizonError as error:
        conftest._miss(str(error))
    directory = tmp_path_factory.mktemp('dashboard')
    projects = {name: cloud.create_project(name) for name in USAGE}
    admin = cloud.create_user('dashboard-admin', PROJECT, 'admin')[1]
    member = cloud.create_user('dashboard-member', PROJECT, 'member')[1]
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(guarded.make_api(cloud, 'cloudkitty-of-dashboard'))
        (api.directory / 'metrics.yml').write_text((horizons.ROOT / 'etc/cloudkitty/metrics.yml').read_text())
        answers = directory / 'answers'
        answers.touch()
        paste = api.directory / 'api_paste.ini'
        paste.write_text(
            paste.read_text().replace('= cors ', '= recorder cors ')
            + '\n[filter:recorder]\npaste.filter_factory = cloudkitty.tests.recorder:Recorder.factory\npath = %s\n'
            % answers
        )
        rate(api, projects)
        server = stack.enter_context(serving.serve(api.config_file, directory))
        cloud.create_service('cloudkitty', 'rating', 'http://127.0.0.1:%d' % server.port)
        horizon = horizons.Horizon(directory, cloud.keystone_url).start()
        stack.callback(horizon.stop)
        yield Stage(horizon, admin, member, projects, answers, directory)


class Walk:
    """A browser in which somebody has signed in, and which looks for errors wherever it goes."""

    def __init__(self, stage, browser, credentials):
        self.stage = stage
        self.browser = browser
        # What went wrong before was found by whoever walked then, or wanted.
        self._answers = len(stage.answers.read_text().splitlines())
        self._lines = len(stage.horizon.read_log().splitlines())
        self._sign_in(credentials)

    def _sign_in(self, credentials):
        self.browser.open('/auth/login/')
        form = self.browser.find('form')
        self.browser.fill(form, username=credentials.username, password=credentials.password)
        self.browser.submit(form)
        self.look('home-of-%s' % credentials.username.rpartition('-')[2], picture=False)

    def go(self, path, name=None):
        """Open a page and look at it."""
        self.browser.open(path)
        if name:
            self.look(name)

    def look(self, name, picture=True):
        """Keep a picture of the page, and fail when anything went wrong since the last look."""
        if picture:
            self.browser.take_picture(name)
        troubles = self._find_troubles()
        assert not troubles, '\n'.join([name, *troubles])

    def _find_troubles(self):
        troubles = self.browser.find_troubles()
        answers = self.stage.answers.read_text().splitlines()
        troubles += [
            'API: %s' % line for line in answers[self._answers :] if line[0] not in '23' and not TOLERATED.search(line)
        ]
        lines = self.stage.horizon.read_log().splitlines()
        troubles += ['log: %s' % line for line in lines[self._lines :] if _LOGGED.match(line)]
        self._answers, self._lines = len(answers), len(lines)
        return troubles

    def refuse(self, form, name):
        """Send the form of a rule that has started: it cannot be changed, which the page has to say."""
        self.browser.click(self.browser.find(browsers.SUBMIT, form))
        self.browser.wait_for(lambda: self.browser.find_all('.alert-danger'))
        self.browser.take_picture(name)
        shown, answered, logged = self._find_troubles()
        assert 'shown: Error: ' in shown
        assert answered.startswith('API: 400 PUT ')
        assert 'You are allowed to update only the attribute [end]' in logged
        self.browser.open(self.browser.path())

    def submit(self, form, message=None):
        """Send a form; *message* is what the next page has to say of it."""
        self.browser.submit(form)
        self.expect(message)

    def delete(self, row, action, message):
        """Delete what a row of a table shows."""
        self.browser.confirm(self.browser.act(row, action))
        self.expect(message)

    def expect(self, message):
        if message:
            found = self.browser.texts('.messages .alert')
            assert any(message in text for text in found), found
        else:
            assert not self.browser.texts('.messages .alert-danger')


@contextlib.contextmanager
def walking(stage, credentials, directory):
    browser = browsers.Browser(directory, stage.horizon.url, os.environ.get('CLOUDKITTY_PICTURES'))
    try:
        yield Walk(stage, browser, credentials)
    finally:
        browser.close()


@pytest.fixture(scope='module')
def admin(stage, tmp_path_factory):
    with walking(stage, stage.admin, tmp_path_factory.mktemp('chromium')) as found:
        yield found


@pytest.fixture(scope='module')
def member(stage, tmp_path_factory):
    with walking(stage, stage.member, tmp_path_factory.mktemp('chromium')) as found:
        yield found


def write_rate(rate):
    """Return an amount as the dashboard writes it."""
    return '$%.2f' % rate


# modules


def test_modules(stage, admin):
    browser = admin.browser
    admin.go('/admin/rating_modules/', 'modules')

    def read():
        return {module['module_id']: module for module in stage.call('/v1/rating/modules')['modules']}

    def write(module):
        names = ('module_id', 'description', 'hot-config', 'priority', 'enabled')
        return [str(module[name]) for name in names]

    modules = read()
    assert sorted(modules) == ['hashmap', 'noop', 'pyscripts']
    assert [row[:5] for row in browser.read_table('#modules')] == [write(module) for module in modules.values()]
    for name in modules:
        browser.leave_by(browser.find('a', browser.row(name)))
        admin.look('module-%s' % name)
        assert list(browser.read_details().values()) == [
            str(modules[name][key]) for key in ('module_id', 'description', 'priority', 'enabled', 'hot-config')
        ]
        admin.go('/admin/rating_modules/')

    form = browser.open_dialog(browser.act(browser.row('hashmap'), 'Edit module priority'))
    browser.fill(form, priority='7')
    admin.look('module-priority')
    admin.submit(form, 'Successfully updated priority')
    assert read()['hashmap']['priority'] == 7
    for action, done, enabled in (('Enable', 'Enabled', True), ('Disable', 'Disabled', False)):
        browser.leave_by(browser.act(browser.row('hashmap'), '%s Module' % action))
        admin.expect('%s Module: hashmap' % done)
        admin.look('module-%s' % done.lower())
        assert read()['hashmap']['enabled'] is enabled
        assert browser.read_table('#modules')[0][4] == str(enabled)


# hashmap


def trim(text):
    """Return an amount without zeros at its end; any other text as it is."""
    return re.sub(r'^(\d+)(?:\.0+|(\.\d*[1-9])0*)$', r'\1\2', text)


class Hashmap:
    """The pages of hashmap, and what the API says of its rules."""

    def __init__(self, stage, walk):
        self.stage = stage
        self.walk = walk
        self.browser = walk.browser

    def list(self, kind, **query):
        return self.stage.call('%s/%ss' % (HASHMAP, kind), **query)['%ss' % kind]

    def show_tab(self, name):
        """Show a tab of a page; return the table on it, as a selector."""
        tab = next(tab for tab in self.browser.find_all('.nav-tabs a') if tab.text.strip() == name)
        self.browser.click(tab)
        pane = '#' + tab.get_attribute('data-target').lstrip('#')
        self.browser.wait_for(lambda: self.browser.find(pane).is_displayed())
        return '%s table' % pane

    def create(self, action, name, message=None, /, **values):
        """Open the form of a table's action, fill and send it."""
        form = self.browser.open_dialog(self.browser.find('[id$=__action_%s]' % action))
        self.browser.fill(form, **values)
        self.walk.look(name)
        self.walk.submit(form, message)

    def edit(self, text, action, name, /, **values):
        """Open the form of the row that holds *text*, fill and send it."""
        self.walk.submit(self._fill(text, action, name, values))

    def refuse(self, text, action, name, /, **values):
        """The same of a rule that has started."""
        self.walk.refuse(self._fill(text, action, name, values), '%s-refused' % name)

    def _fill(self, text, action, name, values):
        form = self.browser.open_dialog(self.browser.act(self.browser.row(text), action))
        self.browser.fill(form, **values)
        self.walk.look(name)
        return form

    def read(self, table):
        """Return the cells of a table's rows but boxes and actions, and amounts without zeros at their end."""
        return [[trim(cell) for cell in row[1:-1]] for row in self.browser.read_table(table)]

    def open(self, text):
        """Follow the link of a row that holds *text*."""
        self.browser.leave_by(self.browser.find('td a', self.browser.row(text)))


@pytest.fixture
def hashmap(stage, admin):
    return Hashmap(stage, admin)


def test_hashmap(stage, hashmap):
    walk, browser = hashmap.walk, hashmap.browser
    walk.go('/admin/hashmap/', 'hashmap-empty')
    hashmap.create(
        'createservice', 'hashmap-create-service', 'Service was successfully created',
        service='network.incoming.bytes.rate',
    )  # fmt: skip
    hashmap.create(
        'createservice', 'hashmap-create-service-custom', 'Service was successfully created',
        service_type='Custom service', custom_service='backup',
    )  # fmt: skip
    hashmap.create(
        'createservice', 'hashmap-create-service-instance', 'Service was successfully created', service='instance'
    )
    ids = {service['name']: service['service_id'] for service in hashmap.list('service')}
    assert [row[1:3] for row in browser.read_table('#services')] == [
        ['backup', '-'],
        ['instance', 'instance'],
        ['network.incoming.bytes.rate', 'MB'],
    ]
    assert sorted(ids) == ['backup', 'instance', 'network.incoming.bytes.rate']

    hashmap.open('instance')
    walk.look('hashmap-service')
    fill_service(stage, hashmap, ids['instance'])
    fill_field(stage, hashmap)

    walk.go('/admin/hashmap/', 'hashmap')
    rules = browser.read_table('h3 + table')
    expected = [
        [service['name'], '-', '(all)', mapping['type'], write_rate(float(mapping['cost']))]
        for service in hashmap.list('service')
        for mapping in hashmap.list('mapping', service_id=service['service_id'])
    ] + [
        ['instance', 'flavor_name', mapping['value'], mapping['type'], write_rate(float(mapping['cost']))]
        for mapping in hashmap.list('mapping')
        if mapping['field_id']
    ]
    assert sorted(rules) == sorted(expected) and len(rules) == 4
    delete_all(hashmap)


def fill_service(stage, hashmap, service_id):
    """Make a field, a group, mappings and thresholds on the page of a service, and change those that can be changed."""
    browser = hashmap.browser
    table = hashmap.show_tab('Fields')
    hashmap.create('createfield', 'hashmap-create-field', 'Field was successfully created', field='flavor_name')
    assert [row[-2] for row in browser.read_table(table)] == ['flavor_name']
    table = hashmap.show_tab('Groups')
    hashmap.create('creategroup', 'hashmap-create-group', 'Group was successfully created', name='uptime')
    table = hashmap.show_tab('Groups')
    (group,) = hashmap.list('group')
    assert [row[1:3] for row in browser.read_table(table)] == [['uptime', group['group_id']]]

    table = hashmap.show_tab('Service Mappings')
    hashmap.create(
        'createiservicemapping', 'hashmap-create-service-mapping',
        type='Flat', cost='0.05', group_id='uptime', tenant_id=PROJECT,
    )  # fmt: skip
    table = hashmap.show_tab('Service Mappings')
    assert hashmap.read(table) == [['flat', '0.05', 'uptime', stage.projects[PROJECT]]]
    hashmap.refuse('0.05', 'Edit Mapping', 'hashmap-edit-service-mapping', cost='0.75')
    # The forms have no start; a rule that is yet to start can be changed.
    stage.post('%s/mappings' % HASHMAP, service_id=service_id, type='rate', cost='0.5', start=FUTURE)
    browser.open(browser.path())
    hashmap.show_tab('Service Mappings')
    hashmap.edit('0.5', 'Edit Mapping', 'hashmap-edit-service-mapping-of-the-future', cost='0.75')
    table = hashmap.show_tab('Service Mappings')
    assert sorted(row[1] for row in hashmap.read(table)) == ['0.05', '0.75']
    costs = sorted(mapping['cost'] for mapping in hashmap.list('mapping', service_id=service_id))
    assert sorted(row[2] for row in browser.read_table(table)) == costs

    table = hashmap.show_tab('Service Thresholds')
    hashmap.create(
        'createservicethreshold', 'hashmap-create-service-threshold',
        level='10', type='Rate', cost='0.9', group_id='uptime',
    )  # fmt: skip
    table = hashmap.show_tab('Service Thresholds')
    assert hashmap.read(table)[0][:4] == ['10', 'rate', '0.9', 'uptime']
    hashmap.edit('0.9', 'Edit Service Threshold', 'hashmap-edit-service-threshold', level='20', cost='0.8')
    table = hashmap.show_tab('Service Thresholds')
    assert hashmap.read(table)[0][:4] == ['20', 'rate', '0.8', 'uptime']
    hashmap.walk.look('hashmap-service-thresholds')


def fill_field(stage, hashmap):
    """Make and change a mapping and a threshold on the page of a field; look at its group."""
    browser = hashmap.browser
    hashmap.show_tab('Fields')
    hashmap.open('flavor_name')
    hashmap.walk.look('hashmap-field')
    field_id = browser.path().rstrip('/').rpartition('/')[2]
    table = hashmap.show_tab('Field Mappings')
    hashmap.create(
        'createfieldmapping', 'hashmap-create-field-mapping',
        value='m1.large', type='Flat', cost='0.096', group_id='uptime',
    )  # fmt: skip
    table = hashmap.show_tab('Field Mappings')
    assert hashmap.read(table)[0] == ['flat', '0.096', 'uptime', '-', 'm1.large']
    hashmap.refuse('m1.large', 'Edit Mapping', 'hashmap-edit-field-mapping', cost='0.1')
    stage.post('%s/mappings' % HASHMAP, field_id=field_id, value='m1.small', cost='0.01', start=FUTURE)
    browser.open(browser.path())
    hashmap.show_tab('Field Mappings')
    hashmap.edit('m1.small', 'Edit Mapping', 'hashmap-edit-field-mapping-of-the-future', cost='0.02')
    table = hashmap.show_tab('Field Mappings')
    assert sorted(row[1] for row in hashmap.read(table)) == ['0.02', '0.096']
    table = hashmap.show_tab('Field Thresholds')
    hashmap.create('createfieldthreshold', 'hashmap-create-field-threshold', level='5', type='Rate', cost='0.95')
    table = hashmap.show_tab('Field Thresholds')
    hashmap.edit('0.95', 'Edit Field Threshold', 'hashmap-edit-field-threshold', level='6')
    table = hashmap.show_tab('Field Thresholds')
    assert hashmap.read(table)[0][:3] == ['6', 'rate', '0.95']
    hashmap.show_tab('Field Mappings')
    hashmap.walk.look('hashmap-field-mappings')
    browser.leave_by(next(link for link in browser.find_all('td a') if link.text == 'uptime'))
    hashmap.walk.look('hashmap-group')
    (group,) = hashmap.list('group')
    terms, texts = browser.texts('.detail dt'), browser.texts('.detail dd')
    assert texts[:2] == [group['group_id'], 'uptime']
    found = sorted(trim(text) for term, text in zip(terms, texts, strict=True) if term == 'Cost')
    assert found == ['0.05', '0.096', '0.8'], found


def delete_all(hashmap):
    """Delete one of each kind by its row, and what is left with its service."""
    walk, browser = hashmap.walk, hashmap.browser
    hashmap.open('instance')
    hashmap.show_tab('Fields')
    hashmap.open('flavor_name')
    for tab, kind in (('Field Mappings', 'Mapping'), ('Field Thresholds', 'Field Threshold')):
        row = browser.find('%s tbody tr' % hashmap.show_tab(tab))
        walk.delete(row, 'Delete %s' % kind, 'Deleted %s' % kind)
    walk.look('hashmap-field-deleted')
    walk.go('/admin/hashmap/')
    hashmap.open('instance')
    for tab, kind in (
        ('Service Thresholds', 'Service Threshold'),
        ('Service Mappings', 'Mapping'),
        ('Fields', 'Field'),
        ('Groups', 'Group'),
    ):
        row = browser.find('%s tbody tr' % hashmap.show_tab(tab))
        walk.delete(row, 'Delete %s' % kind, 'Deleted %s' % kind)
        walk.look('hashmap-%s-deleted' % kind.lower().replace(' ', '-'))
    walk.go('/admin/hashmap/')
    # Several at once, by the button above the table.
    for box in browser.find_all('#services tbody input[type=checkbox]'):
        browser.click(browser.find('label', box.find_element('xpath', '..')))
    browser.confirm(browser.find('#services__action_deleteservice'))
    walk.expect('Deleted Services')
    walk.look('hashmap-deleted')
    assert [hashmap.list(kind) for kind in ('service', 'mapping', 'threshold', 'group')] == [[]] * 4


# pyscripts

SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
SCRIPT = (
    'for period in data:\n    for points in period["usage"].values():\n        for point in points:\n            pass'
)


def test_pyscripts(stage, admin):
    browser = admin.browser

    def read():
        return [{**script, 'data': script['data'].replace('\r\n', '\n')} for script in stage.call(SCRIPTS)['scripts']]

    admin.go('/admin/pyscripts/', 'pyscripts-empty')
    form = browser.open_dialog(browser.find('[id$=__action_createpyscript]'))
    browser.fill(form, name='surcharge', script_data=SCRIPT)
    admin.look('pyscripts-create')
    admin.submit(form, 'Successfully created script')
    (script,) = read()
    assert browser.read_table('#pyscripts')[0][1:4] == [script['script_id'], 'surcharge', script['checksum']]
    admin.look('pyscripts')
    form = browser.open_dialog(browser.act(browser.row('surcharge'), 'Edit Script'))
    browser.fill(form, script_data=SCRIPT.replace('pass', 'break'))
    admin.look('pyscripts-edit')
    admin.refuse(form, 'pyscripts-edit-refused')
    stage.post(SCRIPTS, name='discount', data='pass', start=FUTURE)
    admin.go('/admin/pyscripts/')
    form = browser.open_dialog(browser.act(browser.row('discount'), 'Edit Script'))
    browser.fill(form, script_data=SCRIPT)
    admin.look('pyscripts-edit-of-the-future')
    admin.submit(form, 'Successfully updated script')
    assert {script['data'].strip() for script in read()} == {SCRIPT}
    browser.leave_by(browser.find('td a', browser.row('discount')))
    admin.look('pyscripts-details')
    details = browser.read_details()
    assert (details['Name'], details['Data'].split()) == ('discount', SCRIPT.split())
    admin.go('/admin/pyscripts/')
    for name in ('discount', 'surcharge'):
        admin.delete(browser.row(name), 'Delete PyScript', 'Deleted PyScript: %s' % name)
    assert read() == []
    admin.look('pyscripts-deleted')


# figures


def test_rating_summary(stage, admin):
    browser = admin.browser
    admin.go('/admin/rating_summary/', 'summary')
    sums = {row['project_id']: row['rate'] for row in stage.sum_up(groupby='project_id')}
    assert set(sums) == set(stage.projects.values())
    names = {project_id: name for name, project_id in stage.projects.items()}
    expected = [[project_id, names[project_id], write_rate(rate)] for project_id, rate in sums.items()]
    assert browser.read_table('#summary') == [*expected, ['ALL', 'Cloud Total', write_rate(sum(sums.values()))]]

    for project_id, filters in (
        (stage.projects[PROJECT], {'filters': 'project_id:%s' % stage.projects[PROJECT]}),
        ('ALL', {}),
    ):
        name = 'summary-%s' % ('cloud' if project_id == 'ALL' else 'project')
        admin.go('/admin/rating_summary/')
        # The boxes that were ticked last are remembered.
        browser.run('sessionStorage.clear()')
        browser.leave_by(next(link for link in browser.find_all('td a') if link.text == project_id))
        # It asks for the types by itself.
        browser.wait_for(lambda: 'type=true' in browser.path())
        admin.look(name)
        rows = stage.sum_up(groupby='type', **filters)
        total = ['TOTAL', write_rate(sum(row['rate'] for row in rows))]
        assert browser.read_table('#tenant_summary') == [
            *([row['type'], write_rate(row['rate'])] for row in rows),
            total,
        ]
        # "Select All" takes all back at once in release 23: its script is there twice, and so are the boxes.
        for attribute in ('id', 'user_id'):
            browser.click(browser.find('#checkbox-%s' % attribute))
        browser.leave_by(browser.find('#groupby_checkbox button[type=submit]'))
        admin.look('%s-by-all' % name)
        rows = stage.sum_up(groupby=['type', 'id', 'user_id'], **filters)
        found = browser.read_table('#tenant_summary')
        assert sorted(found[:-1]) == sorted(
            [row['type'], row['id'], row['user_id'], write_rate(row['rate'])] for row in rows
        )
        assert (found[-1][0], found[-1][-1]) == ('TOTAL', total[1])


def test_project_rating(stage, member):
    browser, now = member.browser, datetime.datetime.now(period.UTC)
    last, this = first_of_months(now)
    member.go('/project/rating/', 'rating')
    window = {'begin': this.isoformat(), 'end': now.isoformat()}
    rows = stage.sum_up(stage.member, groupby='type', **window)
    total = sum(row['rate'] for row in rows)
    before = stage.sum_up(stage.member, begin=last.isoformat(), end=this.isoformat())
    days = calendar.monthrange(now.year, now.month)[1]
    assert browser.texts('.panel-body p.h2') == [
        write_rate(total),
        write_rate(total / now.day * days),
        write_rate(sum(row['rate'] for row in before)),
    ]
    breakdown, top = (
        browser.read_table('.panel:has(> .panel-heading > h3) .%s' % kind)
        for kind in ('table:not(.datatable)', 'datatable')
    )
    assert [row[:2] for row in breakdown] == [[row['type'], write_rate(row['rate'])] for row in rows]
    resources = stage.sum_up(stage.member, groupby=['type', 'resource_id'], **window)
    expected = sorted(resources, key=lambda row: row['rate'], reverse=True)[:10]
    assert top == [[row['resource_id'], row['type'], write_rate(row['rate'])] for row in expected]


def test_reporting(stage, member):
    browser, now = member.browser, datetime.datetime.now(period.UTC)
    last, this = first_of_months(now)
    member.go('/project/reporting/')
    wait_for_charts(browser)
    member.look('reporting')
    check_charts(stage, browser, this, now)
    for field, date in (('start', last), ('end', last.replace(day=7))):
        browser.run('jQuery("[name=%s]").val("%s")' % (field, date.date().isoformat()))
    browser.leave_by(browser.find('.form-inline button[type=submit]'))
    check_charts(stage, browser, last, last.replace(day=7))
    wait_for_charts(browser)
    member.look('reporting-of-a-week')


def wait_for_charts(browser):
    browser.wait_for(lambda: browser.run('return d3.selectAll("g.slice path")[0].every(path => !path.__transition__)'))


def check_charts(stage, browser, first, last):
    """Compare both charts of reports with the API: sums of *first* to *last*, and those of each day."""
    end_of_day = datetime.timedelta(hours=23, minutes=59, seconds=59)

    def sum_up(begin, end):
        rows = stage.sum_up(stage.member, groupby='type', begin=begin.isoformat(), end=end.isoformat())
        return {row['type']: row['rate'] for row in rows}

    first, last = (instant.replace(hour=0, minute=0, second=0, microsecond=0) for instant in (first, last))
    sums = sum_up(first, last + end_of_day)
    slices = browser.run('return d3.selectAll("g.slice").data().map(s => [s.data.label, s.data.value])')
    assert dict(slices) == pytest.approx(sums)
    days = [first + datetime.timedelta(days=number) for number in range((last - first).days + 1)]
    by_day = {day: sum_up(day, day + end_of_day) for day in days}
    series = browser.run('return graph.series.map(s => [s.name, s.data.map(p => [p.x, p.y])])')
    assert dict(series).keys() == sums.keys()
    for name, points in series:
        assert points == [[period.to_epoch(day), by_day[day].get(name, 0)] for day in days]


# launching an instance


def test_quote(stage, member):
    """What the dialog that launches an instance sends: it is Nova's, which is not there, so nobody clicks here."""
    member.go('/project/rating/')
    body = [{'desc': {'metadata': {'flavor': 'm1.large', 'vcpus': 4}}, 'volume': 2}]
    found = member.browser.driver.execute_async_script(
        'const done = arguments[1];'
        'jQuery.ajax({url: "/project/rating/quote", type: "post", data: JSON.stringify(arguments[0]),'
        ' contentType: "application/json", dataType: "json"}).then(done, request => done(request.status));',
        body,
    )
    assert found == 0
    member.look('quote', picture=False)


# and nothing was left out

_LIST = """
import importlib, json
for panel, path in json.loads(input()).items():
    for pattern in importlib.import_module('cloudkittydashboard.dashboards.%s.urls' % panel).urlpatterns:
        print(json.dumps([pattern.name, '^/%s/%s' % (path, pattern.pattern.regex.pattern.lstrip('^'))]))
"""
PANELS = {
    'admin.hashmap': 'admin/hashmap',
    'admin.modules': 'admin/rating_modules',
    'admin.pyscripts': 'admin/pyscripts',
    'admin.summary': 'admin/rating_summary',
    'project.rating': 'project/rating',
    'project.reporting': 'project/reporting',
}
#: A page that no other leads to, and that takes a dictionary for an object.
DEAD = {'group'}


def test_every_page_was_visited(request, stage, admin, member):
    tests = [item for item in request.session.items if item.module is request.module]
    if len(tests) < sum(name.startswith('test_') for name in vars(request.module)):
        pytest.skip('Only some tests run.')
    code = 'import django; django.setup()%s' % _LIST
    done = subprocess.run(
        [horizons.ENVIRONMENT / 'bin' / 'python', '-W', 'ignore', '-c', code],
        input=json.dumps(PANELS), capture_output=True, text=True, check=False,
        env={**os.environ, 'DJANGO_SETTINGS_MODULE': 'openstack_dashboard.settings'},
    )  # fmt: skip
    patterns = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(patterns) > 20, done.stderr
    paths = {url.partition('?')[0] for walk in (admin, member) for url in walk.browser.visited}
    missed = {name for name, pattern in patterns if not any(re.search(pattern, path) for path in paths)}
    assert missed <= DEAD
