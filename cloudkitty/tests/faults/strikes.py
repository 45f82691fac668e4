# SPDX-License-Identifier: Apache-2.0
"""The faults themselves: each strikes, and most of them end some time later.

A strike is a function of the laboratory and of dice. It returns None where there was nothing to strike, else (seconds
until its end, function that ends it). What takes a while to come back is not waited for: the latter returns a function
that says whether it is there again.
"""

import json
import pathlib
import signal
import threading
import time

import sqlalchemy

from cloudkitty.tests.faults import fleet as fleets
from cloudkitty.tests.faults import source as sources


def _nothing():
    """It was over at once."""


def _choose_worker(lab, dice):
    host = dice.choice(lab.fleet.hosts)
    workers = host.workers()
    return dice.choice(workers) if workers else None


def kill(lab, dice):
    """SIGKILL for a worker, or now and then for a whole host."""
    host = dice.choice(lab.fleet.hosts)
    workers = host.workers()
    if not workers:
        return None
    if dice.random() < 0.02:
        # The children end by themselves, unless they are stopped.
        lab.note('host %d is killed' % host.number)
        host.process.signal(signal.SIGKILL)
        for pid in workers:
            fleets.send(pid, signal.SIGCONT)
        return 0.5, host.ensure
    return (0, _nothing) if fleets.send(dice.choice(workers), signal.SIGKILL) else None


def terminate(lab, dice):
    """SIGTERM for a worker."""
    pid = _choose_worker(lab, dice)
    return (0, _nothing) if pid and fleets.send(pid, signal.SIGTERM) else None


def stop(lab, dice):
    """SIGSTOP for a worker, which wakes up perhaps after others took its scopes over."""
    pid = _choose_worker(lab, dice)
    if not pid or not fleets.send(pid, signal.SIGSTOP):
        return None
    return dice.choice([0.2, 1, 3, 3 + 2 * lab.member_timeout]), lambda: fleets.send(pid, signal.SIGCONT)


def kill_api(lab, dice):
    """SIGKILL for the API."""
    lab.fleet.api.signal(signal.SIGKILL)
    return 0.3, lab.fleet.launch_api


def step_clock(lab, dice):
    """The clock of a host goes forth or back."""
    host = dice.choice(lab.fleet.hosts).number
    seconds = dice.choice(lab.STEPS) * dice.uniform(0.1, 1)
    lab.clock.step(host, seconds)
    return dice.uniform(0.5, 4), lambda: lab.clock.step(host, 0)


def pull_cable(lab, dice):
    """A host is cut off from everything: what it and the others send is lost, and no connection is told so."""
    host = dice.choice(lab.fleet.hosts).number
    lab.network.cut(host)
    return dice.choice([0.5, 2, 2 * lab.member_timeout, 4 * lab.member_timeout]), lambda: lab.network.join(host)


def break_metrics(lab, dice):
    """SIGHUP with a metrics.yml that is broken, and another one when it is whole again."""
    host = dice.choice(lab.fleet.hosts)
    host.metrics.write_text(fleets.BROKEN_METRICS)
    host.process.signal(signal.SIGHUP)

    def end():
        fleets.write_metrics(host.metrics)
        host.process.signal(signal.SIGHUP)
        host.ensure()

    return dice.uniform(1, 3), end


def kill_database(lab, dice):
    """The database is killed and started again."""
    lab.server.kill()
    return dice.uniform(0, 2), lambda: lab.server.is_up


def cut_connections(lab, dice):
    """Connections are cut, those in a transaction first."""
    return (0, _nothing) if lab.server.cut() else None


def lock_rows(lab, dice):
    """Somebody else locks rows, in another order than the service does, and for longer than it waits."""
    seconds = dice.choice([0.5, 1, 4])
    threading.Thread(target=_lock, args=(lab.server, seconds, dice.random()), daemon=True).start()
    return seconds, _nothing


def _lock(server, seconds, share):
    engine = sqlalchemy.create_engine(server.url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            if server.kind == 'sqlite':
                connection.exec_driver_sql('BEGIN IMMEDIATE')
            else:
                ids = [row[0] for row in connection.exec_driver_sql('SELECT id FROM scopes ORDER BY id DESC')]
                connection.rollback()
                for number in ids:
                    connection.exec_driver_sql('SELECT id FROM scopes WHERE id = %d FOR UPDATE' % number)
                    time.sleep(seconds * share / len(ids))
            time.sleep(seconds * (1 - share))
            connection.rollback()
    except sqlalchemy.exc.SQLAlchemyError:
        # It lost, or the server is away.
        return
    finally:
        engine.dispose()


def fill_disk(lab, dice):
    """The disk of the database is full."""
    path = lab.server.directory / 'ballast'
    try:
        with path.open('wb', buffering=0) as file:
            while file.write(b'\0' * 65536):
                pass
    except OSError:
        # That was the purpose; it may have been full before.
        lab.note('the disk is full')

    def end():
        path.unlink(missing_ok=True)
        return lab.server.is_up

    return dice.uniform(0.5, 2), end


def stop_broker(lab, dice):
    """RabbitMQ is stopped and started."""
    process = lab.broker.process
    process.signal(dice.choice([signal.SIGTERM, signal.SIGKILL]))

    def is_there():
        if not lab.broker.process.is_alive():
            lab.broker.launch()
            return False
        return lab.broker.process is not process and lab.broker.is_answering()

    return dice.uniform(0, 2), lambda: is_there


def stop_coordination(lab, dice):
    """Redis is stopped and started."""
    lab.coordination.stop()
    return dice.uniform(0, 3), lab.coordination.start


class Source:
    """A stretch in which a share of the answers of Keystone or Gnocchi is broken; what counts is the answers."""

    def __init__(self, kind):
        self.kind = kind
        self.__doc__ = 'Answers are broken: %s.' % kind

    def __call__(self, lab, dice):
        lab.shares[self.kind] = dice.choice([0.1, 0.3, 0.3, 1])
        lab.write_shares()

        def end():
            lab.shares.pop(self.kind, None)
            lab.write_shares()

        return dice.uniform(1, 4), end


KINDS = {
    'kill': kill,
    'terminate': terminate,
    'stop': stop,
    'kill-api': kill_api,
    'clock': step_clock,
    'partition': pull_cable,
    'metrics': break_metrics,
    'database': kill_database,
    'cut': cut_connections,
    'locks': lock_rows,
    'disk': fill_disk,
    'broker': stop_broker,
    'coordination': stop_coordination,
    **{kind: Source(kind) for kind in (*sources.GNOCCHI, *sources.KEYSTONE)},
}
#: Those that need a server of their own besides the database.
NEEDS = {'broker': 'broker', 'coordination': 'coordination'}
#: Those that only servers of databases know.
SERVER_ONLY = {'database', 'cut'}
#: Of those nothing else of the kind may strike before they are over.
ALONE = {
    'database': 'server', 'cut': 'server', 'disk': 'server', 'locks': 'server', 'broker': 'broker',
    'coordination': 'coordination', 'kill-api': 'api', 'clock': 'clock', 'partition': 'network', 'metrics': 'metrics',
    **{kind: kind for kind in (*sources.GNOCCHI, *sources.KEYSTONE)},
}  # fmt: skip


def read_struck(directory):
    """Return {kind: how many answers were broken}."""
    path = pathlib.Path(directory) / 'struck.json'
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
