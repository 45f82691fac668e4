# SPDX-License-Identifier: Apache-2.0
"""Settings of Horizon for ``tools/horizon``, which puts them where an operator's are: ``local/local_settings.d``.

Horizon executes them among its own. What is known only when it starts comes from the environment that
:mod:`cloudkitty.tests.horizon` makes.
"""

import os
import secrets
import sys

ALLOWED_HOSTS = ['127.0.0.1']
SECRET_KEY = os.environ.get('HORIZON_SECRET_KEY') or secrets.token_urlsafe(32)
OPENSTACK_KEYSTONE_URL = os.environ.get('HORIZON_KEYSTONE_URL', 'http://127.0.0.1:5000/v3')
WEBROOT = '/'
STATIC_ROOT = os.path.join(sys.prefix, 'static')
COMPRESS_OFFLINE = True
# One process serves it; a memcached is for more.
SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
TIME_ZONE = 'UTC'
# Without Nova there is no overview to begin with.
globals()['HORIZON_CONFIG']['user_home'] = '/project/rating/'

# Of the dashboard: by what the summary of a project can be split, and what stands before amounts.
OPENSTACK_CLOUDKITTY_GROUPBY_LIST = ['type', 'id', 'user_id']
OPENSTACK_CLOUDKITTY_RATE_PREFIX = '$'

LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'plain': {'format': '%(levelname)s %(name)s %(message)s'}},
    'handlers': {'console': {'class': 'logging.StreamHandler', 'formatter': 'plain'}},
    'loggers': {
        # Says of every page that there is no Neutron.
        'openstack_dashboard.dashboards.admin.rbac_policies.panel': {'level': 'CRITICAL'},
        # Says how many requests wait for a thread.
        'waitress.queue': {'level': 'ERROR'},
    },
    'root': {'handlers': ['console'], 'level': 'WARNING'},
}
