# SPDX-License-Identifier: Apache-2.0
"""The import path that entry points name."""

from cloudkitty.storage.v1 import driver

SQLAlchemyStorage = driver.SQLAlchemyStorage
