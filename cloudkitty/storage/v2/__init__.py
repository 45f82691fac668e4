# SPDX-License-Identifier: Apache-2.0
"""The import path that plugins know."""

from cloudkitty.storage import base

BaseStorage = base.BaseStorage
