#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The devstack plugin. devstack sources it with a phase and a step of it; without, it only defines functions.
#
#   stack pre-install    look at the settings
#   stack install        the service, its client, and its pages where Horizon is enabled
#   stack post-config    accounts and configuration
#   stack extra          tables, then the processes
#   stack test-config    tell Tempest
#   unstack              end the processes
#   clean                remove what was configured

_CLOUDKITTY_XTRACE=$(set +o | grep xtrace)
set +o xtrace

# Where the API answers, which is what the catalogue says.
function get_cloudkitty_url {
    if [[ "$CLOUDKITTY_USE_UWSGI" == "True" ]]; then
        echo "$CLOUDKITTY_SERVICE_PROTOCOL://$CLOUDKITTY_SERVICE_HOST/rating"
    else
        echo "$CLOUDKITTY_SERVICE_PROTOCOL://$CLOUDKITTY_SERVICE_HOSTPORT"
    fi
}

# Refuse before anything is installed what this release does not have.
function check_cloudkitty {
    if [[ "$CLOUDKITTY_STORAGE_BACKEND" != "sqlalchemy" ]]; then
        die $LINENO "CLOUDKITTY_STORAGE_BACKEND: this release has sqlalchemy, not $CLOUDKITTY_STORAGE_BACKEND."
    fi
}

function install_cloudkitty {
    git_clone "$CLOUDKITTY_REPO" "$CLOUDKITTY_DIR" "$CLOUDKITTY_BRANCH"
    setup_develop "$CLOUDKITTY_DIR"
}

function install_cloudkitty_client {
    if use_library_from_git python-cloudkittyclient; then
        git_clone_by_name python-cloudkittyclient
        setup_dev_lib python-cloudkittyclient
    else
        pip_install_gr python-cloudkittyclient
    fi
}

function install_cloudkitty_dashboard {
    git_clone "$CLOUDKITTYDASHBOARD_REPO" "$CLOUDKITTY_DASHBOARD" "$CLOUDKITTYDASHBOARD_BRANCH"
    setup_develop "$CLOUDKITTY_DASHBOARD"
}

function link_cloudkitty_dashboard {
    local file
    for file in "$CLOUDKITTY_ENABLED_DIR"/_[0-9]*.py; do
        ln -fs "$file" "$CLOUDKITTY_HORIZON_ENABLED_DIR/"
    done
}

function unlink_cloudkitty_dashboard {
    local file
    for file in "$CLOUDKITTY_ENABLED_DIR"/_[0-9]*.py; do
        rm -f "$CLOUDKITTY_HORIZON_ENABLED_DIR/$(basename "$file")"
    done
}

# User, service, endpoint; and a project that is rated, for the keystone fetcher finds those with the role rating.
function create_cloudkitty_accounts {
    create_service_user cloudkitty admin
    get_or_create_service cloudkitty rating "Rating"
    get_or_create_endpoint rating "$REGION_NAME" "$(get_cloudkitty_url)"
    get_or_create_role rating
    get_or_add_user_project_role rating cloudkitty "$CLOUDKITTY_PRICING_TENANT"
}

function configure_cloudkitty {
    local section
    sudo install -d -o "$STACK_USER" -m 755 "$CLOUDKITTY_CONF_DIR" "$CLOUDKITTY_DATA_DIR"
    install -m 644 "$CLOUDKITTY_DIR/etc/cloudkitty/api_paste.ini" "$CLOUDKITTY_CONF_DIR/api_paste.ini"
    if [[ ! -e "$CLOUDKITTY_METRICS_CONF" ]]; then
        install -m 644 "$CLOUDKITTY_DIR/etc/cloudkitty/metrics.yml" "$CLOUDKITTY_METRICS_CONF"
    fi
    "$CLOUDKITTY_BIN_DIR/oslopolicy-sample-generator" --namespace cloudkitty \
        --output-file "$CLOUDKITTY_CONF_DIR/policy.yaml"

    rm -f "$CLOUDKITTY_CONF"
    iniset "$CLOUDKITTY_CONF" DEFAULT auth_strategy "$CLOUDKITTY_AUTH_STRATEGY"
    iniset "$CLOUDKITTY_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    setup_logging "$CLOUDKITTY_CONF"
    iniset_rpc_backend cloudkitty "$CLOUDKITTY_CONF"
    iniset "$CLOUDKITTY_CONF" database connection "$(database_connection_url cloudkitty)"
    iniset "$CLOUDKITTY_CONF" orchestrator coordination_url "file://$CLOUDKITTY_DATA_DIR/locks"
    configure_keystone_authtoken_middleware "$CLOUDKITTY_CONF" cloudkitty

    iniset "$CLOUDKITTY_CONF" fetcher backend "$CLOUDKITTY_FETCHER"
    iniset "$CLOUDKITTY_CONF" collect collector "$CLOUDKITTY_COLLECTOR"
    iniset "$CLOUDKITTY_CONF" collect metrics_conf "$CLOUDKITTY_METRICS_CONF"
    # Nobody wants to wait for two more periods to see a price here.
    iniset "$CLOUDKITTY_CONF" collect wait_periods 0
    iniset "$CLOUDKITTY_CONF" storage backend "$CLOUDKITTY_STORAGE_BACKEND"
    iniset "$CLOUDKITTY_CONF" storage version "$CLOUDKITTY_STORAGE_VERSION"

    # The account, once; other sections refer to it.
    iniset "$CLOUDKITTY_CONF" authinfos auth_type password
    iniset "$CLOUDKITTY_CONF" authinfos auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$CLOUDKITTY_CONF" authinfos username cloudkitty
    iniset "$CLOUDKITTY_CONF" authinfos password "$SERVICE_PASSWORD"
    iniset "$CLOUDKITTY_CONF" authinfos project_name "$SERVICE_PROJECT_NAME"
    iniset "$CLOUDKITTY_CONF" authinfos user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$CLOUDKITTY_CONF" authinfos project_domain_name "$SERVICE_DOMAIN_NAME"
    for section in "fetcher_$CLOUDKITTY_FETCHER" "collector_$CLOUDKITTY_COLLECTOR"; do
        iniset "$CLOUDKITTY_CONF" "$section" auth_section authinfos
        iniset "$CLOUDKITTY_CONF" "$section" region_name "$REGION_NAME"
    done

    if [[ "$CLOUDKITTY_USE_UWSGI" == "True" ]]; then
        write_uwsgi_config "$CLOUDKITTY_UWSGI_CONF" cloudkitty.wsgi.api:application /rating "" cloudkitty-api
    fi
}

function migrate_cloudkitty {
    "$CLOUDKITTY_BIN_DIR/cloudkitty-dbsync" --config-file "$CLOUDKITTY_CONF" upgrade
    "$CLOUDKITTY_BIN_DIR/cloudkitty-storage-init" --config-file "$CLOUDKITTY_CONF"
}

function init_cloudkitty {
    recreate_database cloudkitty
    migrate_cloudkitty
}

function start_cloudkitty {
    if is_service_enabled ck-api; then
        if [[ "$CLOUDKITTY_USE_UWSGI" == "True" ]]; then
            run_process ck-api "$(command -v uwsgi) --procname-prefix cloudkitty-api --ini $CLOUDKITTY_UWSGI_CONF"
        else
            run_process ck-api "$CLOUDKITTY_BIN_DIR/cloudkitty-api --config-file=$CLOUDKITTY_CONF \
--host $CLOUDKITTY_SERVICE_HOST --port $CLOUDKITTY_SERVICE_PORT"
        fi
        if ! wait_for_service "$SERVICE_TIMEOUT" "$(get_cloudkitty_url)"; then
            die $LINENO "ck-api did not start"
        fi
    fi
    if is_service_enabled ck-proc; then
        run_process ck-proc "$CLOUDKITTY_BIN_DIR/cloudkitty-processor --config-file=$CLOUDKITTY_CONF"
    fi
}

function stop_cloudkitty {
    stop_process ck-proc
    stop_process ck-api
}

function clean_cloudkitty {
    if [[ "$CLOUDKITTY_USE_UWSGI" == "True" ]]; then
        remove_uwsgi_config "$CLOUDKITTY_UWSGI_CONF" cloudkitty-api
    fi
    if is_service_enabled horizon; then
        unlink_cloudkitty_dashboard
    fi
    sudo rm -rf "$CLOUDKITTY_CONF_DIR" "$CLOUDKITTY_DATA_DIR"
}

if is_service_enabled ck-api ck-proc; then
    case "$1 $2" in
        "stack pre-install")
            check_cloudkitty
            ;;
        "stack install")
            echo_summary "Installing CloudKitty"
            install_cloudkitty
            install_cloudkitty_client
            if is_service_enabled horizon; then
                install_cloudkitty_dashboard
            fi
            ;;
        "stack post-config")
            echo_summary "Configuring CloudKitty"
            if is_service_enabled keystone; then
                create_cloudkitty_accounts
            fi
            configure_cloudkitty
            if is_service_enabled horizon; then
                link_cloudkitty_dashboard
            fi
            ;;
        "stack extra")
            echo_summary "Starting CloudKitty"
            init_cloudkitty
            start_cloudkitty
            ;;
        "stack test-config")
            if is_service_enabled tempest; then
                iniset "$TEMPEST_CONFIG" service_available cloudkitty True
            fi
            ;;
        "unstack ")
            stop_cloudkitty
            ;;
        "clean ")
            clean_cloudkitty
            ;;
    esac
fi

$_CLOUDKITTY_XTRACE
