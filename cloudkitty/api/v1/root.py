# SPDX-License-Identifier: Apache-2.0
"""``/v1``: the resources of the first version of the API. Itself it is no document."""

from cloudkitty.api import rest
from cloudkitty.api.v1 import collector
from cloudkitty.api.v1 import info
from cloudkitty.api.v1 import rating
from cloudkitty.api.v1 import report
from cloudkitty.api.v1 import storage


class V1Controller(rest.Controller):
    collector = collector.CollectorController()
    info = info.InfoController()
    rating = rating.RatingController()
    #: What ``rating`` was called once.
    billing = rating
    report = report.ReportController()
    storage = storage.StorageController()
