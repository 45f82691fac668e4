# SPDX-License-Identifier: Apache-2.0
"""The version of the installed package."""

import importlib.metadata


def version_string():
    """Return the version of the installed package."""
    return importlib.metadata.version('cloudkitty')
