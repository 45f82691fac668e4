# SPDX-License-Identifier: Apache-2.0
"""Bugs to plant, each of a kind that must never get into the service: the laboratory has to find them."""


def plant(name, kind):
    """Plant the bug *name* into this process, which is a ``processor`` or an ``api``; None: none."""
    if name:
        BUGS[name](kind)


BUGS = {}
