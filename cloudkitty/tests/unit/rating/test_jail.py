# SPDX-License-Identifier: Apache-2.0
"""Scripts in real children."""

import datetime
from decimal import Decimal
import os
import signal
import threading

import pytest

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.rating import jail as jails

BEGIN = datetime.datetime(2026, 6, 1, tzinfo=period.UTC)
END = datetime.datetime(2026, 6, 1, 1, tzinfo=period.UTC)


@pytest.fixture
def jail():
    made = jails.Jail(jails.Limits(timeout=2, memory=128 << 20))
    yield made
    made.close()


def make_task(*programs, owner=None, points=1):
    usage = [
        ('cpu', [('u', Decimal(2), Decimal(0), {'id': 'a%d' % number}, {'kind': 'x'}) for number in range(points)])
    ]
    return jails.Task('frame', programs or (0,), (BEGIN, END, usage), owner)


def run(jail, *sources, tasks=None):
    programs = [jails.Program('script "s%d"' % number, source) for number, source in enumerate(sources)]
    return jail.run(programs, tasks or [make_task(*range(len(sources)))])


def ask(jail, expression):
    """Return the value of *expression*, as a script sees it."""
    source = 'import os, sys\ndata["usage"]["cpu"][0]["metadata"] = {"answer": %s}' % expression
    (points,) = run(jail, source)
    return points[0][6]['answer']


def price_of(points):
    return points[0][4]


def is_running(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_script_prices(jail):
    (points,) = run(jail, 'for p in data["usage"]["cpu"]: p["rating"]["price"] = p["vol"]["qty"] * 3')
    assert points == [('cpu', 0, 'u', Decimal(2), Decimal(6), {'id': 'a0'}, {'kind': 'x'})]


def test_scripts_follow_one_another(jail):
    (points,) = run(
        jail,
        'data["usage"]["cpu"][0]["rating"]["price"] = 4',
        'data["usage"]["cpu"][0]["rating"]["price"] *= 2',
    )
    assert price_of(points) == 8


def test_arithmetic_is_that_of_the_service_whatever_the_one_before_did(jail):
    run(jail, 'import decimal\ndecimal.getcontext().prec = 2')
    (points,) = run(jail, 'for p in data["usage"]["cpu"]: p["rating"]["price"] = p["vol"]["qty"] / 3')
    assert str(price_of(points)) == '0.' + '6' * 59 + '7'
    assert amount.CONTEXT.prec == 60


def test_script_sees_instants_and_decimals(jail):
    assert ask(jail, 'repr(data["period"])') == repr({'begin': BEGIN, 'end': END})
    assert ask(jail, 'repr(data["usage"]["cpu"][0]["vol"])') == "{'unit': 'u', 'qty': Decimal('2')}"
    assert ask(jail, 'sorted(set(globals()) - {"__builtins__"})') == ['data', 'os', 'sys']


@pytest.mark.parametrize(
    'source, line, expected',
    [
        ('x = 1\ny = 1 / 0', 2, 'ZeroDivisionError: division by zero'),
        ('def f():\n    return {}["k"]\n\nf()', 2, "KeyError: 'k'"),
        ('x = 1\ndef (:', 2, 'SyntaxError: invalid syntax'),
        ('raise SystemExit(3)', 1, 'it ended its process: 3'),
        ('import os\nos._exit(0)', 2, 'it ended its process: os._exit(0)'),
        ('x = []\nwhile True:\n    x.append("x" * 10**7)', 3, 'MemoryError'),
        ('x = "x" * 10**10', 1, 'MemoryError'),
        ('def f():\n    f()\nf()', 2, 'RecursionError: maximum recursion depth exceeded'),
        ('import ctypes\nctypes.string_at(0)', 2, 'its process was ended by SIGSEGV'),
        ('import os\nos.kill(os.getpid(), 9)', None, 'its process was ended by SIGKILL'),
        ('data = 3', None, 'it left no frame behind: data must be a dictionary of period and usage'),
        ('del data', None, 'it left no frame behind: data must be a dictionary of period and usage'),
        ('del data["period"]["end"]', None, 'it left no frame behind: data["period"] must hold begin and end'),
        ('data["period"]["end"] = 3', None, 'it left no frame behind: data["period"]["end"] must be an instant'),
        ('data["usage"] = []', None, 'it left no frame behind: data["usage"] must be a dictionary of lists'),
        ('data["usage"]["cpu"] = 3', None, 'it left no frame behind: data["usage"][\'cpu\'] must be a list'),
        ('data["usage"][3] = []', None, 'it left no frame behind: a metric type must be text, not int'),
    ],
)
def test_failing_script_is_named_with_its_line(jail, source, line, expected):
    where = 'script "s0"' if line is None else 'script "s0", line %d' % line
    (failure,) = run(jail, source)
    assert isinstance(failure, jails.Failure)
    assert failure.text.startswith('%s: %s' % (where, expected))
    # The next one finds nothing of it.
    assert price_of(run(jail, 'data["usage"]["cpu"][0]["rating"]["price"] = 1')[0]) == 1


@pytest.mark.parametrize(
    'change, expected',
    [
        ('p["vol"]["qty"] = None', 'vol.qty must be a number, not None'),
        ('p["vol"]["qty"] = "many"', "vol.qty must be a number, not 'many'"),
        ('p["vol"]["qty"] = True', 'vol.qty must be a number, not True'),
        ('p["rating"]["price"] = float("nan")', 'rating.price must be a number, not nan'),
        ('p["rating"]["price"] = float("inf")', 'rating.price must be a number, not inf'),
        ('p["rating"]["tax"] = 1', 'rating may only hold price'),
        ('p["vol"]["size"] = 1', 'vol must hold unit and qty'),
        ('p["vol"]["unit"] = None', 'vol.unit must be text, not NoneType'),
        ('p["vol"]["unit"] = "u" * 256', 'vol.unit must have at most 255 characters'),
        ('p["colour"] = 1', "there is no member 'colour'"),
        ('del p["groupby"]', 'groupby is missing'),
        ('p["metadata"] = 3', 'metadata must be a dictionary'),
        ('p["metadata"]["a"] = "\\0"', 'metadata must be text without NUL and surrogate characters'),
        ('p["metadata"]["a"] = "\\ud800"', 'metadata must be text without NUL and surrogate characters'),
    ],
)
def test_nonsense_in_a_point_is_named(jail, change, expected):
    (failure,) = run(jail, 'p = data["usage"]["cpu"][0]\n' + change)
    assert failure.text == 'script "s0": it left no frame behind: data["usage"][\'cpu\'][0]: %s' % expected


def test_what_json_does_not_know_becomes_text(jail):
    source = """
import datetime, decimal
p = data["usage"]["cpu"][0]
p["metadata"] = {1: 2**2000, "d": decimal.Decimal("1.50"), "t": datetime.date(2026, 6, 1), "n": float("nan"), "l": (1,)}
p["rating"] = {}
"""
    (points,) = run(jail, source)
    found = points[0][6]
    assert found == {'1': str(2**2000), 'd': Decimal('1.50'), 't': '2026-06-01', 'n': 'nan', 'l': [1]}
    assert price_of(points) == 0


@pytest.mark.parametrize(
    'price', ['3', '"3"', '3.0', '__import__("decimal").Decimal(3)', '__import__("fractions").Fraction(3)']
)
def test_price_is_converted_by_way_of_text(jail, price):
    (points,) = run(jail, 'data["usage"]["cpu"][0]["rating"]["price"] = %s' % price)
    assert type(price_of(points)) is Decimal and price_of(points) == 3


@pytest.mark.parametrize(
    'source, line',
    [
        ('x = 1\nwhile True: pass', 2),
        ('while True:\n    try:\n        while True: pass\n    except BaseException: pass', 3),
        ('import time\ntime.sleep(1000)', 2),
        ('x = 1\nsum(range(10**12))', 2),
        ('import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\nwhile True: pass', None),
    ],
)
def test_endless_script_is_ended(source, line, monkeypatch):
    monkeypatch.setattr(jails, '_GRACE', 0.5)
    jail = jails.Jail(jails.Limits(timeout=0.5))
    tasks = [make_task(0, owner='a'), make_task(1, owner='a')]
    failure, points = run(jail, source, 'data["usage"]["cpu"][0]["rating"]["price"] = 7', tasks=tasks)
    where = 'script "s0"' if line is None else 'script "s0", line %d' % line
    assert failure.text == '%s: it took longer than 0.5 seconds' % where
    assert price_of(points) == 7
    jail.close()


def test_endless_script_does_not_hold_up_a_batch():
    now = [0.0]
    jail = jails.Jail(jails.Limits(timeout=0.3), clock=lambda: now[0])
    tasks = [make_task(0, owner=owner) for owner in 'abcdefgh' for _ in range(10)]
    results = run(jail, 'while True: pass', 'pass', tasks=[*tasks, make_task(1)])
    late = [result.text for result in results[:-1]].count('script "s0", line 1: it took longer than 0.3 seconds')
    again = [result.text for result in results[:-1]].count(
        'script "s0", line 1: it took too long before, and was not tried again'
    )
    assert (late, again) == (9, 71)
    assert isinstance(results[-1], list)
    now[0] += 300
    assert 'longer' in run(jail, 'while True: pass')[0].text
    jail.close()


def test_second_script_is_the_one_that_is_named(jail):
    (failure,) = run(jail, 'pass', '\n\nwhile True: pass')
    assert failure.text == 'script "s1", line 3: it took longer than 2 seconds'


def test_frames_of_a_batch_go_in_one_exchange_and_are_compiled_once(jail):
    source = """
import os, sys
data["usage"]["cpu"][0]["metadata"] = {"code": id(sys._getframe().f_code), "process": os.getpid()}
"""
    for _ in range(2):
        found = {str(points[0][6]) for points in run(jail, source, tasks=[make_task(0)] * 50)}
        assert len(found) == 1
    assert jail.exchanges == 2


def test_script_that_forks_is_answered_for_once(jail):
    source = 'import os\nos.fork()\nfor p in data["usage"]["cpu"]: p["rating"]["price"] = len(data["usage"]["cpu"])'
    results = run(jail, source, tasks=[make_task(0, owner=count, points=count) for count in (1, 2, 3, 4)])
    assert [[point[4] for point in points] for points in results] == [[count] * count for count in (1, 2, 3, 4)]


def test_child_knows_nothing_of_ours(jail, monkeypatch):
    monkeypatch.setenv('OS_PASSWORD', 'secret')
    monkeypatch.setenv('TZ', 'Europe/Paris')
    with open(os.devnull) as file:
        os.set_inheritable(file.fileno(), True)
        assert set(ask(jail, 'dict(os.environ)')) <= {'PATH', 'LANG', 'LC_ALL', 'TZ', 'LC_CTYPE'}
        assert ask(jail, 'os.environ["TZ"]') == 'Europe/Paris'
        places = '["/proc/self/fd/" + name for name in os.listdir("/proc/self/fd")]'
        targets = ask(jail, '[os.readlink(place) for place in %s if os.path.lexists(place)]' % places)
    assert [target for target in targets if not target.startswith(('/dev/null', 'socket:', '/proc/'))] == []
    assert len([target for target in targets if target.startswith('socket:')]) == 2
    assert ask(jail, 'os.getcwd()') == '/'
    assert ask(jail, 'os.getsid(0) != %d' % os.getsid(0)) is True
    assert ask(jail, '"secret" in open("/proc/self/cmdline").read()') is False


def test_named_variables_are_handed_on(monkeypatch):
    monkeypatch.setenv('https_proxy', 'http://proxy')
    jail = jails.Jail(jails.Limits(environment=('https_proxy', 'missing')))
    assert ask(jail, 'os.environ["https_proxy"]') == 'http://proxy'
    jail.close()


def test_limits_hold(jail):
    limits = '[__import__("resource").getrlimit(getattr(__import__("resource"), "RLIMIT_" + n))[1] for n in %r]'
    core, memory, processes, files = ask(jail, limits % (['CORE', 'AS', 'NPROC', 'NOFILE'],))
    assert (core, memory, files) == (0, 128 << 20, 256)
    assert 16 < processes < 100000


def test_network_can_be_withheld(caplog):
    source = 'import socket\nsocket.create_connection(("127.0.0.1", 9))'
    jail = jails.Jail(jails.Limits(network=False))
    try:
        (failure,) = run(jail, source)
        assert 'Network is unreachable' in failure.text
    except jails.NoChild:
        assert 'they cannot be kept from the network here' in caplog.text
    jail.close()


def test_what_a_script_started_does_not_outlive_it(jail):
    pid = ask(jail, '__import__("subprocess").Popen(["sleep", "1000"]).pid')
    while is_running(pid):
        pass


def test_child_that_ended_meanwhile_is_replaced(jail):
    pid = ask(jail, 'os.getpid()')
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):
        pass
    assert ask(jail, 'os.getpid()') != pid


def test_children_end_when_the_jail_closes(jail):
    pid = ask(jail, 'os.getpid()')
    jail.close()
    assert not is_running(pid)
    assert ask(jail, 'os.getpid()') != pid


@pytest.mark.parametrize(
    'answer', [b'\x80\x04cos\nsystem\nq\x00.', b'nonsense', b'', b'\x80\x04N.', b'\x80\x04)\x8c\x04done\x85.']
)
def test_forged_answer_is_a_failure(jail, answer):
    source = """
import socket, struct, sys
for frame in sys._current_frames().values():
    while frame:
        wire = frame.f_locals.get("wire", None)
        if wire: wire.sendall(struct.pack(">Q", %d) + %r)
        frame = frame.f_back
""" % (len(answer), answer)
    results = run(jail, source, tasks=[make_task(0), make_task(0)])
    assert len(results) == 2
    assert price_of(run(jail, 'data["usage"]["cpu"][0]["rating"]["price"] = 1')[0]) == 1


@pytest.mark.parametrize('program', ['/nonexistent/python', '/bin/false'])
def test_interpreter_that_cannot_start_is_no_failure_of_scripts(jail, monkeypatch, caplog, program):
    with monkeypatch.context() as patch:
        patch.setattr(jails, '_python', lambda: program)
        with pytest.raises(jails.NoChild, match='^Scripts cannot be run just now.$'):
            run(jail, 'pass', tasks=[make_task(0)] * 3)
    assert 'Scripts cannot be run: ' in caplog.text
    assert len(run(jail, 'pass')) == 1


def test_children_are_as_many_as_allowed():
    jail = jails.Jail(jails.Limits(children=2))
    pids = []
    source = 'import time\ntime.sleep(0.1)'

    def work():
        pids.extend(
            points[0][6]['answer']
            for points in run(
                jail, source + '\nimport os\ndata["usage"]["cpu"][0]["metadata"] = {"answer": os.getpid()}'
            )
        )

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6 and len(set(pids)) <= 2
    jail.close()


def test_expression_tells_of_each_point(jail):
    words = {'month': '6'}
    task = jails.Task(
        'skip', (0,), ('u', {'id': 'a'}, {'x': 1}, [(Decimal(1), Decimal(0), words), (Decimal(1), Decimal(2), words)])
    )
    program = jails.Program('expression', 'datapoint["rating"]["price"] == 0 and datapoint["groupby"]["month"] == "6"')
    assert jail.run([program], [task]) == [[True, False]]
    failing = jails.Program('expression', '1 / datapoint["rating"]["price"]')
    ((first, second),) = jail.run([failing], [task])
    assert first.startswith(('DivisionByZero', 'ZeroDivisionError'))
    assert second is True
