# SPDX-License-Identifier: Apache-2.0
"""What may be done to rules, on every server."""

import concurrent.futures
import dataclasses
import datetime
from decimal import Decimal
import threading
import zoneinfo

import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import ledger_models
from cloudkitty.db import rule_revision
from cloudkitty.rating.hashmap import mappings
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rows
from cloudkitty.rating.hashmap import services
from cloudkitty.rating.hashmap import thresholds

PARIS = zoneinfo.ZoneInfo('Europe/Paris')
NOW = datetime.datetime(2026, 6, 1, 10, 0, 0, 250000, tzinfo=period.UTC)
#: The same on a wall in Paris.
LOCAL = datetime.datetime(2026, 6, 1, 12)
HOUR = datetime.timedelta(hours=1)
NOBODY = 'no-such-id'


def later(hours):
    return LOCAL + hours * HOUR


class Rules:
    """The store of *database*, with a service and a field."""

    def __init__(self, database):
        self.database = database
        self.service = services.create_service(database, 'instance')
        self.field = services.create_field(database, self.service.id, 'flavor')

    def group(self, name):
        return services.create_group(self.database, name).id

    def map(self, cost=1, actor='me', now=NOW, force=False, **members):
        if not {'service_id', 'field_id'} & set(members):
            members['field_id'] = self.field.id
        if members.get('field_id'):
            members.setdefault('value', 'xl')
        request = mappings.MappingRequest(Decimal(cost), **members)
        return mappings.create_mapping(self.database, request, actor, now, PARIS, force)

    def update(self, mapping, now=NOW, actor='me', **members):
        members.setdefault('cost', mapping.cost)
        return mappings.update_mapping(self.database, mapping.id, mappings.MappingRequest(**members), actor, now, PARIS)

    def delete(self, mapping, actor='me'):
        mappings.delete_mapping(self.database, mapping.id, actor, NOW, PARIS)

    def level(self, level, cost=1, **members):
        if not {'service_id', 'field_id'} & set(members):
            members['service_id'] = self.service.id
        return thresholds.create_threshold(
            self.database, thresholds.ThresholdRequest(Decimal(level), Decimal(cost), **members)
        )

    def mappings(self, **wanted):
        return mappings.list_mappings(self.database, mappings.MappingFilter(**wanted), PARIS)

    def thresholds(self, **wanted):
        return thresholds.list_thresholds(self.database, rows.Filter(**wanted))

    @property
    def revision(self):
        return rule_revision.current(self.database)


@pytest.fixture
def rules(database):
    return Rules(database)


@pytest.fixture
def quick(sqlite):
    """On SQLite only: what does not depend on the server."""
    return Rules(sqlite)


def whole(mapping):
    """Return the request that repeats what is stored."""
    names = [field.name for field in dataclasses.fields(mappings.MappingRequest)]
    return {name: getattr(mapping, name) for name in names}


# Services, fields, groups


def test_services_are_made_listed_and_read(rules):
    second = services.create_service(rules.database, 'a volume')
    assert services.list_services(rules.database) == [rules.service, second]
    assert services.get_service(rules.database, second.id) == second
    with pytest.raises(errors.NotFound, match=NOBODY):
        services.get_service(rules.database, NOBODY)


def test_fields_belong_to_their_service(rules):
    other = services.create_service(rules.database, 'volume')
    field = services.create_field(rules.database, other.id, 'flavor')
    assert field == services.Field(field.id, 'flavor', other.id)
    assert services.list_fields(rules.database, other.id) == [field]
    assert services.list_fields(rules.database, 'instance') == []
    assert services.get_field(rules.database, field.id) == field
    with pytest.raises(errors.NotFound, match=NOBODY):
        services.get_field(rules.database, NOBODY)
    with pytest.raises(errors.BadRequest, match=NOBODY):
        services.create_field(rules.database, NOBODY, 'flavor')


def test_names_are_unique_and_the_refusal_names_the_other(rules):
    group = rules.group('net')
    for make, id_ in (
        (lambda: services.create_service(rules.database, 'instance'), rules.service.id),
        (lambda: services.create_field(rules.database, rules.service.id, 'flavor'), rules.field.id),
        (lambda: rules.group('net'), group),
    ):
        with pytest.raises(errors.Conflict, match=id_):
            make()


@pytest.mark.parametrize('name', ['', 'x' * 256])
def test_names_that_do_not_fit_are_named(rules, name):
    for make in (
        lambda: services.create_service(rules.database, name),
        lambda: services.create_field(rules.database, rules.service.id, name),
        lambda: rules.group(name),
    ):
        with pytest.raises(errors.BadRequest, match='^name'):
            make()
    services.create_service(rules.database, 'é' * 255)


def test_ids_are_exact(rules):
    """MySQL would find them in whatever case."""
    with pytest.raises(errors.NotFound):
        services.get_service(rules.database, rules.service.id.upper() + ' ')
    mapping = rules.map()
    with pytest.raises(errors.NotFound):
        mappings.get_mapping(rules.database, mapping.id + ' ')
    assert rules.mappings(field_id=rules.field.id + ' ') == []


def test_a_service_goes_with_all_that_hangs_on_it(rules):
    rules.map(actor='long' * 20)
    rules.map(service_id=rules.service.id)
    rules.level(1)
    rules.level(1, field_id=rules.field.id)
    services.delete_service(rules.database, rules.service.id)
    with rules.database.reader() as session:
        for model in (models.Service, models.Field, models.Mapping, models.Threshold, ledger_models.RuleActors):
            assert session.scalars(sqlalchemy.select(model)).all() == []
    with pytest.raises(errors.NotFound):
        services.delete_service(rules.database, rules.service.id)


def test_a_field_goes_with_its_rules_only(rules):
    kept = rules.map(service_id=rules.service.id)
    rules.map()
    rules.level(1, field_id=rules.field.id)
    services.delete_field(rules.database, rules.field.id)
    assert rules.mappings() == [kept]
    assert rules.thresholds() == []
    with pytest.raises(errors.NotFound):
        services.delete_field(rules.database, rules.field.id)


def test_rules_of_a_deleted_group_stay_without_it(rules):
    group = rules.group('net')
    mapping, threshold = rules.map(group_id=group), rules.level(1, group_id=group)
    services.delete_group(rules.database, group)
    assert rules.mappings() == [dataclasses.replace(mapping, group_id=None)]
    assert rules.thresholds() == [dataclasses.replace(threshold, group_id=None)]
    with pytest.raises(errors.NotFound):
        services.delete_group(rules.database, group)


def test_rules_go_with_their_group_if_told(rules):
    group = rules.group('net')
    kept = rules.map()
    rules.map(group_id=group)
    rules.level(1, group_id=group)
    services.delete_group(rules.database, group, recursive=True)
    assert rules.mappings(deleted=True) == [kept]
    assert rules.thresholds() == []
    assert services.list_groups(rules.database) == []


# Mappings


def test_a_mapping_is_what_was_asked_for(rules):
    group = rules.group('net')
    made = rules.map(
        '123456789012.1234567890123456789012345678',
        kind=pricing.Kind.RATE,
        group_id=group,
        tenant_id='t',
        value='é',
        start=later(1),
        end=later(2),
        name='mine',
        description='what for',
    )
    assert made == mappings.Mapping(
        id=made.id,
        value='é',
        kind=pricing.Kind.RATE,
        cost=Decimal('123456789012.1234567890123456789012345678'),
        service_id=None,
        field_id=rules.field.id,
        group_id=group,
        tenant_id='t',
        created_at=LOCAL,
        start=later(1),
        end=later(2),
        name='mine',
        description='what for',
        deleted=None,
        created_by='me',
        updated_by=None,
        deleted_by=None,
    )
    assert mappings.get_mapping(rules.database, made.id) == made
    assert rules.mappings() == [made]
    assert mappings.get_group_of_mapping(rules.database, made.id) == services.Group(group, 'net')


def test_what_is_not_said_has_a_default(rules):
    made = rules.map(service_id=rules.service.id)
    assert (made.kind, made.start, made.end, made.tenant_id) == (pricing.Kind.FLAT, LOCAL, None, None)
    assert len(made.name) == 32 and int(made.name, 16)
    with pytest.raises(errors.NotFound, match=made.id):
        mappings.get_group_of_mapping(rules.database, made.id)


def test_aware_dates_become_local(rules):
    made = rules.map(
        start=datetime.datetime(2026, 6, 1, 20, 0, 0, 999999, tzinfo=datetime.timezone(datetime.timedelta(hours=9))),
        end=datetime.datetime(2026, 12, 1, 12, tzinfo=period.UTC),
        force=True,
    )
    assert (made.start, made.end) == (later(1), datetime.datetime(2026, 12, 1, 13))


def test_no_date_of_the_calendar_breaks_anything(rules):
    first, last = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)
    made = rules.map(start=first, end=last, force=True)
    assert rules.mappings() == [made] and (made.start, made.end) == (first, last)
    with pytest.raises(errors.BadRequest, match='^start'):
        rules.map(start=first.replace(tzinfo=datetime.timezone(HOUR)), force=True)
    with pytest.raises(errors.BadRequest, match='^end'):
        rules.map(end=last.replace(tzinfo=period.UTC))


def test_the_past_needs_force(quick):
    with pytest.raises(errors.BadRequest, match='^start.*force'):
        quick.map(start=LOCAL - datetime.timedelta(seconds=1))
    assert quick.map(start=LOCAL).start == LOCAL
    assert quick.map(start=later(-1), value='sm', force=True).start == later(-1)


@pytest.mark.parametrize('force', [True, False])
def test_an_end_is_not_before_the_start(quick, force):
    with pytest.raises(errors.BadRequest, match='^end'):
        quick.map(start=later(2), end=later(1), force=force)
    with pytest.raises(errors.BadRequest, match='^end'):
        quick.map(end=later(-1), force=force)
    assert quick.map(start=later(2), end=later(2), force=force).end == later(2)


@pytest.mark.parametrize(
    ('members', 'match'),
    [
        ({'service_id': None, 'field_id': None}, 'service_id or field_id'),
        ({'service_id': 'SERVICE', 'field_id': 'FIELD'}, 'not both'),
        ({'service_id': 'SERVICE', 'value': 'xl'}, '^value'),
        ({'value': ''}, '^value'),
        ({'value': None}, '^value'),
        ({'field_id': NOBODY}, '^field_id.*' + NOBODY),
        ({'service_id': NOBODY}, '^service_id.*' + NOBODY),
        ({'group_id': NOBODY}, '^group_id.*' + NOBODY),
        ({'cost': '1000000000000'}, '^cost'),
        ({'cost': '0.00000000000000000000000000001'}, '^cost'),
        ({'cost': 'NaN'}, '^cost'),
        ({'value': 'x' * 256}, '^value'),
        ({'tenant_id': 'x' * 256}, '^tenant_id'),
        ({'name': 'x' * 33}, '^name'),
        ({'description': 'x' * 257}, '^description'),
    ],
)
def test_a_refusal_names_what_is_wrong(quick, members, match):
    words = {'SERVICE': quick.service.id, 'FIELD': quick.field.id}
    before = quick.revision
    with pytest.raises(errors.BadRequest, match=match):
        quick.map(**{name: words.get(value, value) for name, value in members.items()})
    assert quick.mappings() == [] and quick.revision == before


def test_costs_of_any_sign_and_the_longest_texts_are_kept(rules):
    longest = {'value': 'x' * 255, 'tenant_id': 'é' * 255, 'name': 'x' * 32, 'description': 'é' * 256}
    made = rules.map('-0.0000000000000000000000000001', **longest)
    found = mappings.get_mapping(rules.database, made.id)
    assert found == made and {name: getattr(found, name) for name in longest} == longest
    assert rules.map(0).cost == 0


def test_characters_that_mysql_does_not_know_are_refused_there(rules):
    if rules.database.dialect == 'mysql':
        with pytest.raises(errors.BadRequest, match='^value'):
            rules.map(value='\U0001f600')
        with pytest.raises(errors.BadRequest, match='^name'):
            rules.group('\U0001f600')
    else:
        assert rules.map(value='\U0001f600').value == '\U0001f600'
    assert rules.mappings(filter_tenant=True, tenant_id='\U0001f600') == []
    assert rules.mappings(group_id='\U0001f600') == []
    with pytest.raises(errors.NotFound):
        mappings.get_mapping(rules.database, '\U0001f600')


@pytest.mark.parametrize(
    ('one', 'other', 'collide'),
    [
        ((1, 3), (2, 4), True),
        ((1, 3), (3, 4), False),
        ((3, 4), (1, 3), False),
        ((1, 4), (2, 3), True),
        ((2, 3), (1, 4), True),
        ((1, None), (2, 3), True),
        ((2, None), (1, 2), False),
        ((1, 3), (2, None), True),
        ((1, 3), (3, None), False),
        ((3, None), (1, None), True),
        ((2, 2), (1, 3), False),
        ((1, 3), (2, 2), False),
    ],
)
def test_one_place_has_one_mapping_at_any_instant(quick, one, other, collide):
    def window(hours):
        return {'start': later(hours[0]), 'end': None if hours[1] is None else later(hours[1])}

    first = quick.map(**window(one))
    if collide:
        with pytest.raises(errors.Conflict, match='%s.*xl.*field %s.*all tenants' % (first.id, quick.field.id)):
            quick.map(**window(other))
    else:
        quick.map(**window(other))


def test_other_places_do_not_collide(rules):
    group = rules.group('net')
    rules.map()
    rules.map(value='XL')
    rules.map(value='xl ')
    rules.map(group_id=group)
    rules.map(tenant_id='t')
    rules.map(tenant_id='T')
    rules.map(tenant_id='')
    rules.map(service_id=rules.service.id)
    with pytest.raises(errors.Conflict, match='service %s' % rules.service.id):
        rules.map(service_id=rules.service.id, value='')
    for place in ({}, {'value': 'XL'}, {'group_id': group}, {'tenant_id': 'T'}):
        with pytest.raises(errors.Conflict):
            rules.map(**place)


def test_names_of_mappings_are_unique_while_they_are_not_deleted(rules):
    first = rules.map(name='mine')
    rules.map(value='b', name='MINE')
    with pytest.raises(errors.Conflict, match=first.id):
        rules.map(value='c', name='mine')
    rules.delete(first)
    rules.map(value='c', name='mine')


def test_a_deleted_mapping_can_be_read_and_its_place_taken(rules):
    first = rules.map()
    rules.delete(first, 'somebody')
    gone = dataclasses.replace(first, deleted=LOCAL, deleted_by='somebody')
    assert mappings.get_mapping(rules.database, first.id) == gone
    second = rules.map()
    assert rules.mappings() == [second]
    assert rules.mappings(deleted=True) == [gone, second]
    with pytest.raises(errors.NotFound, match=first.id):
        rules.delete(first)
    with pytest.raises(errors.NotFound, match=first.id):
        rules.update(first)


def test_actors_are_kept_whole(rules):
    long = ['%s-%s' % (word, 'x' * 60) for word in ('creator', 'updater', 'deleter')]
    made = rules.map(actor=long[0])
    rules.update(made, end=later(1), actor=long[1])
    rules.delete(made, actor=long[2])
    found = mappings.get_mapping(rules.database, made.id)
    assert [found.created_by, found.updated_by, found.deleted_by] == long
    assert rules.mappings(deleted=True, deleted_by=long[2]) == [found]
    with rules.database.reader() as session:
        assert session.scalars(sqlalchemy.select(models.Mapping.created_by)).all() == [long[0][:32]]


def test_the_last_actor_counts_however_long(rules):
    made = rules.map(start=later(1), actor='x' * 32)
    assert rules.update(made, cost=Decimal(5), start=None, actor='y' * 64).updated_by == 'y' * 64
    assert rules.update(made, cost=Decimal(6), actor='z').updated_by == 'z'


@pytest.mark.parametrize('database_kind', [pytest.param('mariadb', marks=pytest.mark.mariadb)], indirect=True)
def test_tables_that_were_given_another_collation_can_be_read(rules):
    made = rules.map(actor='x' * 64)
    with rules.database.engine.connect() as connection:
        connection.exec_driver_sql('SET FOREIGN_KEY_CHECKS = 0')
        for collation in ('utf8mb4_unicode_ci', 'utf8mb4_general_ci', 'utf8mb4_bin'):
            connection.exec_driver_sql(
                'ALTER TABLE hashmap_mappings CONVERT TO CHARACTER SET utf8mb4 COLLATE %s' % collation
            )
            assert rules.mappings() == [made]
        connection.exec_driver_sql('SET FOREIGN_KEY_CHECKS = 1')


def test_before_the_start_some_members_change(rules):
    group = rules.group('net')
    made = rules.map(start=later(1), end=later(2), description='old')
    before = rules.revision
    found = rules.update(
        made,
        cost=Decimal('2.5'),
        start=later(3),
        end=later(4),
        description='new',
        actor='other',
        value='ignored',
        kind=pricing.Kind.RATE,
        group_id=group,
        tenant_id='t',
        name='ignored',
        service_id=rules.service.id,
    )
    assert found == dataclasses.replace(
        made, cost=Decimal('2.5'), start=later(3), end=later(4), description='new', updated_by='other'
    )
    assert mappings.get_mapping(rules.database, made.id) == found
    assert rules.revision == before + 1


def test_before_the_start_what_is_not_said_is_forgotten_but_the_start(quick):
    made = quick.map(start=later(1), end=later(2), description='old')
    found = quick.update(made)
    assert (found.start, found.end, found.description) == (later(1), None, None)


def test_before_the_start_dates_are_checked(quick):
    made = quick.map(start=later(1))
    with pytest.raises(errors.BadRequest, match='^start'):
        quick.update(made, start=later(-1))
    with pytest.raises(errors.BadRequest, match='^end'):
        quick.update(made, start=later(3), end=later(2))
    assert mappings.get_mapping(quick.database, made.id) == made


def test_an_update_does_not_make_mappings_overlap(rules):
    first, second = rules.map(start=later(1), end=later(2)), rules.map(start=later(2))
    with pytest.raises(errors.Conflict, match=second.id):
        rules.update(first, end=later(3))
    assert rules.update(first, start=later(1), end=later(2), cost=Decimal(9)).cost == 9


@pytest.mark.parametrize('start', [None, later(1)])
def test_mappings_that_overlap_already_can_be_ended_and_priced_but_not_widened(rules, start):
    group = rules.group('net')
    rules.map(start=start, end=later(5))
    made = rules.map(start=start, group_id=group)
    services.delete_group(rules.database, group)
    if start is not None:
        assert rules.update(made, cost=Decimal(9)).cost == 9
    made = rules.update(made, cost=made.cost if start is None else Decimal(9), end=later(3))
    assert made.end == later(3)
    if start is not None:
        assert rules.update(made, start=later(2), end=later(3)).start == later(2)
        for wider in ({'start': later(1), 'end': later(3)}, {'end': later(4)}, {}):
            with pytest.raises(errors.Conflict):
                rules.update(made, **wider)


@pytest.mark.parametrize(
    ('member', 'value'),
    [
        ('cost', Decimal(2)),
        ('kind', pricing.Kind.RATE),
        ('value', 'b'),
        ('start', later(1)),
        ('tenant_id', 't'),
        ('group_id', NOBODY),
        ('service_id', NOBODY),
        ('field_id', NOBODY),
        ('name', 'b'),
        ('description', 'b'),
    ],
)
def test_after_the_start_only_the_end_changes(quick, member, value):
    made = quick.map(group_id=quick.group('net'), description='a')
    before = quick.revision
    with pytest.raises(errors.BadRequest) as caught:
        quick.update(made, end=later(1), **{member: value})
    text = str(caught.value)
    assert (
        'You are allowed to update only the attribute [end] as this rule is already running as it started on ' in text
    )
    assert text.endswith('[2026-06-01T12:00:00].')
    assert quick.revision == before and mappings.get_mapping(quick.database, made.id) == made


def test_after_the_start_the_end_can_be_set_once(rules):
    made = rules.map(group_id=rules.group('net'), tenant_id='t', description='a')
    with pytest.raises(errors.BadRequest, match='^end'):
        rules.update(made, end=later(-1))
    ended = rules.update(made, **(whole(made) | {'end': later(5)}))
    assert ended == dataclasses.replace(made, end=later(5), updated_by='me')
    for change in ({'end': later(6)}, {'end': None}, {'end': later(5), 'cost': Decimal(9)}):
        with pytest.raises(errors.BadRequest, match='already processed and has a defined end date'):
            rules.update(made, **change)


@pytest.mark.parametrize('members', [{}, {'start': later(1), 'end': later(2)}, {'start': later(1)}, {'end': later(2)}])
def test_repeating_what_is_stored_changes_nothing(rules, members):
    made = rules.map('0.25', **members)
    before = rules.revision
    assert rules.update(made, **whole(made)) == made
    assert rules.update(made, **(whole(made) | {'cost': Decimal('0.2500')})) == made
    assert rules.revision == before


def test_an_update_that_the_start_overtakes_can_be_repeated(quick):
    made = quick.map(start=later(1))
    found = quick.update(made, cost=Decimal(2))
    assert quick.update(made, cost=Decimal(2), now=NOW + 2 * HOUR) == found


def test_local_time_that_is_skipped_or_comes_twice_is_compared_as_an_instant(quick):
    """In Paris 02:30 comes twice on 25 October; 03:00 is later than both."""
    now = datetime.datetime(2026, 10, 25, 0, 45, tzinfo=period.UTC)
    with pytest.raises(errors.BadRequest, match='^start'):
        quick.map(start=datetime.datetime(2026, 10, 25, 2, 30), now=now)
    assert quick.map(start=datetime.datetime(2026, 10, 25, 3), now=now)


# Lists


def test_mappings_by_parent_and_group(rules):
    group = rules.group('net')
    of_service = rules.map(service_id=rules.service.id)
    of_field, in_group = rules.map(), rules.map(group_id=group)
    assert rules.mappings(service_id=rules.service.id) == [of_service]
    assert rules.mappings(field_id=rules.field.id) == [of_field, in_group]
    assert rules.mappings(service_id=rules.service.id, field_id=rules.field.id) == [of_service]
    assert rules.mappings(group_id=group) == rules.mappings(group_id=group, no_group=True) == [in_group]
    assert rules.mappings(no_group=True) == [of_service, of_field]
    assert rules.mappings(field_id=rules.field.id, group_id=group) == [in_group]
    for name in ('service_id', 'field_id', 'group_id'):
        assert rules.mappings(**{name: NOBODY}) == []


def test_mappings_by_tenant(rules):
    everybody, one, other = rules.map(), rules.map(tenant_id='t'), rules.map(tenant_id='T')
    assert rules.mappings(tenant_id='t') == [everybody, one, other]
    assert rules.mappings(tenant_id='t', filter_tenant=True) == [one]
    assert rules.mappings(filter_tenant=True) == [everybody]


def test_mappings_by_dates(rules):
    past = rules.map(start=later(-2), end=later(-1), force=True)
    present = rules.map(start=later(-1), force=True, end=later(1))
    future = rules.map(start=later(1))
    assert rules.mappings(start=later(-1)) == [present, future]
    assert rules.mappings(end=later(1)) == [past]
    assert rules.mappings(active_at=NOW) == [present]
    assert rules.mappings(active_at=NOW + HOUR) == [future]
    rules.delete(present)
    assert rules.mappings(active_at=NOW, deleted=True) == []


def test_mappings_by_actor_and_description(rules):
    one = rules.map(value='a', actor='ann', description='The 100% ÉTÉ price')
    two = rules.map(value='b', actor='Ann', description='x')
    assert rules.mappings(created_by='ann') == [one]
    assert rules.mappings(description='100% été') == [one]
    assert rules.mappings(description='1__%') == []
    two = rules.update(two, end=later(1), actor='bob')
    assert rules.mappings(updated_by='bob') == [two]
    rules.delete(two, 'bob')
    assert rules.mappings(deleted_by='bob') == []
    assert [found.id for found in rules.mappings(deleted_by='bob', deleted=True)] == [two.id]


@pytest.mark.parametrize('count', [1, 30])
def test_a_list_is_one_query(rules, count):
    for number in range(count):
        rules.map(value=str(number), group_id=rules.group('g%d' % number), actor='x' * 40)
        rules.level(number)
    statements = []
    sqlalchemy.event.listen(rules.database.engine, 'before_cursor_execute', lambda *args: statements.append(args[2]))
    for read in (rules.mappings, rules.thresholds, lambda: services.list_fields(rules.database, rules.service.id)):
        read()
    assert len([statement for statement in statements if statement.startswith('SELECT')]) == 3


# Thresholds


def test_a_threshold_is_what_was_asked_for(rules):
    group = rules.group('net')
    made = rules.level(
        '123456789012.12345678', '-1.5', kind=pricing.Kind.RATE, group_id=group, field_id=rules.field.id, tenant_id='t'
    )
    assert made == thresholds.Threshold(
        made.id,
        Decimal('123456789012.12345678'),
        pricing.Kind.RATE,
        Decimal('-1.5'),
        None,
        rules.field.id,
        group,
        't',
    )
    assert thresholds.get_threshold(rules.database, made.id) == made
    assert thresholds.get_group_of_threshold(rules.database, made.id).id == group
    assert rules.thresholds(field_id=rules.field.id) == rules.thresholds(group_id=group) == [made]
    assert rules.thresholds(service_id=rules.service.id) == rules.thresholds(no_group=True) == []
    assert rules.thresholds(filter_tenant=True) == rules.thresholds(filter_tenant=True, tenant_id='T') == []
    thresholds.delete_threshold(rules.database, made.id)
    for read in (thresholds.get_threshold, thresholds.delete_threshold, thresholds.get_group_of_threshold):
        with pytest.raises(errors.NotFound, match=made.id):
            read(rules.database, made.id)


@pytest.mark.parametrize(
    ('members', 'match'),
    [
        ({'level': '1000000000000'}, '^level'),
        ({'level': '0.000000001'}, '^level'),
        ({'cost': '1000000000000'}, '^cost'),
        ({'service_id': None}, 'service_id or field_id'),
        ({'service_id': NOBODY}, NOBODY),
        ({'group_id': NOBODY}, NOBODY),
        ({'tenant_id': 'x' * 256}, '^tenant_id'),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(quick, members, match):
    with pytest.raises(errors.BadRequest, match=match):
        quick.level(**({'level': 1} | members))


def test_one_level_has_one_threshold(rules):
    group = rules.group('net')
    first = rules.level(10)
    with pytest.raises(errors.Conflict, match='%s.*level 10 of service %s' % (first.id, rules.service.id)):
        rules.level('10.00')
    rules.level(10, group_id=group)
    rules.level(10, field_id=rules.field.id)
    rules.level('10.00000001')
    rules.level('123456789012.12345678')
    with pytest.raises(errors.Conflict):
        rules.level('123456789012.12345678')
    rules.level(10, tenant_id='t')
    for members in ({'tenant_id': 't'}, {'tenant_id': 't', 'group_id': group}):
        with pytest.raises(errors.Conflict, match='tenant t'):
            rules.level(10, **members)


def test_a_threshold_is_replaced(rules):
    group = rules.group('net')
    made = rules.level(1, tenant_id='t', kind=pricing.Kind.RATE, group_id=group)

    def update(level, cost, **members):
        request = thresholds.ThresholdRequest(Decimal(level), Decimal(cost), **members)
        return thresholds.update_threshold(rules.database, made.id, request)

    found = update(2, 3, service_id=NOBODY)
    assert found == dataclasses.replace(made, level=Decimal(2), cost=Decimal(3), kind=pricing.Kind.FLAT, tenant_id=None)
    before = rules.revision
    assert update(2, 3) == found and rules.revision == before
    other = rules.group('other')
    assert update(2, 3, group_id=other).group_id == other
    with pytest.raises(errors.BadRequest, match=NOBODY):
        update(2, 3, group_id=NOBODY)
    taken = rules.level(5, group_id=other)
    with pytest.raises(errors.Conflict, match=taken.id):
        update(5, 3)
    rules.level(6, tenant_id='t')
    with pytest.raises(errors.Conflict, match='tenant t'):
        update(6, 3, tenant_id='t')
    with pytest.raises(errors.NotFound):
        thresholds.update_threshold(rules.database, NOBODY, thresholds.ThresholdRequest(Decimal(1), Decimal(1)))


def test_thresholds_that_are_twice_there_already_can_be_priced_but_not_moved(rules):
    group = rules.group('net')
    first, second = rules.level(10), rules.level(10, group_id=group)
    rules.level(20)
    services.delete_group(rules.database, group)

    def update(level, cost):
        request = thresholds.ThresholdRequest(Decimal(level), Decimal(cost))
        return thresholds.update_threshold(rules.database, second.id, request)

    assert update(10, 5) == dataclasses.replace(second, cost=Decimal(5), group_id=None)
    with pytest.raises(errors.Conflict):
        update(20, 5)
    assert update(11, 5).level == 11
    with pytest.raises(errors.Conflict, match=first.id):
        update(10, 5)


# Revisions and races


def test_every_change_moves_the_revision(rules):
    group = rules.group('net')
    mapping, threshold = rules.map(), rules.level(1)
    for change in (
        lambda: services.create_service(rules.database, 'volume'),
        lambda: services.create_field(rules.database, rules.service.id, 'other'),
        lambda: rules.group('other'),
        lambda: rules.map(value='b'),
        lambda: rules.level(2),
        lambda: rules.update(mapping, end=later(1)),
        lambda: thresholds.update_threshold(
            rules.database, threshold.id, thresholds.ThresholdRequest(Decimal(7), Decimal(1))
        ),
        lambda: rules.delete(mapping),
        lambda: thresholds.delete_threshold(rules.database, threshold.id),
        lambda: services.delete_group(rules.database, group),
        lambda: services.delete_field(rules.database, rules.field.id),
        lambda: services.delete_service(rules.database, rules.service.id),
    ):
        before = rules.revision
        change()
        assert rules.revision == before + 1


def test_of_two_at_the_same_time_one_is_refused(rules):
    barrier = threading.Barrier(2)

    def run(make):
        barrier.wait()
        try:
            return make()
        except errors.Conflict as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        for number in range(5):
            for make in (
                lambda number=number: rules.map(value='v%d' % number),
                lambda number=number: rules.level(number),
                lambda number=number: rules.group('g%d' % number),
            ):
                found = list(executor.map(run, [make, make]))
                assert sorted(isinstance(one, errors.Conflict) for one in found) == [False, True]
    assert len(rules.mappings()) == len(rules.thresholds()) == 5
