# SPDX-License-Identifier: Apache-2.0
"""Policy rules and their defaults; the names are a promise to operators.

Source: API contract, section 5.
"""

from oslo_policy import policy

ADMIN = 'role:admin'
EVERYBODY = ''
READER_OR_ADMIN = 'rule:project_reader_or_admin'

_BASES = (
    ('context_is_admin', ADMIN, 'Who sees the data of every project.'),
    (
        'admin_or_owner',
        'is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s',
        'Deprecated since 22.0.0; no default uses it any more.',
    ),
    ('default', EVERYBODY, 'What holds for a rule that does not exist.'),
    ('project_member_api', 'role:member and project_id:%(project_id)s', 'Members, of their own project.'),
    ('project_reader_api', 'role:reader and project_id:%(project_id)s', 'Readers, of their own project.'),
    ('project_member_or_admin', 'rule:project_member_api or rule:context_is_admin', 'Members and administrators.'),
    ('project_reader_or_admin', 'rule:project_reader_api or rule:context_is_admin', 'Readers and administrators.'),
)
_MODULE_CONFIG = '/v1/rating/module_config/{module}'
_OPERATIONS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        'info:list_services_info',
        EVERYBODY,
        'List the metrics, under their old name. The rule of the metrics is asked instead.',
        (('GET', '/v1/info/services'),),
    ),
    (
        'info:get_service_info',
        EVERYBODY,
        'Get a metric, under its old name. The rule of the metrics is asked instead.',
        (('GET', '/v1/info/services/{service_id}'),),
    ),
    (
        'info:list_metrics_info',
        EVERYBODY,
        'List the metrics.',
        (('GET', '/v1/info/metrics'), ('GET', '/v1/info/services')),
    ),
    (
        'info:get_metric_info',
        EVERYBODY,
        'Get a metric.',
        (('GET', '/v1/info/metrics/{metric_id}'), ('GET', '/v1/info/services/{service_id}')),
    ),
    ('info:get_config', EVERYBODY, 'Get the metrics file.', (('GET', '/v1/info/config'),)),
    (
        'collector:list_mappings',
        ADMIN,
        'List which service uses which collector of old.',
        (('GET', '/v1/collector/mappings'),),
    ),
    (
        'collector:get_mapping',
        ADMIN,
        'Get the collector of a service.',
        (('GET', '/v1/collector/mappings/{service}'),),
    ),
    (
        'collector:manage_mapping',
        ADMIN,
        'Map a service to a collector of old, or forget it.',
        (('POST', '/v1/collector/mappings'), ('DELETE', '/v1/collector/mappings/{service}')),
    ),
    (
        'collector:get_state',
        ADMIN,
        'Get whether a collector of old is enabled.',
        (('GET', '/v1/collector/states/{name}'),),
    ),
    (
        'collector:update_state',
        ADMIN,
        'Enable or disable a collector of old.',
        (('PUT', '/v1/collector/states/{name}'),),
    ),
    ('rating:list_modules', ADMIN, 'List the rating modules.', (('GET', '/v1/rating/modules'),)),
    ('rating:get_module', ADMIN, 'Get a rating module.', (('GET', '/v1/rating/modules/{module_id}'),)),
    (
        'rating:update_module',
        ADMIN,
        'Enable or disable a rating module, set its priority.',
        (('PUT', '/v1/rating/modules/{module_id}'),),
    ),
    ('rating:quote', EVERYBODY, 'Get the price of usage that has not happened.', (('POST', '/v1/rating/quote'),)),
    (
        'rating:module_config',
        ADMIN,
        'Read and change the configuration of a rating module, have the processors read it anew.',
        (
            ('GET', '/v1/rating/reload_modules'),
            ('GET', _MODULE_CONFIG),
            ('POST', _MODULE_CONFIG),
            ('PUT', _MODULE_CONFIG),
            ('DELETE', _MODULE_CONFIG),
        ),
    ),
    ('report:list_tenants', ADMIN, 'List the projects that were rated.', (('GET', '/v1/report/tenants'),)),
    ('report:get_summary', READER_OR_ADMIN, 'Get a summary of prices.', (('GET', '/v1/report/summary'),)),
    ('report:get_total', READER_OR_ADMIN, 'Get a total of prices.', (('GET', '/v1/report/total'),)),
    ('v2_rating:list_modules', ADMIN, 'List the rating modules.', (('GET', '/v2/rating/modules'),)),
    ('v2_rating:get_module', ADMIN, 'Get a rating module.', (('GET', '/v2/rating/modules/{module_id}'),)),
    (
        'v2_rating:update_module',
        ADMIN,
        'Enable or disable a rating module, set its priority.',
        (('PUT', '/v2/rating/modules/{module_id}'),),
    ),
    ('scope:get_state', ADMIN, 'List the scopes and how far each is rated.', (('GET', '/v2/scope'),)),
    ('scope:reset_state', ADMIN, 'Have scopes rated anew from an instant on.', (('PUT', '/v2/scope'),)),
    ('scope:post_state', ADMIN, 'Make a scope.', (('POST', '/v2/scope'),)),
    ('scope:patch_state', ADMIN, 'Change a scope, have it rated or not.', (('PATCH', '/v2/scope'),)),
    (
        'schedule:task_reprocesses',
        ADMIN,
        'Have past periods rated once more, or end that.',
        (('POST', '/v2/task/reprocesses'), ('PATCH', '/v2/task/reprocesses')),
    ),
    (
        'schedule:get_task_reprocesses',
        ADMIN,
        'List what is to be rated once more, and how far that got.',
        (('GET', '/v2/task/reprocesses'), ('GET', '/v2/task/reprocesses/{scope_id}')),
    ),
    (
        'adjustments:list',
        ADMIN,
        'List what would change of periods that are closed.',
        (('GET', '/v2/adjustments'),),
    ),
    (
        'adjustments:decide',
        ADMIN,
        'Apply or drop what would change of periods that are closed.',
        (('PUT', '/v2/adjustments'),),
    ),
    (
        'coverage:get',
        READER_OR_ADMIN,
        'Get what became of each period, and how complete a window is.',
        (('GET', '/v2/coverage'),),
    ),
    ('summary:get_summary', READER_OR_ADMIN, 'Get sums of usage and prices.', (('GET', '/v2/summary'),)),
    ('explain:get', READER_OR_ADMIN, 'Get how the price of a point comes about.', (('GET', '/v2/explain'),)),
    ('dataframes:get', READER_OR_ADMIN, 'List rated data.', (('GET', '/v2/dataframes'),)),
    ('dataframes:add', ADMIN, 'Store data that is rated already.', (('POST', '/v2/dataframes'),)),
    ('storage:list_data_frames', READER_OR_ADMIN, 'List rated data.', (('GET', '/v1/storage/dataframes'),)),
)


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule with its default."""
    bases = [policy.RuleDefault(name, check, description) for name, check, description in _BASES]
    return bases + [
        policy.DocumentedRuleDefault(
            name,
            check,
            description,
            [{'method': method, 'path': path} for method, path in operations],
            scope_types=['project'],
        )
        for name, check, description, operations in _OPERATIONS
    ]
