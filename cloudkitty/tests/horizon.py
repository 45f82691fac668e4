# SPDX-License-Identifier: Apache-2.0
"""Horizon with the dashboard of the rating service, on loopback; ``tools/horizon install`` installs it."""

import os
import pathlib
import secrets
import socket
import subprocess

import requests

from cloudkitty.tests import processes

ROOT = pathlib.Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'horizon'
ENVIRONMENT = ROOT / '.cache' / 'horizon'
#: Seconds it may take to answer for the first time.
PATIENCE = 120


class HorizonError(Exception):
    """Horizon cannot be installed or does not answer; the text holds the end of its log."""


def install():
    """Make its environment, and Chromium, unless they are there; raise HorizonError."""
    done = subprocess.run([TOOL, 'install'], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HorizonError('tools/horizon install failed: %s' % done.stderr.strip()[-2000:])


class Horizon:
    """A server of its own that keeps its log in *directory* and signs people in at a Keystone.

    :ivar url: without a slash at its end.
    """

    def __init__(self, directory, keystone_url):
        self.directory = pathlib.Path(directory)
        self.url = None
        self._keystone_url = keystone_url
        self._process = None

    def start(self):
        """Start it and wait until it answers; return self."""
        with socket.create_server(('127.0.0.1', 0), backlog=128) as listener:
            self.url = 'http://127.0.0.1:%d' % listener.getsockname()[1]
            descriptor = listener.fileno()
            python = ENVIRONMENT / 'bin' / 'python'
            self._process = processes.start(
                'horizon',
                [python, '-m', 'cloudkitty.tests.cloud_server', 'horizon', ENVIRONMENT / 'static', descriptor],
                self.directory / 'horizon.log',
                cwd=self.directory, pass_fds=[descriptor],
                env={
                    **os.environ,
                    'PYTHONPATH': str(ROOT),
                    'PYTHONWARNINGS': 'ignore',
                    'HORIZON_KEYSTONE_URL': self._keystone_url,
                    'HORIZON_SECRET_KEY': secrets.token_urlsafe(32),
                },
            )  # fmt: skip
        try:
            requests.get('%s/auth/login/' % self.url, timeout=PATIENCE).raise_for_status()
        except requests.RequestException as error:
            text = 'Horizon does not answer: %s\n%s' % (error, self._process.tail())
            self.stop()
            raise HorizonError(text) from error
        return self

    def read_log(self):
        return (self.directory / 'horizon.log').read_text()

    def stop(self):
        if self._process is not None:
            self._process.stop()
            self._process = None
