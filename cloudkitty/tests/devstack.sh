# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What the devstack plugin uses of devstack and grenade, small: ini files are written, processes run in the background,
# and what would reach for a cloud is only written down, a line a call, into $DEST/calls.

declare -A GITREPO GITBRANCH GITDIR

GIT_BASE=https://opendev.org
TARGET_BRANCH=master
STACK_USER=$(id -un)
SERVICE_HOST=127.0.0.1
SERVICE_PROTOCOL=http
SERVICE_PASSWORD=secret
SERVICE_PROJECT_NAME=service
SERVICE_DOMAIN_NAME=Default
SERVICE_TIMEOUT=${SERVICE_TIMEOUT:-300}
REGION_NAME=RegionOne
KEYSTONE_SERVICE_URI=http://127.0.0.1:1/identity
ENABLE_DEBUG_LOG_LEVEL=True
TEMPEST_CONFIG=$DEST/tempest.conf

function write_down { printf '%s\n' "$*" >>"$DEST/calls"; }

for _name in define_plugin git_clone setup_develop git_clone_by_name setup_dev_lib pip_install_gr create_service_user \
    get_or_create_service get_or_create_endpoint get_or_create_role get_or_add_user_project_role recreate_database \
    remove_uwsgi_config register_project_for_upgrade register_db_to_save devstack_localrc; do
    eval "function $_name { write_down $_name \"\$@\"; }"
done

function sudo { "$@"; }
function echo_summary { echo "$*"; }
function get_python_exec_prefix { echo "$BIN"; }
function use_library_from_git { [[ ",$LIBS_FROM_GIT," == *",$1,"* ]]; }
function enable_service {
    local name
    for name in "$@"; do
        [[ ",$ENABLED_SERVICES,$DISABLED_SERVICES," == *",$name,"* ]] || ENABLED_SERVICES+=",$name"
    done
}

function is_service_enabled {
    local name
    for name in "$@"; do
        [[ ",$ENABLED_SERVICES," == *",$name,"* ]] && return 0
    done
    return 1
}

function die {
    echo "[ERROR] line $1: $2" >&2
    exit 1
}

# $1 is the default, $2 names the variable.
function trueorfalse {
    case ${!2:-$1} in
        1 | [yY]es | [tT]rue | TRUE) echo True ;;
        *) echo False ;;
    esac
}

function iniset {
    "$BIN/python" - "$@" <<'PYTHON'
import configparser
import sys

path, section, option, value = sys.argv[1:]
found = configparser.RawConfigParser()
found.optionxform = str
found.read(path)
if section != 'DEFAULT' and not found.has_section(section):
    found.add_section(section)
found.set(section, option, value)
with open(path, 'w') as file:
    found.write(file)
PYTHON
}

function setup_logging { iniset "$1" DEFAULT use_stderr True; }
function iniset_rpc_backend { iniset "$2" DEFAULT transport_url fake:/; }
function database_connection_url { echo "$DATABASE_URL"; }

function configure_keystone_authtoken_middleware {
    iniset "$1" keystone_authtoken auth_type password
    iniset "$1" keystone_authtoken auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$1" keystone_authtoken username "$2"
    iniset "$1" keystone_authtoken password "$SERVICE_PASSWORD"
    iniset "$1" keystone_authtoken project_name "$SERVICE_PROJECT_NAME"
    iniset "$1" keystone_authtoken user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$1" keystone_authtoken project_domain_name "$SERVICE_DOMAIN_NAME"
}

# Where httpd would stand before it, uWSGI itself answers under the path.
function write_uwsgi_config {
    iniset "$1" uwsgi mount "$3=$2"
    iniset "$1" uwsgi manage-script-name true
    iniset "$1" uwsgi http-socket "127.0.0.1:$UWSGI_PORT"
    local option
    for option in master die-on-term lazy-apps enable-threads; do
        iniset "$1" uwsgi "$option" true
    done
    iniset "$1" uwsgi buffer-size 65535
    iniset "$1" uwsgi processes 1
    iniset "$1" uwsgi threads 4
}

# The command is words, as in a unit of systemd.
function run_process {
    local -a command
    read -ra command <<<"$2"
    setsid "${command[@]}" >"$DEST/$1.log" 2>&1 </dev/null &
    echo $! >"$DEST/$1.pid"
}

function stop_process {
    local pid
    [[ -e "$DEST/$1.pid" ]] || return 0
    pid=$(<"$DEST/$1.pid")
    rm "$DEST/$1.pid"
    kill "$pid" || return 0
    while [[ -e /proc/$pid ]] && ! grep -q '^State:.Z' "/proc/$pid/status"; do
        sleep 0.1
    done
}

# $1 seconds; any answer will do.
function wait_for_service {
    "$BIN/python" - "$@" <<'PYTHON'
import sys
import time
import urllib.error
import urllib.request

deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    try:
        urllib.request.urlopen(sys.argv[2], timeout=30)
    except urllib.error.HTTPError:
        break
    except OSError:
        time.sleep(0.2)
        continue
    break
else:
    sys.exit(1)
PYTHON
}

function ensure_services_started { write_down ensure_services_started "$@"; }
function ensure_services_stopped { write_down ensure_services_stopped "$@"; }
function resource_save { echo "$3" >"$DEST/$1.$2"; }
function resource_get { cat "$DEST/$1.$2"; }
