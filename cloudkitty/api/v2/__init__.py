# SPDX-License-Identifier: Apache-2.0
"""The v2 API: the scopes, what they used and what it costs; served with storage version 2 only."""
