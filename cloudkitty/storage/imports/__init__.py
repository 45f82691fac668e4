# SPDX-License-Identifier: Apache-2.0
"""Moving the rows of the storage of old into series and their days, once and checked."""
