# SPDX-License-Identifier: Apache-2.0
"""Secrets of tests, and a watch that no log has one: every record, and what programs that tests start print.

A secret tells its own name, so that one expression finds all of them, those of other processes too.
"""

import logging
import re
import threading

_SECRET = re.compile('sEcReT_([a-z-]+)_sEcReT')
_FORMATTER = logging.Formatter()


def make(name):
    """Return the secret called *name*, of small letters and dashes: fit for a URL, a header and a script."""
    found = 'sEcReT_%s_sEcReT' % name
    assert _SECRET.fullmatch(found), name
    return found


def find(text):
    """Return the names of the secrets in *text*, sorted."""
    return sorted(set(_SECRET.findall(text)))


class Watch:
    """Reads every log record of this process that a level lets pass, and those of our own loggers at any level.

    It sits in the loggers themselves: whoever sets up logging removes the handlers that he finds.
    """

    #: Loggers of which DEBUG is read even where nobody wants it.
    OURS = 'cloudkitty'

    def __init__(self):
        self._leaks = []
        self._lock = threading.Lock()
        self._original = None

    def start(self):
        is_enabled, handle = self._original = logging.Logger.isEnabledFor, logging.Logger.handle

        def claim(logger, level):
            return logger.name.split('.')[0] == self.OURS or is_enabled(logger, level)

        def read(logger, record):
            self.read_record(record)
            if is_enabled(logger, record.levelno):
                handle(logger, record)

        logging.Logger.isEnabledFor, logging.Logger.handle = claim, read

    def stop(self):
        logging.Logger.isEnabledFor, logging.Logger.handle = self._original

    def read_record(self, record):
        try:
            texts = [record.getMessage()]
        except (TypeError, ValueError):
            # The handlers complain of it.
            texts = ['%s %s' % (record.msg, record.args)]
        if record.exc_info and record.exc_info[0]:
            texts.append(_FORMATTER.formatException(record.exc_info))
        texts += [str(text) for text in (record.exc_text, record.stack_info) if text]
        for text in texts:
            self.read(text, 'logger %s, %s' % (record.name, record.levelname))

    def read(self, text, where):
        """Note the secrets in *text*, which is for everybody to read.

        :param where: what a failure calls the text.
        """
        names = find(text)
        if names:
            with self._lock:
                self._leaks += ['%s: secret %s' % (where, name) for name in names]

    def read_file(self, path):
        """Note the secrets in what a program printed or logged; no file is no words."""
        try:
            with open(path, errors='replace') as file:
                for line in file:
                    self.read(line, 'output %s' % path)
        except FileNotFoundError:
            pass

    def take(self):
        """Return what leaked since the last time, each once, and forget it."""
        with self._lock:
            found, self._leaks = self._leaks, []
        return sorted(set(found))


#: That of the test run; where there is none, nobody asks it.
WATCH = Watch()
