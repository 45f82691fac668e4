# SPDX-License-Identifier: Apache-2.0
"""Connections to the services of the cloud, shared by drivers."""
