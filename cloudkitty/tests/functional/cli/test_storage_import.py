# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-storage-import`` as a process: what an operator sees, on every server."""

import datetime
import re

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.storage.v1 import models
from cloudkitty.tests import flux
from cloudkitty.tests import influxdb
from cloudkitty.tests import samples


def insert(programs, count, **changes):
    """Insert *count* rows of old, an hour after the other."""
    database = engine.Database(programs.options['database']['connection'])
    first = datetime.datetime(2018, 6, 1)
    hour = datetime.timedelta(hours=1)
    rows = [
        {
            'begin': first + number * hour,
            'end': first + (number + 1) * hour,
            'unit': 'u',
            'qty': 1,
            'res_type': 'cpu',
            'rate': 0.1,
            'desc': '{"id": "a"}',
            'tenant_id': 'p',
        }
        | changes
        for number in range(count)
    ]
    with database.writer() as session:
        session.execute(sqlalchemy.insert(models.RatedDataFrame.__table__), rows)
    database.dispose()


def test_rows_of_old_are_imported_and_proven(everywhere):
    everywhere.set('storage', backend='sqlalchemy')
    everywhere.prepare()
    insert(everywhere, 50)
    done = everywhere.run('cloudkitty-storage-init')
    assert re.search('WARNI.* holds 50 rows of an older release that are not imported.*storage-import', done.stderr)

    done = everywhere.run('cloudkitty-storage-import', '--dry-run')
    assert done.returncode == 0, done.stderr
    assert '50 rows became points' in done.stderr and 'nothing was written' in done.stderr

    done = everywhere.run('cloudkitty-storage-import')
    assert done.returncode == 0, done.stderr
    assert 'The totals of 1 scopes, metrics and months are equal: 50 points, quantity 50, price 5.' in done.stderr

    done = everywhere.run('cloudkitty-storage-import')
    assert done.returncode == 0 and 'holds 50 rows, 0 of them are to be imported' in done.stderr
    assert 'not imported' not in everywhere.run('cloudkitty-storage-init').stderr


def test_rows_that_are_left_out_are_an_error_that_names_them(programs):
    programs.set('storage', backend='sqlalchemy')
    programs.prepare()
    insert(programs, 1)
    insert(programs, 1, end=datetime.datetime(2018, 6, 1), tenant_id='q')
    done = programs.run('cloudkitty-storage-import')
    assert done.returncode == 1
    assert 'not between a second and 31 days long; such as row 2' in done.stderr
    assert '1 rows of rated_data_frames are left out, 1 of them in this run. 1 of 2 totals differ.' in done.stderr
    assert re.search(r'q +\| cpu +\| 2018-06 +\| points +\| 1 +\| 0', done.stdout)
    assert 'Traceback' not in done.stderr
    # Somebody mends the row.
    database = engine.Database(programs.options['database']['connection'])
    with database.writer() as session:
        frame = models.RatedDataFrame
        session.execute(sqlalchemy.update(frame).where(frame.id == 2).values(end=datetime.datetime(2018, 6, 1, 1)))
    database.dispose()
    done = programs.run('cloudkitty-storage-import')
    assert done.returncode == 1 and '1 rows of rated_data_frames are left out, 0 of them in this run.' in done.stderr
    done = programs.run('cloudkitty-storage-import', '--again', '--dry-run')
    assert 'The rows of 1 begins are imported anew, but not now.' in done.stderr
    done = programs.run('cloudkitty-storage-import', '--again')
    assert done.returncode == 0, done.stderr
    assert 'The rows of 1 begins are imported anew.' in done.stderr and '2 rows became points' in done.stderr


def test_it_asks_for_tables_and_for_a_new_storage(programs):
    programs.set('storage', backend='sqlalchemy')
    done = programs.run('cloudkitty-storage-import')
    assert done.returncode == 1 and 'run cloudkitty-dbsync upgrade and cloudkitty-storage-init' in done.stderr
    programs.set('storage', version=1)
    done = programs.run('cloudkitty-storage-import')
    assert done.returncode == 1 and '[storage] version = 1' in done.stderr


def test_history_in_influxdb_is_imported_and_proven(programs):
    programs.set('storage', backend='sqlalchemy')
    programs.prepare()
    with flux.Server() as server:
        programs.set('storage_influxdb', version=2, url=server.url, token='secret')
        begins = [samples.JUNE + hour * samples.HOUR for hour in range(50)]
        server.write(influxdb.point(begin, 'cpu', 1, 0.1, {'id': 'a', 'project_id': 'p'}) for begin in begins)
        done = programs.run('cloudkitty-storage-import', '--from', 'influxdb', '--dry-run')
        assert done.returncode == 0, done.stderr
        assert '50 rows became points' in done.stderr and 'nothing was written' in done.stderr
        for count in (50, 0):
            done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
            assert done.returncode == 0, done.stderr
            assert 'InfluxDB holds 50 rows, %d of them are to be imported' % count in done.stderr
            assert (
                'The totals of 1 scopes, metrics and months are equal: 50 points, quantity 50, price 5.' in done.stderr
            )
        # The other storage of old has nothing to do with it.
        assert programs.run('cloudkitty-storage-import').returncode == 0
        server.write([influxdb.point(begins[0], 'cpu', 1, 0.1, {'id': 'b', 'project_id': 'p'})])
        done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
        assert done.returncode == 1 and '2 rows of InfluxDB are left out, 2 of them in this run.' in done.stderr
        done = programs.run('cloudkitty-storage-import', '--from', 'influxdb', '--again')
        assert done.returncode == 0 and 'equal: 51 points' in done.stderr, done.stderr
        programs.set('storage_influxdb', token='wrong')
        done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'InfluxDB at 127.0.0.1' in done.stderr and 'HTTP 401: unauthorized access' in done.stderr
    done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
    assert done.returncode == 1 and 'does not answer' in done.stderr and 'Traceback' not in done.stderr


def test_a_missing_option_of_influxdb_is_named(programs):
    programs.set('storage', backend='sqlalchemy')
    programs.prepare()
    done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
    assert done.returncode == 1 and '[storage_influxdb] database is needed with version = 1.' in done.stderr
    programs.set('storage_influxdb', version=2, url='influx.example.org:8086', token='secret')
    done = programs.run('cloudkitty-storage-import', '--from', 'influxdb')
    assert done.returncode == 1 and '[storage_influxdb] url must begin with http:// or https://.' in done.stderr
