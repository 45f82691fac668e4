# SPDX-License-Identifier: Apache-2.0
"""Where scripts and expressions of operators run: in child processes with limits, which know nothing of ours.

A child is started when there is something to run, and serves one request after the other. It has an environment of a
few variables, no descriptors but two sockets, a session of its own, and limits on memory, processes, open files and
their sizes. What takes too long is ended together with its child; the rest of the request goes on in another one. A
child is two processes, of which one ends what scripts start, in whatever session: :func:`child.stand_guard`.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import ctypes
import dataclasses
from decimal import Decimal
import hashlib
import io
import json
import os
import pickle
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from oslo_log import log

from cloudkitty import errors

LOG = log.getLogger(__name__)

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'child.py')
_LENGTH = struct.Struct('>Q')
_LAST_LINE = re.compile(r'File "<script (\d+)>", line (\d+)')
#: What the child sees of the environment in any case.
_ENVIRONMENT = ('LANG', 'LC_ALL', 'TZ')
#: Seconds beyond a program's time after which a child is ended from here.
_GRACE = 5
#: Seconds that a child may take to start, and to take a request in.
_PATIENCE = 60
#: The longest answer to one task, in bytes.
_LONGEST = 1 << 30
#: Of linux/prctl.h.
_PR_SET_DUMPABLE = 4
#: Programs after which a child is replaced: it keeps the code of each.
_MOST_PROGRAMS = 1000


@dataclasses.dataclass(frozen=True)
class Limits:
    """What scripts may use up; the options of group [pyscripts].

    :ivar timeout: seconds for one script and frame, or for one expression and series.
    :ivar memory: bytes of address space.
    :ivar processes: processes and threads over those that the user has.
    :ivar environment: names of variables that are handed on.
    :ivar children: how many run at a time.
    """

    timeout: float = 10
    memory: int = 512 << 20
    processes: int = 16
    network: bool = True
    environment: tuple[str, ...] = ()
    children: int = 4


@dataclasses.dataclass(frozen=True)
class Program:
    """A script, or an expression.

    :ivar title: what errors call it, such as ``script "discount"``.
    """

    title: str
    source: str

    @property
    def key(self) -> str:
        """A digest of the source: equal ones are compiled once."""
        return hashlib.sha512(self.source.encode('utf-8', 'surrogatepass')).hexdigest()


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to do: *programs*, by their places, one after the other on the same argument.

    :ivar kind: ``frame`` or ``skip``; *arguments* are those of :class:`child.Frame` or :func:`child.evaluate`.
    :ivar owner: whose it is; where a program took too long twice for the same one, it is not tried again for a while.
    """

    kind: str
    programs: tuple[int, ...]
    arguments: tuple[Any, ...]
    owner: object = None


@dataclasses.dataclass(frozen=True)
class Failure:
    """A task that came to nothing, and why: one line, with title and line of the program."""

    text: str


class NoChild(errors.Unavailable):
    """No child can be started: nothing is known about the scripts, and what they are for has to wait."""

    def __init__(self) -> None:
        super().__init__('Scripts cannot be run just now.')


def from_options(conf: Any) -> 'Jail':
    """Return the jail of options [pyscripts]."""
    found = conf.pyscripts
    return Jail(
        Limits(
            found.timeout,
            found.memory_mib << 20,
            found.max_processes,
            found.network,
            tuple(found.environment),
            found.max_children,
        )
    )


class Jail:
    """Runs programs in children; nothing is started before the first.

    :param clock: returns seconds.
    :ivar exchanges: how many requests children were sent.
    """

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.exchanges = 0
        self._limits = limits or Limits()
        self._free = threading.Semaphore(self._limits.children)
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._patience = _Patience(clock)

    def run(self, programs: Sequence[Program], tasks: Sequence[Task]) -> list[Any]:
        """Return the result of each of *tasks*, or its :class:`Failure`; one exchange with a child unless it ends.

        Raises :class:`NoChild`.
        """
        results: list[Any] = []
        with self._free:
            while len(results) < len(tasks):
                given_up = self._patience.given_up(programs, tasks[len(results)])
                if given_up is not None:
                    results.append(given_up)
                    continue
                rest = tasks[len(results) :]
                try:
                    with self._child() as child:
                        self.exchanges += 1
                        for result in child.run(programs, rest, self._limits.timeout):
                            results.append(result)
                except _Stopped as stop:
                    if stop.place is None:
                        results.append(Failure(stop.text))
                        continue
                    program = programs[stop.place]
                    if stop.is_late:
                        self._patience.note(program, rest[stop.done].owner, stop.line)
                    results.append(_to_failure(program, stop.line, stop.text))
        return results

    @contextlib.contextmanager
    def _child(self) -> Iterator['_Child']:
        child = self._take()
        try:
            yield child
        except BaseException:
            child.close()
            raise
        if child.is_worn:
            child.close()
            return
        with self._lock:
            self._idle.append(child)

    def _take(self) -> '_Child':
        with self._lock:
            if self._pid != os.getpid():
                # Forked: those are another process's children.
                self._pid = os.getpid()
                self._idle.clear()
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                child.close()
        return _Child(self._limits)

    def close(self) -> None:
        """End the children that wait; the next :meth:`run` starts others."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


class _Stopped(Exception):
    """The child came to an end within a task.

    :ivar done: how many tasks were done.
    :ivar place: of the program that ran; None: no program did.
    """

    def __init__(self, done: int, place: int | None, line: int | None, text: str, is_late: bool) -> None:
        super().__init__(text)
        self.done = done
        self.place = place
        self.line = line
        self.text = text
        self.is_late = is_late


class _Patience:
    """Remembers for a while which programs take too long, so that a batch does not wait for each of its frames."""

    #: How often a program may take too long for one owner, and for how many owners.
    FOR_ONE, OWNERS = 2, 5
    #: Seconds after which all is forgotten.
    WHILE = 300

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        #: Source to owner to how often.
        self._late: dict[str, dict[object, int]] = {}
        self._lines: dict[str, int | None] = {}

    def note(self, program: Program, owner: object, line: int | None) -> None:
        """Remember that *program* took too long for *owner*, when it was at *line*."""
        if not self._late:
            self._until = self._clock() + self.WHILE
        owners = self._late.setdefault(program.source, {})
        owners[owner] = owners.get(owner, 0) + 1
        self._lines[program.source] = line

    def given_up(self, programs: Sequence[Program], task: Task) -> Failure | None:
        """Return the failure of a *task* that is not worth trying; None: it is."""
        if self._late and self._clock() >= self._until:
            self._late.clear()
            self._lines.clear()
        for place in task.programs if self._late else ():
            owners = self._late.get(programs[place].source, {})
            if owners.get(task.owner, 0) >= self.FOR_ONE or len(owners) >= self.OWNERS:
                line = self._lines.get(programs[place].source)
                return _to_failure(programs[place], line, 'it took too long before, and was not tried again')
        return None


def _to_failure(program: Program, line: int | None, text: str) -> Failure:
    where = program.title if line is None else '%s, line %d' % (program.title, line)
    return Failure('%s: %s' % (where, text))


class _Child:
    """A process that runs programs.

    :ivar is_worn: it is not to be used any more.
    """

    def __init__(self, limits: Limits) -> None:
        self.is_worn = False
        self._is_closed = False
        self._known: set[str] = set()
        self._wire, theirs = socket.socketpair()
        self._last_words, their_words = socket.socketpair()
        setup = {
            'wire': theirs.fileno(),
            'last_words': their_words.fileno(),
            'memory': limits.memory,
            # Over them the one that stands guard.
            'processes': _count_tasks() + limits.processes + 1,
            'network': limits.network,
            'path': [path for path in sys.path if os.path.isabs(path)],
        }
        _hide_memory()
        environment = {name: os.environ[name] for name in (*_ENVIRONMENT, *limits.environment) if name in os.environ}
        try:
            self._process = subprocess.Popen(  # nosec B603
                [_python(), '-I', _CHILD, json.dumps(setup)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), their_words.fileno()),
                env={'PATH': '/usr/local/bin:/usr/bin:/bin', **environment},
                cwd='/',
                start_new_session=True,
            )
        except OSError as error:
            self._wire.close()
            self._last_words.close()
            LOG.error('Scripts cannot be run: %s', error)
            raise NoChild from error
        finally:
            theirs.close()
            their_words.close()
        self._wire.settimeout(_PATIENCE)
        try:
            word, *arguments = self._read()
        except _BROKEN as error:
            self.close()
            LOG.error('Scripts cannot be run: their process %s.', self._describe_end())
            raise NoChild from error
        if word != 'ready':
            self.close()
            LOG.error('Scripts cannot be run: %s', arguments[0] if arguments else word)
            raise NoChild

    def is_alive(self) -> bool:
        if self._process.poll() is not None:
            return False
        # It says nothing unasked: what can be read is its end, or nothing to rely on.
        self._wire.settimeout(0)
        try:
            self._wire.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def run(self, programs: Sequence[Program], tasks: Sequence[Task], timeout: float) -> Iterator[Any]:
        """Yield the result of each of *tasks*, or its failure; raise :class:`_Stopped` if the child comes to an end."""
        keys = [program.key for program in programs]
        sources = {key: program.source for key, program in zip(keys, programs, strict=True) if key not in self._known}
        self._known |= sources.keys()
        request = {
            'programs': keys,
            'sources': sources,
            'timeout': timeout,
            'tasks': [(task.kind, task.programs, *task.arguments) for task in tasks],
        }
        body = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
        done = 0
        place: int | None = None
        try:
            self._wire.settimeout(_PATIENCE)
            self._wire.sendall(_LENGTH.pack(len(body)) + body)
            self._wire.settimeout(timeout + _GRACE)
            while done < len(tasks):
                place = tasks[done].programs[0] if place is None else place
                word, *arguments = self._read()
                if word == 'at' and arguments[0] in tasks[done].programs:
                    place = arguments[0]
                    continue
                if word == 'done':
                    found = arguments[0]
                else:
                    failed, line, text = arguments
                    found = _to_failure(programs[failed], line if isinstance(line, int) else None, str(text))
                done += 1
                place = None
                yield found
            word, is_alone = self._read()
            self.is_worn = is_alone is not True or len(self._known) > _MOST_PROGRAMS
        except _BROKEN as error:
            is_late = isinstance(error, TimeoutError)
            self.close()
            if done == len(tasks):
                # What it was asked for is there.
                self.is_worn = True
                return
            is_late = is_late or self._process.returncode == -signal.SIGALRM
            text = 'it took longer than %g seconds' % timeout if is_late else 'its process %s' % self._describe_end()
            found_place, line = self._find_line(tasks[done].programs)
            raise _Stopped(done, place if found_place is None else found_place, line, text, is_late) from error

    def _read(self) -> Any:
        (count,) = _LENGTH.unpack(self._receive(_LENGTH.size))
        if count > _LONGEST:
            raise pickle.UnpicklingError('an answer of %d bytes' % count)
        return _Unpickler(io.BytesIO(self._receive(count))).load()

    def _receive(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._wire.recv(min(count, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b''.join(parts)

    def close(self) -> None:
        """End the child, and what its programs started; again is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # One that ended by itself says how; its group may still have others.
            if self._process.poll() is None:
                self._wait()
            if self._process.poll() is None:
                # The guard ends the rest, whatever session it is in.
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._wire.close()

    def _wait(self) -> None:
        """Give a child that is about to end the time to say how."""
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            self._wire.shutdown(socket.SHUT_RDWR)
            self._process.wait(1)

    def _describe_end(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return 'ended with status %s' % code
        try:
            return 'was ended by %s' % signal.Signals(-code).name
        except ValueError:
            return 'was ended by signal %d' % -code

    def _find_line(self, places: Sequence[int]) -> tuple[int | None, int | None]:
        """Return the program and line that ran last, as the child's last words tell."""
        text = b''
        with contextlib.suppress(OSError):
            self._last_words.settimeout(1)
            while len(text) < 1 << 16 and (part := self._last_words.recv(1 << 16)):
                text += part
        self._last_words.close()
        found = _LAST_LINE.search(text.decode('utf-8', 'replace'))
        if found is None or int(found[1]) not in places:
            return None, None
        return int(found[1]), int(found[2])


class _Unpickler(pickle.Unpickler):
    """Reads what a child says, which scripts may forge: plain values and Decimals."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('decimal', 'Decimal'):
            return Decimal
        raise pickle.UnpicklingError('%s.%s has no place in an answer.' % (module, name))


#: What reading from a child may raise: it is gone, late, or says things that make no sense.
_BROKEN = (
    OSError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    ImportError,
)


def _count_tasks() -> int:
    """Return how many processes and threads the user has."""
    user, count = os.geteuid(), 0
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found = os.stat('/proc/%s/task' % name)
                owner = found.st_uid or _read_owner(name)
                count += found.st_nlink - 2 if owner == user else 0
    return count


def _read_owner(name: str) -> int:
    """Return whose process this is; the files of one whose memory is hidden belong to root."""
    with open('/proc/%s/status' % name) as file:
        return next((int(line.split()[2]) for line in file if line.startswith('Uid:')), 0)


def _hide_memory() -> None:
    """Keep other processes of the user, but root, from reading the memory and the environment of this one."""
    # Where it cannot be done, scripts can read the configuration all the same.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def _python() -> str:
    """Return the interpreter, also where the process is somebody else's program that embeds it."""
    if os.path.basename(sys.executable or '').startswith('python'):
        return sys.executable
    return os.path.join(sys.exec_prefix, 'bin', 'python%d.%d' % sys.version_info[:2])
