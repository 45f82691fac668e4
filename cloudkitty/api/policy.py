# SPDX-License-Identifier: Apache-2.0
"""May they? The rules of :mod:`cloudkitty.api.policies`, as a policy file changes them."""

import sys
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from cloudkitty import errors
from cloudkitty.api import context
from cloudkitty.api import policies

#: In place of the project of a caller who has none: rules take it for his own, and no data is in it. Nobody can ask for
#: it, nor call a project so.
NOBODY = '\0'


def make_enforcer(conf: cfg.ConfigOpts) -> oslo_policy.Enforcer:
    """Return the enforcer of the rules, with the policy file of *conf* on top."""
    enforcer = oslo_policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_rules())
    return enforcer


def check(enforcer: oslo_policy.Enforcer) -> None:
    """Read the policy file; raise ConfigurationError for one that makes no sense."""
    try:
        enforcer.load_rules()
        # A reference to a rule that is not there would mean the rule "default": everybody.
        enforcer.check_rules(raise_on_violation=True)
    except (ValueError, TypeError, AttributeError, OSError, oslo_policy.InvalidDefinitionError) as error:
        text = ' '.join(str(error).split())
        raise errors.ConfigurationError('[oslo_policy] policy_file: it cannot be read: %s' % text) from error


def get_enforcer() -> oslo_policy.Enforcer:
    """Return the enforcer for the tools of oslo.policy, which own the command line."""
    # A tool's own options stand before the configuration's; only the latter are ours.
    argv, own = sys.argv[1:], []
    for position, argument in enumerate(argv):
        name, _, value = argument.partition('=')
        if name in ('--config-file', '--config-dir'):
            own += [argument] if value else argv[position : position + 2]
    conf = cfg.ConfigOpts()
    conf(own, project='cloudkitty')
    return make_enforcer(conf)


def authorize(
    enforcer: oslo_policy.Enforcer | None, caller: context.RequestContext, rule: str, project_id: str | None = None
) -> None:
    """Raise Forbidden unless *caller* may do *rule*.

    :param enforcer: None: nothing is checked.
    :param project_id: whose data it is about. An empty one is nobody's: no rule that compares projects holds for it.
        :data:`NOBODY` is as good as his own for a caller without a project.
    """
    if enforcer is None:
        return
    target: dict[str, Any] = {'project_id': project_id, 'tenant_id': project_id} if project_id else {}
    values = caller.to_policy_values()
    if not caller.project_id:
        # Rules compare texts, and that of no project would be "None".
        values.update(project_id=NOBODY, tenant=NOBODY, tenant_id=NOBODY)
    try:
        enforcer.authorize(rule, target, values, do_raise=True)
    except oslo_policy.InvalidScope as error:
        raise errors.Forbidden('%s needs a token of a project.' % rule) from error
    except oslo_policy.PolicyNotAuthorized as error:
        raise errors.Forbidden('Policy does not allow %s.' % rule) from error


def is_admin(enforcer: oslo_policy.Enforcer | None, caller: context.RequestContext) -> bool:
    """Return whether *caller* sees everybody's data."""
    return True if enforcer is None else bool(enforcer.enforce('context_is_admin', {}, caller.to_policy_values()))
