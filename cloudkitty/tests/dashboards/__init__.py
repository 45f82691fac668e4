# SPDX-License-Identifier: Apache-2.0
"""Pictures of the dashboards, made from a run; tools/dashboards starts it."""
