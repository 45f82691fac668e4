# SPDX-License-Identifier: Apache-2.0
"""``/v1/rating``: rating modules, quotes, and under ``module_config`` what each has of its own.

Source: API contract, sections 2.3 to 2.5.
"""

import datetime
from typing import Any

from oslo_log import log
from oslo_utils import importutils
import pecan
from pecan import routing
import wsme
import wsme.types

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import plugins
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.db import rule_revision
from cloudkitty.rating import chain
from cloudkitty.rating import quotes

LOG = log.getLogger(__name__)


class Module(wsme.types.Base):
    module_id = wsme.wsattr(types.Text(255), mandatory=True)
    description = wsme.wsattr(types.text, default=None)
    enabled = types.boolean
    hot_config = wsme.wsattr(types.boolean, name='hot-config')
    priority = types.integer


class ModuleCollection(wsme.types.Base):
    modules = [Module]


class QuotedResource(wsme.types.Base):
    service = wsme.wsattr(types.Text(255), mandatory=True)
    volume = wsme.wsattr(types.decimal_number, mandatory=True)
    desc = {str: types.attribute}


class QuoteRequest(wsme.types.Base):
    resources = wsme.wsattr([QuotedResource], mandatory=True)


class ModuleNotFound(errors.NotFound):
    def __init__(self, module_id: str) -> None:
        super().__init__('No rating module with id %s.' % module_id)


class ModuleNotConfigurable(errors.Conflict):
    def __init__(self, module_id: str) -> None:
        super().__init__('Rating module %s is not configurable.' % module_id)


class ModulesController(rest.Controller):
    @rest.expose(ModuleCollection, rule='rating:list_modules')
    def get_all(self) -> ModuleCollection:
        """Return every module that is installed, by name."""
        return ModuleCollection(modules=[describe(name, module) for name, module in list_modules().items()])

    @rest.expose(Module, types.text, rule='rating:get_module')
    def get_one(self, module_id: str) -> Module:
        """Return module *module_id*."""
        return describe(module_id, find_module(module_id))

    @rest.expose(None, types.text, body=Module, status=302, rule='rating:update_module')
    def put(self, module_id: str, module: Module) -> None:
        """Enable or disable module *module_id*, set its priority: what is given and differs.

        A client follows the redirection with the same request, so that a second one must change nothing.
        """
        update_module(find_module(module_id), module.enabled, module.priority)
        rest.point_to(module_id)


class RatingRestControllerBase(pecan.rest.RestController):
    """What controllers of third-party modules derive from; who may reach them is checked before."""


class ModuleConfigController:
    """Mounts the controller that each module names; whoever may not configure modules does not get that far."""

    @pecan.expose()
    def _route(self, segments: list[str], request: Any = None) -> Any:
        if not segments:
            pecan.abort(405)
        rest.authorize('rating:module_config')
        plugin = plugins.load_all(chain.NAMESPACE).get(segments[0])
        if plugin is None:
            pecan.abort(405)
        # Most classes name it, so that nobody need ask the database for the state of every module.
        controller = getattr(plugin, 'config_controller', None)
        if not isinstance(controller, str | type):
            controller = getattr(list_modules().get(segments[0]), 'config_controller', None)
        if controller is None:
            raise ModuleNotConfigurable(segments[0])
        return routing.lookup_controller(load_controller(controller)(), segments[1:], request)


class QuoteController(rest.Controller):
    @rest.expose(types.text, body=QuoteRequest, rule='rating:quote')
    def post(self, request: QuoteRequest) -> str:
        """Return the price of usage that has not happened, by the rules that hold for everybody."""
        found = rest.deployment()
        resources = [_read_resource(resource) for resource in request.resources]
        now = datetime.datetime.now(period.UTC)
        try:
            return amount.to_text(quotes.quote(found.chains.get(), resources, now, found.conf.collect.period))
        except amount.AmountTooLarge as error:
            raise errors.BadRequest('resources: the price is too large.') from error
        except chain.ModuleFailed as error:
            # What a script says is not for those who may ask for quotes.
            LOG.error('A quote failed: %s', error, exc_info=error.__cause__)
            raise errors.Unavailable(
                'The rating modules cannot price this. The log of the service says why.'
            ) from error


class RatingController(rest.Controller):
    _custom_actions = {'reload_modules': ['GET']}

    quote = QuoteController()
    modules = ModulesController()
    module_config = ModuleConfigController()

    @rest.expose(None, status=204, rule='rating:module_config')
    def reload_modules(self) -> None:
        """Have the processors read the rules of every module anew: told now, or seen at their next batch."""
        found = rest.deployment()
        found.database.repeat(rule_revision.bump)
        found.notifier.cast('reload_modules', namespace='rating', version='1.1', fanout=True)


def load_controllers() -> None:
    """Import what every installed module names as its controller.

    To be called before there are threads: WSME parses the source of the types in them, and Python 3.11 cannot do that
    in two threads at once.
    """
    for name, module in plugins.load_all(chain.NAMESPACE).items():
        controller = getattr(module, 'config_controller', None)
        try:
            if controller is not None:
                load_controller(controller)
        except Exception:
            # Whoever asks for it is told.
            LOG.exception('The controller of rating module %s cannot be imported.', name)


def load_controller(controller: Any) -> Any:
    """Return the class that *controller*, ``module:Class``, ``module.Class`` or the class itself, names."""
    return importutils.import_class(controller.replace(':', '.')) if isinstance(controller, str) else controller


def _read_resource(given: QuotedResource) -> quotes.Resource:
    desc: Any = given.desc
    return quotes.Resource(given.service, given.volume, desc if isinstance(desc, dict) else {})


def list_modules() -> dict[str, Any]:
    """Return {name: module} of what is installed, by name."""
    found = rest.deployment()
    return chain.list_modules(found.database, found.zone, found.notifier)


def find_module(module_id: str) -> Any:
    """Return module *module_id*; raise ModuleNotFound."""
    try:
        return list_modules()[module_id]
    except KeyError:
        raise ModuleNotFound(module_id) from None


def update_module(module: Any, enabled: Any, priority: Any) -> None:
    """Enable or disable *module*, set its priority: what is given and differs. None and Unset say nothing."""
    if isinstance(enabled, bool) and enabled != module.enabled:
        module.set_state(enabled)
    if isinstance(priority, int) and priority != module.priority:
        module.set_priority(priority)


def describe(name: str, module: Any) -> Module:
    """Return what the API says of *module*."""
    return Module(
        module_id=name,
        description=getattr(module, 'description', None) or None,
        enabled=bool(module.enabled),
        hot_config=bool(getattr(module, 'hot_config', False)),
        priority=module.priority or 1,
    )
