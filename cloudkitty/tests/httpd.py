# SPDX-License-Identifier: Apache-2.0
"""Apache httpd on loopback, made from the shipped site file; ``tools/httpd install`` installs it."""

import os
import pathlib
import signal
import socket
import subprocess
import time

from cloudkitty.tests import secrecy

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / 'etc' / 'apache2' / 'cloudkitty'
ENVIRONMENT = ROOT / '.cache' / 'httpd'
_PROGRAM = '/usr/sbin/apache2'
_MODULES = '/usr/lib/apache2/modules'
#: Around the site: what every installation has somewhere.
_CONFIG = """
ServerRoot {directory}
ServerName 127.0.0.1
PidFile {directory}/httpd.pid
Mutex file:{directory}
ErrorLog {directory}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
LogFormat "%h %u %t \\"%r\\" %>s %b" combined
Include {directory}/site.conf
"""


class Httpd:
    """A server of its own that serves the API under *prefix*.

    :param directory: where it keeps everything; empty.
    :param config_file: of the API; named ``cloudkitty.conf``, in a directory of its own.
    :ivar url: with the prefix.
    """

    def __init__(self, directory, config_file, prefix='/rating'):
        self.directory = pathlib.Path(directory)
        with socket.create_server(('127.0.0.1', 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = 'http://127.0.0.1:%d%s' % (self.port, prefix)
        self.config = self.directory / 'httpd.conf'
        self.config.write_text(_CONFIG.format(directory=self.directory, modules=_MODULES))
        script = self.directory / 'app.wsgi'
        # As an operator would point it to files that are not in the usual place.
        script.write_text(
            'import os\nos.environ["OS_CLOUDKITTY_CONFIG"] = ""\n'
            'from cloudkitty.api import app\napplication = app.build_wsgi_app(argv=[], config_files=[%r])\n'
            % str(config_file)
        )
        site = SITE.read_text()
        for old, new in (
            ('Listen 8889', 'Listen 127.0.0.1:%d' % self.port),
            ('*:8889', '127.0.0.1:%d' % self.port),
            ('user=cloudkitty', 'python-home=%s' % ENVIRONMENT),
            ('WSGIScriptAlias / ', 'WSGIScriptAlias %s ' % prefix),
            ('/var/www/cloudkitty', str(self.directory)),
            ('/var/log/httpd', str(self.directory)),
            ('/var/run/httpd', '%s/wsgi' % self.directory),
        ):
            assert old in site, old
            site = site.replace(old, new)
        (self.directory / 'site.conf').write_text(site)

    def start(self):
        """Start it and wait until it answers."""
        self._control('start')
        self.wait()
        return self

    def _control(self, action):
        # It refuses to run Python as root; as another user it could not read what root may keep to itself. So it gets a
        # namespace in which root is called otherwise.
        namespace = ['unshare', '--user', '--map-user=1000', '--map-group=1000'] if os.geteuid() == 0 else []
        # The program goes into the background by itself; what it prints is in its log.
        subprocess.run([*namespace, _PROGRAM, '-f', self.config, '-k', action], check=True, timeout=60)

    def reload(self):
        """Have it read everything anew without cutting off anybody, as ``apachectl graceful`` does."""
        os.kill(self.pid(), signal.SIGUSR1)

    def wait(self):
        for _ in range(600):
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log())

    def pid(self):
        return int((self.directory / 'httpd.pid').read_text())

    def processes(self):
        """Return the ids of the processes that run Python code of ours, oldest first."""
        found = []
        for task in pathlib.Path('/proc/%d/task' % self.pid()).glob('*/children'):
            for pid in map(int, task.read_text().split()):
                command = pathlib.Path('/proc/%d/cmdline' % pid).read_bytes()
                if b'(wsgi:' in command:
                    found.append(pid)
        return sorted(found)

    def log(self):
        return '\n'.join(path.read_text() for path in sorted(self.directory.glob('*error.log')))

    def stop(self):
        """End it, by its pid, and wait for that."""
        try:
            pid = self.pid()
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGTERM)
        for _ in range(600):
            if not pathlib.Path('/proc/%d' % pid).exists():
                for path in sorted(self.directory.glob('*.log')):
                    secrecy.WATCH.read_file(path)
                return
            time.sleep(0.05)
        raise AssertionError('httpd did not end: %s' % self.log())
