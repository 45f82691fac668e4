# SPDX-License-Identifier: Apache-2.0
"""A machine of its own for a test that installs: this one, with changes that nobody else sees, and servers on it.

Namespaces of the kernel keep it apart: what it writes below /etc, /opt, /root, /usr and /var goes to memory, its
processes end with it, and its network is its own. That takes root.
"""

import pathlib
import shutil
import subprocess
import tempfile
import time

_NAMESPACES = ('mount', 'pid', 'uts', 'ipc', 'net')
#: Programs are those of the distribution.
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
_MAKE = """
set -e
hostname controller
ip link set lo up
mount -t tmpfs machine {directory}
for name in etc opt root usr var; do
    mkdir -p {directory}/$name/over {directory}/$name/work
    mount -t overlay overlay -o lowerdir=/$name,upperdir={directory}/$name/over,workdir={directory}/$name/work /$name
done
mount -t tmpfs machine /run
for name in log lib/mysql lib/rabbitmq; do
    mkdir -p /var/$name
    mount -t tmpfs machine /var/$name
done
mkdir -p /run/lock /run/mysqld /run/apache2 /var/log/apache2 /var/log/rabbitmq
echo '127.0.0.1 localhost controller' >/etc/hosts
install -m 755 /dev/stdin /usr/local/bin/systemctl <<'END'
{systemctl}
END
touch /run/made
exec sleep infinity
"""
#: What the guides ask of systemd: units are started as they say; there is no systemd in a namespace.
_SYSTEMCTL = r"""#!/bin/bash
set -e
case $1 in
    daemon-reload) ;;
    reload) apachectl -k graceful ;;
    enable)
        shift
        for name in "$@"; do
            [ "$name" != --now ] || continue
            unit=/etc/systemd/system/$name.service
            user=$(sed -n 's/^User=//p' "$unit")
            command=$(sed -n 's/^ExecStart=//p' "$unit")
            setsid runuser -u "$user" -- $command >/var/log/$name.out 2>&1 </dev/null &
        done
        ;;
    *) echo "systemctl: $*?" >&2; exit 1 ;;
esac"""
_DATABASE = """
chown mysql: /var/lib/mysql /run/mysqld
mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null
setsid mariadbd --user=mysql >/var/log/mariadbd.out 2>&1 </dev/null &
for count in {1..300}; do
    ! mysqladmin --silent ping >/dev/null 2>&1 || exit 0
    sleep 0.1
done
exit 1
"""
_BROKER = """
chown rabbitmq: /var/lib/rabbitmq /var/log/rabbitmq
setsid rabbitmq-server >/var/log/rabbitmq.out 2>&1 </dev/null &
for count in {1..60}; do
    ! rabbitmqctl await_startup >/dev/null 2>&1 || exit 0
    sleep 1
done
exit 1
"""


class MachineError(Exception):
    """The machine, or a server on it, cannot be made."""


class Machine:
    """Starts and stops a machine whose host is called ``controller``."""

    def __init__(self):
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-machine-'))
        self._log = self._directory.with_suffix('.log')
        self._holder = None
        self._first = None

    def start(self):
        script = _MAKE.format(directory=self._directory, systemctl=_SYSTEMCTL)
        # It ends with the thread that started it, even when that is killed.
        command = [
            'setpriv',
            '--pdeathsig',
            'KILL',
            'unshare',
            *('--%s' % name for name in _NAMESPACES),
            '--fork',
            '--mount-proc',
            '--kill-child',
        ]
        with self._log.open('w') as log:
            self._holder = subprocess.Popen(
                [*command, 'bash', '-c', script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for _ in range(200):
            if self._holder.poll() is not None:
                break
            children = pathlib.Path('/proc/%d/task/%d/children' % ((self._holder.pid,) * 2)).read_text().split()
            if children:
                self._first = children[0]
                if self.run(['test', '-e', '/run/made']).returncode == 0:
                    return self
            time.sleep(0.1)
        raise MachineError(self._log.read_text())

    def stop(self):
        """End all that runs on it; what was written is gone."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
        self._log.unlink(missing_ok=True)
        shutil.rmtree(self._directory)

    def command(self, words, is_apart=True):
        """Return the words that run *words* there.

        :param is_apart: false: with the network of this machine.
        """
        names = [name for name in _NAMESPACES if is_apart or name != 'net']
        return ['nsenter', '--target', self._first, '--wd=/root', *('--%s' % name for name in names), *words]

    def run(self, words, **options):
        """Run *words* there and return what :func:`subprocess.run` does."""
        return subprocess.run(
            self.command(words), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options
        )

    def add_copy(self, source, target):
        """Give it a copy of directory *source* as *target*; what is changed there stays there."""
        parts = ['%s/copy/%s' % (self._directory, name) for name in ('over', 'work')]
        options = 'lowerdir=%s,upperdir=%s,workdir=%s' % (source, *parts)
        script = 'mkdir -p %s %s %s && mount -t overlay overlay -o %s %s' % (*parts, target, options, target)
        done = self.run(['sh', '-c', script])
        if done.returncode:
            raise MachineError(done.stderr)

    def start_servers(self):
        """Start MariaDB and RabbitMQ, both new."""
        for name, script in (('MariaDB', _DATABASE), ('RabbitMQ', _BROKER)):
            done = self.run(['env', 'PATH=%s' % PATH, 'bash', '-c', script])
            if done.returncode:
                raise MachineError('%s: %s' % (name, done.stderr + self.read_logs()))

    def read_logs(self):
        """Return the ends of the logs that its servers wrote."""
        return self.run(['sh', '-c', 'tail -n 30 /var/log/*.out /var/log/*/*.log']).stdout
