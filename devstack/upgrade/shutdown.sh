#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# End the services of the release that grenade comes from.
# shellcheck disable=SC1091
set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"

source "$BASE_DEVSTACK_DIR/functions"
source "$BASE_DEVSTACK_DIR/stackrc"
source "$BASE_DEVSTACK_DIR/lib/tls"
source "$BASE_DEVSTACK_DIR/lib/apache"
source "$BASE_DEVSTACK_DIR/lib/keystone"

CLOUDKITTY_DEVSTACK_DIR=$(cd "$(dirname "$0")/.." && pwd)
source "$CLOUDKITTY_DEVSTACK_DIR/settings"
source "$CLOUDKITTY_DEVSTACK_DIR/plugin.sh"

set -o xtrace
stop_cloudkitty
ensure_services_stopped cloudkitty-api cloudkitty-processor
