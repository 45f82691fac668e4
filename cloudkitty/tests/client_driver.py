# SPDX-License-Identifier: Apache-2.0
"""Runs commands of the client one after the other in one process; starting one takes a second.

It is run by the interpreter of ``.cache/client``: one line of JSON in, ``["cloudkitty", "module", "list"]``, one out,
``{"status": 0, "out": "...", "err": "..."}``. ``["python", "source"]`` evaluates an expression that knows ``client``.
"""

import contextlib
import io
import json
import os
import sys
import traceback


def main():
    answers = os.fdopen(os.dup(1), 'w')
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = run(*json.loads(line))
            except SystemExit as error:
                status = error.code
            except BaseException:
                status = 'error'
                traceback.print_exc()
        answers.write(json.dumps({'status': status, 'out': out.getvalue(), 'err': err.getvalue()}) + '\n')
        answers.flush()


def run(program, *arguments):
    if program == 'python':
        from cloudkittyclient import client
        from keystoneauth1 import loading

        options = {key[3:].lower(): value for key, value in os.environ.items() if key.startswith('OS_')}
        names = {option.dest for option in loading.get_plugin_options(options['auth_type'])}
        auth = loading.get_plugin_loader(options['auth_type']).load_from_options(
            **{name: value for name, value in options.items() if name in names}
        )
        found = client.Client('1', auth=auth)
        print(json.dumps(eval(arguments[0], {'client': found}), default=str))  # noqa: S307
        return 0
    if program == 'openstack':
        from openstackclient import shell
    else:
        from cloudkittyclient import shell
    return shell.main(list(arguments))


if __name__ == '__main__':
    main()
