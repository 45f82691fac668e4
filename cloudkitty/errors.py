# SPDX-License-Identifier: Apache-2.0
"""Every error of the service, by kind: the kind decides what an outsider sees."""


class CloudKittyError(Exception):
    """Base of all our errors; *code* is the HTTP status an API request gets for it."""

    code = 500


class BadRequest(CloudKittyError):
    """The caller asked for something that makes no sense; the text names the field."""

    code = 400


class Forbidden(CloudKittyError):
    """The caller may not do this."""

    code = 403


class NotFound(CloudKittyError):
    """The object named does not exist."""

    code = 404


class Conflict(CloudKittyError):
    """The object exists already, or its present state forbids the change."""

    code = 409


class Unavailable(CloudKittyError):
    """Something we depend on is away just now; try again later."""

    code = 503


class ConfigurationError(CloudKittyError):
    """An option, a file or a plugin name is wrong; the text names it and what was expected."""


class ScopeNotFound(NotFound):
    def __init__(self, scope_id: str) -> None:
        super().__init__('No scope with id %s.' % scope_id)
        self.scope_id = scope_id


class StaleScope(CloudKittyError):
    """Somebody else changed a scope since its work was planned; its work is dropped."""

    def __init__(self, scope_id: str) -> None:
        super().__init__('Scope %s was changed meanwhile.' % scope_id)
        self.scope_id = scope_id


class SourceError(CloudKittyError):
    """A source of usage did not give what it was asked for.

    *permanent* says that asking again is of no use before somebody changes a configuration.
    """

    permanent = False


class TransientSourceError(SourceError):
    """A time-out, a 5xx, a cut connection, an answer that makes no sense: ask again."""


class PermanentSourceError(SourceError):
    """A refusal that names what is configured wrong."""

    permanent = True
