# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built; options and policy rules come from the code."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'ext'))

extensions = [
    'openapi',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
]

config_generator_config_file = '../../etc/oslo-config-generator/cloudkitty.conf'
sample_config_basename = '_static/cloudkitty'
policy_generator_config_file = '../../etc/oslo-policy-generator/cloudkitty.conf'
sample_policy_basename = '_static/cloudkitty'

project = 'cloudkitty'
copyright = 'OpenStack contributors'
openstackdocs_repo_name = 'openstack/cloudkitty'
openstackdocs_use_storyboard = False
html_theme = 'openstackdocs'
exclude_patterns = []
master_doc = 'index'
