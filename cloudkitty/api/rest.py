# SPDX-License-Identifier: Apache-2.0
"""How the handlers of the v1 API are exposed: arguments in, policy, answer out.

A resource is a :class:`Controller`; a handler of it is a method under :func:`expose`, which names the type of the
answer, those of its arguments and the policy rule::

    class FieldsController(rest.Controller):
        @rest.expose(FieldCollection, types.text, rule='rating:module_config')
        def get_all(self, service_id): ...

        @rest.expose(Field, body=Field, status=201, rule='rating:module_config')
        def post(self, field):
            made = store.create_field(rest.deployment().database, field.service_id, field.name)
            rest.point_to(made.id)
            return Field(...)

        @rest.expose(None, types.text, status=204, rule='rating:module_config')
        def delete(self, field_id): ...

Which method is called follows from pecan's :class:`~pecan.rest.RestController`: ``get_all``, ``get_one``, ``post``,
``put``, ``delete``, and sub-resources as class attributes. ``_custom_actions = {'fields': ['GET']}`` makes the method
``fields`` (or ``get_fields``) answer both ``.../services/<id>/fields`` and ``.../services/fields?service_id=<id>``;
other methods there are 405.

An argument is given by a segment of the path, by the query, or, where no handler's *body* is declared, by a member of
a JSON body, whatever the method. What a typed *body* lacks in the path, it gives itself: ``PUT .../mappings`` with a
``mapping_id`` inside. Without a default an argument is required. These are 400, naming the argument or member: one
that is missing or unknown, one that is given twice (path and query may agree), a value of a wrong type, null or a
missing value in a mandatory member, and a body that is no JSON object. More segments than arguments are 404.

A handler gets values already checked by :mod:`cloudkitty.api.types`; of a typed body, members the caller did not send
are :data:`wsme.types.Unset` or their default, and null ones None. It returns an object, or raises one of
:mod:`cloudkitty.errors`, which :mod:`cloudkitty.api.hooks` turns into a fault. Where there may be very many objects, it
may return :class:`Json` instead, if :func:`wants_json` says that this is what was asked for.

Source: API contract, sections 1.4, 1.5 and 1.7.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import inspect
import json
from typing import Any
import urllib.parse

import pecan
from pecan import rest
import pecan.util
from webob import exc
import wsme.api
import wsme.types
from wsmeext import pecan as wsme_pecan

from cloudkitty import errors
from cloudkitty.api import context
from cloudkitty.api import policy
from cloudkitty.api import types

JSON_TYPES = ('application/json', 'text/javascript', 'application/javascript')
FORM_TYPE = 'application/x-www-form-urlencoded'
#: Returns text as JSON has it.
quote = json.encoder.encode_basestring_ascii
_MISSING = object()


@dataclasses.dataclass(frozen=True)
class Json:
    """An answer that is written already, straight from its rows: the text that ``json.dumps`` of it would be."""

    text: str


class UnsupportedMediaType(errors.BadRequest):
    code = 415


class InvalidJson(errors.BadRequest):
    def __init__(self) -> None:
        super().__init__('The body is not valid JSON.')


class BodyTooLarge(errors.BadRequest):
    code = 413

    def __init__(self, limit: int, option: str) -> None:
        super().__init__('The body has more than %d bytes, [api] %s.' % (limit, option))


class UrlTooLong(errors.BadRequest):
    code = 414

    def __init__(self, limit: int) -> None:
        super().__init__('Path and query have more than %d characters, [api] max_url_size.' % limit)


class Controller(rest.RestController):
    """A resource. Names that begin with an underscore are no part of any URL."""

    def _lookup_child(self, remainder: str) -> Any:
        found = None if remainder.startswith('_') else getattr(self, remainder, None)
        return found if hasattr(found, '_route') or getattr(found, 'exposed', False) else None

    @pecan.expose()
    def _route(self, args: list[str], request: Any = None) -> Any:
        offered = None if self._is_below(args) else self._custom_actions.get(args[-1])
        try:
            if offered is not None and request.method not in offered:
                raise exc.HTTPMethodNotAllowed(headers={'Allow': ', '.join(offered)})
            return super()._route(args, request)
        except exc.HTTPMethodNotAllowed as error:
            # Each resource on the way writes down what it allows; the innermost is the one that was asked for.
            error.allowed = getattr(error, 'allowed', error.headers.get('Allow', ''))
            error.headers['Allow'] = error.allowed
            raise

    def _handle_custom_action(self, method: str, remainder: list[str], request: Any = None) -> Any:
        # The last segment may be the name of an object, of a resource below.
        if self._is_below(remainder):
            return None
        if method == 'put' and method.upper() in self._custom_actions.get(remainder[-1], ()):
            # Pecan expects it first there.
            return self._find_controller('put_%s' % remainder[-1]), remainder[:-1]
        return super()._handle_custom_action(method, remainder, request)

    def _is_below(self, segments: list[str]) -> bool:
        """Return whether *segments* lead to a resource below this one, or nowhere."""
        return not segments or hasattr(self._lookup_child(segments[0]), '_route')

    def _check_action(self, args: list[str], request: Any) -> None:
        """Refuse other methods of an action than those it has; pecan would take its name for an argument."""
        if not args or len(args) > 2 or (len(args) == 2 and self._lookup_child(args[0])):
            return
        methods = self._custom_actions.get(args[-1])
        if methods is not None and request.method not in methods:
            error = exc.HTTPMethodNotAllowed()
            error.allow = sorted(methods)
            raise error


def deployment() -> context.Deployment:
    """Return what the service works with: database, storage, options."""
    found: context.Deployment = pecan.request.deployment
    return found


def caller() -> context.RequestContext:
    """Return who asks."""
    found: context.RequestContext = pecan.request.context
    return found


def wants_json() -> bool:
    """Return whether a handler under :func:`expose` is asked for JSON, and not for XML."""
    return bool(pecan.request.pecan['content_type'] == JSON_TYPES[0])


def authorize(rule: str, project_id: str | None = None) -> None:
    """Raise Forbidden unless the caller may do *rule*.

    :param project_id: whose data it is about; None: everybody's, or nobody's.
    """
    policy.authorize(deployment().enforcer, caller(), rule, project_id)


def point_to(id_: str) -> None:
    """Say in the answer's ``Location`` where the object *id_* of the collection asked for is."""
    url = pecan.request.path_url.rstrip('/')
    if pecan.request.path_info.rstrip('/').rpartition('/')[2] != id_:
        url += '/' + urllib.parse.quote(id_, safe='')
    pecan.response.location = url


def expose(
    result: Any,
    *arguments: Any,
    body: Any = None,
    status: int = 200,
    rule: str | None = None,
    owner: Callable[..., str | None] | None = None,
    path_of_post: int = 0,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that makes a method of a :class:`Controller` a handler.

    :param result: type of the answer, None: there is none.
    :param arguments: types of the arguments, in order.
    :param body: type of the last argument, which the body is as a whole.
    :param status: of the answer.
    :param rule: of the policy; None: the way to the controller is guarded already.
    :param owner: called with the arguments by name, returns the project whose data they ask for.
    :param path_of_post: how many arguments a POST takes from its path: what is made has no name yet, as a rule.
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        options = {} if body is None else {'body': body}
        wsme.api.signature(result, *arguments, status_code=status, **options)(method)
        definition = wsme.api.FunctionDefinition.get(method)
        definition.resolve_types(wsme.types.registry)

        @functools.wraps(method)
        def handle(self: Any, *path: str) -> Any:
            if rule is not None and owner is None:
                # Before anything is said about the arguments.
                authorize(rule)
            values = bind(definition, path, pecan.request, path_of_post)
            if rule is not None and owner is not None:
                authorize(rule, owner(**values))
            found = method(self, **values)
            pecan.response.status = status
            if result is None:
                pecan.request.pecan['content_type'] = None
                pecan.response.content_type = None
                return ''
            if isinstance(found, Json):
                pecan.override_template(None)
                return found.text
            return {'datatype': definition.return_type, 'result': found}

        for decorator in (
            wsme_pecan.pecan_json_decorate,
            wsme_pecan.pecan_xml_decorate,
            wsme_pecan.pecan_text_xml_decorate,
        ):
            decorator(handle)
        pecan.util._cfg(handle)['content_type'] = JSON_TYPES[0]
        # Pecan is to hand over the path alone: it would mix the query and the body into it.
        pecan.util._cfg(handle)['argspec'] = inspect.getfullargspec(_take_path)
        handle._wsme_definition = definition  # type: ignore[attr-defined]
        handle.rule = rule  # type: ignore[attr-defined]
        return handle

    return decorate


def _take_path(self: Any, *path: str) -> None:
    """The signature that pecan sees."""


def bind(
    definition: wsme.api.FunctionDefinition, path: tuple[str, ...], request: Any, path_of_post: int = 0
) -> dict[str, Any]:
    """Return {argument: value} of *request* for the handler that *definition* describes; see above."""
    arguments = definition.arguments
    typed = arguments[-1] if definition.body_type is not None else None
    named = arguments[:-1] if typed is not None else arguments
    if len(path) > (path_of_post if request.method == 'POST' else len(named)):
        raise errors.NotFound('There is nothing at %s.' % request.path_info)
    body = _read_body(request)
    names = {argument.name for argument in named}
    found = _combine(
        {argument.name: segment for argument, segment in zip(named, path, strict=False)},
        _read_query(request),
        names,
        body if typed is None else {},
    )
    #: What the body gives because nobody else does.
    stand_ins = names - set(found)
    typed_value = None
    if typed is not None:
        if not isinstance(body, dict):
            raise errors.BadRequest('The body must be a JSON object, a %s.' % typed.name)
        typed_value = convert(typed.datatype, body, '')
        # In the form that its type gives it.
        found |= {name: getattr(typed_value, name) for name in stand_ins & set(body)}
    values = {}
    for argument in named:
        value = found.get(argument.name, _MISSING)
        value = _MISSING if value is _MISSING else _convert_argument(argument.datatype, value, argument.name)
        if value is _MISSING or value is None:
            if argument.mandatory:
                raise errors.BadRequest('%s is missing.' % argument.name)
            value = argument.default
        values[argument.name] = value
    if typed is not None:
        values[typed.name] = typed_value
    return values


def _combine(
    path: Mapping[str, Any],
    query: Mapping[str, Any],
    names: set[str],
    members: Any,
) -> dict[str, Any]:
    """Return the raw value of each argument that is given.

    :param members: of the untyped body.
    """
    if members is None:
        members = {}
    if not isinstance(members, dict):
        raise errors.BadRequest('The body must be a JSON object.')
    for source, word in ((query, 'parameter'), (members, 'member')):
        unknown = sorted(set(source) - names)
        if unknown:
            raise errors.BadRequest('There is no %s "%s" here.' % (word, types.shorten(unknown[0])))
    for name in names:
        given = [source[name] for source in (path, query, members) if name in source]
        if len(given) > 1 and (name not in path or any(value != given[0] for value in given)):
            raise errors.BadRequest('%s is given more than once.' % name)
    return {**members, **query, **path}


def _read_query(request: Any) -> dict[str, Any]:
    """Return the parameters of the query and of a form; of a repeated one the last."""
    result = dict(request.GET.items())
    if request.content_type == FORM_TYPE and request.method != 'GET':
        result.update(request.POST.items())
    return result


def _read_body(request: Any) -> Any:
    """Return the JSON of the body, None for an empty one; numbers with a fraction are Decimal."""
    if not request.body or request.content_type == FORM_TYPE:
        return None
    if request.content_type not in JSON_TYPES:
        raise UnsupportedMediaType('Content-Type must be application/json.')
    found = parse_json(request.body)
    if found is None:
        raise errors.BadRequest('The body must be a JSON object, not null.')
    return found


def parse_json(text: bytes) -> Any:
    """Return the value of JSON *text*, its numbers with a fraction as Decimal; raise BadRequest."""
    try:
        return json.loads(text.decode('utf-8'), parse_float=types.parse_decimal, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error


def refuse_constant(word: str) -> None:
    """Raise ValueError: *word* is NaN or an infinity."""
    raise ValueError('%s is no JSON.' % word)


def _convert_argument(datatype: Any, value: Any, name: str) -> Any:
    if value == '' and getattr(datatype, 'is_absent_when_empty', False):
        return _MISSING
    return convert(datatype, value, name)


def convert(datatype: Any, value: Any, name: str) -> Any:
    """Return *value*, JSON or the text of a query, as *datatype* says; raise BadRequest that names the member.

    :param name: of the member; '' for a body as a whole.
    """
    if value is None:
        if not getattr(datatype, 'takes_null', True):
            raise errors.BadRequest('%s: null makes no sense here.' % name)
        return None
    if wsme.types.iscomplex(datatype):
        return _convert_object(datatype, value, name)
    if isinstance(datatype, wsme.types.ArrayType):
        if not isinstance(value, list):
            raise errors.BadRequest('%s: expected a list.' % name)
        return [convert_item(datatype.item_type, item, '%s[%d]' % (name, index)) for index, item in enumerate(value)]
    if isinstance(datatype, wsme.types.DictType):
        if not isinstance(value, dict):
            raise errors.BadRequest('%s: expected an object.' % name)
        return {key: convert(datatype.value_type, item, '%s.%s' % (name, key)) for key, item in value.items()}
    try:
        return datatype.frombasetype(value)
    except ValueError as error:
        raise errors.BadRequest('%s: %s, not %s.' % (name, error, types.shorten(value))) from error


def convert_item(datatype: Any, value: Any, name: str) -> Any:
    """Return :func:`convert` of something that is given, so that it must not be null."""
    if value is None:
        raise errors.BadRequest('%s: null makes no sense here.' % name)
    return convert(datatype, value, name)


def _convert_object(datatype: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise errors.BadRequest('%s: expected an object.' % (name or 'The body'))
    prefix = name + '.' if name else ''
    attributes = wsme.types.list_attributes(datatype)
    unknown = sorted(set(value) - {attribute.name for attribute in attributes})
    if unknown:
        raise errors.BadRequest('There is no member "%s%s" here.' % (prefix, types.shorten(unknown[0])))
    result = datatype()
    for attribute in attributes:
        path = prefix + attribute.name
        if attribute.name in value:
            if attribute.readonly:
                raise errors.BadRequest('%s: it can only be read.' % path)
            found = convert(attribute.datatype, value[attribute.name], path)
            if found is None and attribute.mandatory:
                raise errors.BadRequest('%s: null makes no sense here.' % path)
            setattr(result, attribute.key, found)
        elif attribute.mandatory:
            raise errors.BadRequest('%s is missing.' % path)
    return result
