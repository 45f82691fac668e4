#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Rules that have to be there after grenade has upgraded the service.
#
# usage: resources.sh create|verify|verify_noapi|destroy
# shellcheck disable=SC1091
set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"
source "$TOP_DIR/openrc" admin admin

set -o xtrace

function create {
    local service field mapping
    service=$(openstack rating hashmap service create grenade -f value -c "Service ID")
    field=$(openstack rating hashmap field create "$service" flavor_id -f value -c "Field ID")
    mapping=$(openstack rating hashmap mapping create 0.5 --field-id "$field" --value m1.nano -t flat \
        -f value -c "Mapping ID")
    resource_save cloudkitty service "$service"
    resource_save cloudkitty field "$field"
    resource_save cloudkitty mapping "$mapping"
}

function verify {
    openstack rating hashmap service get "$(resource_get cloudkitty service)"
    openstack rating hashmap field get "$(resource_get cloudkitty field)"
    openstack rating hashmap mapping get "$(resource_get cloudkitty mapping)" -f value -c Cost | grep -q '^0\.5'
}

function destroy {
    # Fields and mappings go with it.
    openstack rating hashmap service delete "$(resource_get cloudkitty service)"
}

case $1 in
    create | verify | destroy) "$1" ;;
    # The rules are in the database, which nobody looks at without the API.
    verify_noapi) ;;
    *)
        sed -n '5p' "$0" | cut -c3- >&2
        exit 2
        ;;
esac
