# SPDX-License-Identifier: Apache-2.0
"""How the release notes are built."""

extensions = ['openstackdocstheme', 'reno.sphinxext']

project = 'cloudkitty release notes'
copyright = 'OpenStack contributors'
openstackdocs_repo_name = 'openstack/cloudkitty'
openstackdocs_use_storyboard = False
html_theme = 'openstackdocs'
master_doc = 'index'
