#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install the release that grenade goes to, bring the tables along, and start it with the configuration that is there.
# shellcheck disable=SC1091
set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"

source "$TARGET_DEVSTACK_DIR/functions"
source "$TARGET_DEVSTACK_DIR/stackrc"
source "$TARGET_DEVSTACK_DIR/lib/tls"
source "$TARGET_DEVSTACK_DIR/lib/apache"
source "$TARGET_DEVSTACK_DIR/lib/keystone"

CLOUDKITTY_DEVSTACK_DIR=$(cd "$(dirname "$0")/.." && pwd)
source "$CLOUDKITTY_DEVSTACK_DIR/settings"
source "$CLOUDKITTY_DEVSTACK_DIR/plugin.sh"

set -o xtrace
install_cloudkitty
install -m 644 "$CLOUDKITTY_DIR/etc/cloudkitty/api_paste.ini" "$CLOUDKITTY_CONF_DIR/api_paste.ini"
migrate_cloudkitty
start_cloudkitty
ensure_services_started cloudkitty-api cloudkitty-processor
