# SPDX-License-Identifier: Apache-2.0
"""The program in which scripts and expressions of operators run, away from the service.

:mod:`cloudkitty.rating.jail` starts it as a file, with a socket and a socket for the last words, and reads
what it says with suspicion: whatever runs here may forge it. Nothing but the standard library is imported.

Source: rating contract, sections 2.4, 6.3 and 7.
"""

import datetime
import decimal
from decimal import Decimal
import faulthandler
import json
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
from typing import Any
from typing import NoReturn

#: How long a message is, in bytes, before each.
LENGTH = struct.Struct('>Q')
#: What a script is called where Python names the file of its lines; its place among the programs is filled in.
FILE = '<script %d>'

#: The arithmetic of the service.
_CONTEXT = decimal.Context(
    prec=60,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)

#: Bytes that a file may have which a script writes: no script needs one.
_FILE = 16 << 20
#: Of linux/prctl.h.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: Bits from which on a whole number is none that a table could hold as text.
_BITS = 1000


class Nonsense(ValueError):
    """What a script left behind is no frame."""


class Ended(BaseException):
    """A script asked to end its process."""


def main(arguments: list[str]) -> None:
    """Serve requests until the other side closes the socket."""
    setup = json.loads(arguments[0])
    wire = socket.socket(fileno=setup['wire'])
    # Green threads on the other side made both ends non-blocking.
    wire.setblocking(True)
    try:
        stand_guard((setup['wire'], setup['last_words']))
        confine(setup)
    except (OSError, ValueError) as error:
        wire.sendall(pack(('refused', describe(error))))
        return
    # A script that forks comes here twice: only one of them answers.
    os.register_at_fork(after_in_child=wire.close)
    wire.sendall(pack(('ready',)))
    codes: dict[str, Any] = {}
    while True:
        head = wire.recv(LENGTH.size, socket.MSG_WAITALL)
        if len(head) < LENGTH.size:
            return
        request = pickle.loads(receive(wire, LENGTH.unpack(head)[0]))  # nosec B301
        for key, source in request['sources'].items():
            codes[key] = source
        for task in request['tasks']:
            wire.sendall(pack(_serve(task, request, codes, wire)))
        wire.sendall(pack(('end', is_alone())))


def stand_guard(descriptors: tuple[int, int]) -> None:
    """Divide in two: one returns and runs scripts; the other never does, and ends what they leave behind.

    Whatever a script starts is handed to the guard when its parent ends, be it in a session of its own. The guard ends
    in the way in which the first one did, or ends that one when it is told to by SIGTERM.
    """
    waited = (signal.SIGTERM, signal.SIGCHLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    runner = os.fork()
    if not runner:
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Its own orphans it finds itself: see is_alone().
        _control(_PR_SET_CHILD_SUBREAPER, 1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
        if os.getppid() != guard:
            os.kill(os.getpid(), signal.SIGKILL)
        return
    for descriptor in descriptors:
        # The other side is to see that the runner closed them.
        os.close(descriptor)
    status = None
    while status is None:
        if signal.sigwait(waited) == signal.SIGTERM:
            os.kill(runner, signal.SIGKILL)
        status = _reap(runner)
    _end_children()
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (-status,))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), -status)
    os._exit(max(status, 0))


def _control(option: int, value: int) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError('prctl(%d): %s' % (option, os.strerror(ctypes.get_errno())))


def _reap(runner: int) -> int | None:
    """Take notice of all who ended; return the status of *runner*, negative for a signal, or None: it goes on."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return None
        if pid == runner:
            return os.waitstatus_to_exitcode(status)


def _end_children() -> None:
    """End all processes below this one: whose parent ends becomes a child of this one."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            for pid in _list_children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _list_children() -> list[int]:
    found, own = [], str(os.getpid())
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                with open('/proc/%s/stat' % name, 'rb') as file:
                    parent = file.read().rpartition(b')')[2].split()[1]
            except OSError:
                continue
            if parent.decode() == own:
                found.append(int(name))
    return found


def confine(setup: dict[str, Any]) -> None:
    """Limit what the process may use, for good."""
    sys.path[:] = setup['path']
    os.chdir('/')
    # Dumps the line that runs when the time is over, even in the middle of a long operation; then the process ends.
    faulthandler.enable(file=setup['last_words'], all_threads=False)
    faulthandler.register(signal.SIGALRM, file=setup['last_words'], all_threads=False, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, 256)
    _lower(resource.RLIMIT_AS, setup['memory'])
    _lower(resource.RLIMIT_NPROC, setup['processes'])
    # Python ignores the signal: what writes more gets an error.
    _lower(resource.RLIMIT_FSIZE, _FILE)
    if not setup['network']:
        _leave_network()
    os._exit = _refuse_exit


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def _leave_network() -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    new_network, new_user = 0x40000000, 0x10000000
    if library.unshare(new_network) and library.unshare(new_user | new_network):
        raise OSError('they cannot be kept from the network here: %s' % os.strerror(ctypes.get_errno()))


def _refuse_exit(status: int = 0) -> NoReturn:
    raise Ended('os._exit(%s)' % (status,))


def pack(message: tuple[Any, ...]) -> bytes:
    """Return *message* as it goes over the socket."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


def receive(wire: socket.socket, count: int) -> bytes:
    """Return the next *count* bytes."""
    parts = []
    while count:
        part = wire.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b''.join(parts)


def is_alone() -> bool:
    """Return whether the scripts left neither threads nor processes behind."""
    if threading.active_count() > 1:
        return False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _serve(task: Any, request: dict[str, Any], codes: dict[str, Any], wire: socket.socket) -> tuple[Any, ...]:
    """Return ('done', result), or ('failed', place of the program, line or None, text)."""
    kind, places, *arguments = task
    frame = Frame(*arguments) if kind == 'frame' else None
    result: Any = None
    for place in places:
        if place != places[0]:
            # The other side takes the first for the one that runs.
            wire.sendall(pack(('at', place)))
        mode = 'exec' if frame else 'eval'
        try:
            # What the one before may have changed.
            decimal.setcontext(_CONTEXT.copy())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
            signal.setitimer(signal.ITIMER_REAL, request['timeout'])
            try:
                code = codes[request['programs'][place]]
                if isinstance(code, str):
                    code = compile(code, FILE % place, mode, dont_inherit=True)
                    codes[request['programs'][place]] = code
                elif code.co_filename != FILE % place:
                    code = code.replace(co_filename=FILE % place)
                if frame is not None:
                    frame.run(code)
                else:
                    result = evaluate(code, *arguments)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as error:
            return ('failed', place, find_line(error, FILE % place), describe(error))
    return ('done', frame.points if frame is not None else result)


class Frame:
    """A frame that scripts change one after the other.

    :param usage: (metric type, points) by type; a point is (unit, quantity, price, groupby, metadata).
    :ivar points: (metric type, place in the frame that came or None, unit, quantity, price, groupby, metadata).
    """

    def __init__(self, begin: datetime.datetime, end: datetime.datetime, usage: list[tuple[str, list[Any]]]) -> None:
        self._period = (begin, end)
        self._types = [metric for metric, _ in usage]
        entries = [(metric, *point) for metric, points in usage for point in points]
        self.points = [(entry[0], place, *entry[1:]) for place, entry in enumerate(entries)]

    def run(self, code: Any) -> None:
        """Run *code* on the points."""
        usage: dict[str, list[Any]] = {metric: [] for metric in self._types}
        origins = {}
        for metric, origin, unit, quantity, price, groupby, metadata in self.points:
            point = {
                'vol': {'unit': unit, 'qty': quantity},
                'rating': {'price': price},
                'groupby': copy(groupby),
                'metadata': copy(metadata),
            }
            usage.setdefault(metric, []).append(point)
            # The dictionary is kept, so that no other gets its identity.
            origins[id(point)] = (origin, point)
        names = {
            'data': {'period': {'begin': self._period[0], 'end': self._period[1]}, 'usage': usage},
        }
        exec(code, names)  # nosec B102
        self._read(names.get('data'), origins)

    def _read(self, data: Any, origins: dict[int, Any]) -> None:
        if not isinstance(data, dict) or set(data) != {'period', 'usage'}:
            raise Nonsense('data must be a dictionary of period and usage')
        if not isinstance(data['period'], dict) or not {'begin', 'end'} <= set(data['period']):
            raise Nonsense('data["period"] must hold begin and end')
        for name in ('begin', 'end'):
            _check_instant(data['period'][name], name)
        if not isinstance(data['usage'], dict):
            raise Nonsense('data["usage"] must be a dictionary of lists')
        points = []
        seen = set()
        for metric, found in data['usage'].items():
            _check_text(metric, 'a metric type', 255)
            if not metric or not isinstance(found, list | tuple):
                raise Nonsense('data["usage"][%r] must be a list' % metric)
            for number, point in enumerate(found):
                where = 'data["usage"][%r][%d]' % (metric, number)
                origin = origins.get(id(point), (None,))[0]
                if origin in seen:
                    origin = None
                seen.add(origin)
                points.append((metric, origin, *_read_point(point, where)))
        self._types = list(data['usage'])
        self.points = points


def _read_point(point: Any, where: str) -> tuple[str, Decimal, Decimal, dict[str, Any], dict[str, Any]]:
    if not isinstance(point, dict):
        raise Nonsense('%s must be a dictionary' % where)
    for key in point:
        if key not in ('vol', 'rating', 'groupby', 'metadata'):
            raise Nonsense('%s: there is no member %r' % (where, key))
    for key in ('vol', 'groupby', 'metadata'):
        if key not in point:
            raise Nonsense('%s: %s is missing' % (where, key))
    vol, rating = point['vol'], point.get('rating', {})
    if not isinstance(vol, dict) or set(vol) != {'unit', 'qty'}:
        raise Nonsense('%s: vol must hold unit and qty' % where)
    if not isinstance(rating, dict) or set(rating) - {'price'}:
        raise Nonsense('%s: rating may only hold price' % where)
    _check_text(vol['unit'], '%s: vol.unit' % where, 255)
    return (
        str(vol['unit']) or 'undefined',
        _read_number(vol['qty'], '%s: vol.qty' % where),
        _read_number(rating.get('price', 0), '%s: rating.price' % where),
        _read_attributes(point['groupby'], '%s: groupby' % where),
        _read_attributes(point['metadata'], '%s: metadata' % where),
    )


def _check_instant(value: Any, name: str) -> None:
    if isinstance(value, str):
        try:
            datetime.datetime.fromisoformat(value)
            return
        except ValueError:
            pass
    elif isinstance(value, datetime.datetime):
        return
    raise Nonsense('data["period"]["%s"] must be an instant' % name)


def _check_text(value: Any, what: str, longest: int | None = None) -> None:
    if not isinstance(value, str):
        raise Nonsense('%s must be text, not %s' % (what, type(value).__name__))
    if longest is not None and len(value) > longest:
        raise Nonsense('%s must have at most %d characters' % (what, longest))
    if '\0' in value or any('\ud800' <= character <= '\udfff' for character in value):
        raise Nonsense('%s must be text without NUL and surrogate characters' % what)


def _read_number(value: Any, what: str) -> Decimal:
    try:
        found = value if type(value) is Decimal else Decimal(str(value))
        if found.is_finite():
            return found
    except (decimal.InvalidOperation, ValueError):
        pass
    raise Nonsense('%s must be a number, not %s' % (what, _shorten(repr(value))))


def _read_attributes(value: Any, what: str) -> dict[str, Any]:
    try:
        found = dict(value)
    except (TypeError, ValueError):
        raise Nonsense('%s must be a dictionary' % what) from None
    return {_read_name(name, what): _read_value(item, what) for name, item in found.items()}


def _read_name(name: Any, what: str) -> str:
    text = name if isinstance(name, str) else str(name)
    _check_text(text, what)
    return str(text)


def _read_value(value: Any, what: str) -> Any:
    """Return *value* as JSON has it; of what it does not know, the text."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, str):
        _check_text(value, what)
        return str(value)
    if kind is int and value.bit_length() < _BITS:
        return value
    if kind is float and value - value == 0:
        return value
    if kind is Decimal and value.is_finite():
        # Some sources give their attributes so.
        return value
    if isinstance(value, dict):
        return {_read_name(name, what): _read_value(item, what) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_read_value(item, what) for item in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    return _read_name(value, what)


def copy(value: Any) -> Any:
    """Return a copy of *value*, JSON, that nobody else holds."""
    if type(value) is dict:
        return {name: copy(item) if type(item) in (dict, list) else item for name, item in value.items()}
    if type(value) is list:
        return [copy(item) for item in value]
    return value


def evaluate(
    code: Any,
    unit: str,
    groupby: dict[str, Any],
    metadata: dict[str, Any],
    points: list[tuple[Decimal, Decimal, dict[str, str]]],
) -> list[bool | str]:
    """Return what expression *code* says of each point, (quantity, price, calendar attributes): a bool, or an error."""
    result: list[bool | str] = []
    for quantity, price, words in points:
        point = {
            'vol': {'unit': unit, 'qty': quantity},
            'rating': {'price': price},
            'groupby': copy({**groupby, **words}),
            'metadata': copy(metadata),
        }
        try:
            result.append(bool(eval(code, {'datapoint': point})))  # noqa: S307  # nosec B307
        except Exception as error:
            result.append(describe(error))
    return result


def find_line(error: BaseException, name: str) -> int | None:
    """Return the line of file *name* that *error* comes from, the innermost; None: from none."""
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def describe(error: BaseException) -> str:
    """Return one line about *error*."""
    if isinstance(error, SyntaxError):
        return 'SyntaxError: %s' % error.msg
    try:
        text = ' '.join(str(error).split())
    except BaseException:
        text = ''
    if isinstance(error, Nonsense):
        return 'it left no frame behind: %s' % text
    kind = 'it ended its process' if isinstance(error, Ended | SystemExit) else type(error).__name__
    return _shorten('%s: %s' % (kind, text) if text else kind, 300)


def _shorten(text: str, longest: int = 60) -> str:
    text = text.encode('utf-8', 'backslashreplace').decode('utf-8')
    return text if len(text) <= longest else text[: longest - 3] + '...'


if __name__ == '__main__':
    main(sys.argv[1:])
