# SPDX-License-Identifier: Apache-2.0
"""The storage in the SQL database: series once, their points by day."""
