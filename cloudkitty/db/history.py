# SPDX-License-Identifier: Apache-2.0
"""What releases of old left in a database, and what must be said or done about it before rating goes on."""

from typing import Any

from oslo_config import cfg
from oslo_log import log
import sqlalchemy

from cloudkitty import errors
from cloudkitty.conf import legacy
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.db import models

LOG = log.getLogger(__name__)

_FRAMES = sqlalchemy.table(
    'rated_data_frames', sqlalchemy.column('id'), sqlalchemy.column('tenant_id'), sqlalchemy.column('begin')
)
_IMPORTED = sqlalchemy.table('imported_frames', sqlalchemy.column('row_count'), sqlalchemy.column('left_out'))
_STATES = sqlalchemy.table(models.State.__tablename__, sqlalchemy.column('id'), sqlalchemy.column('identifier'))


def check(conf: Any, database: engine.Database) -> None:
    """Refuse to go on where a default could hide a cloud's history; warn where rows of old are not in use.

    :param conf: oslo.config object with group ``[storage]``.
    :raises ConfigurationError: ``[storage] backend`` has to be named.
    """
    require_backend(conf, database)
    warning = describe_frames(conf, database)
    if warning:
        LOG.warning('%s', warning)


def require_backend(conf: Any, database: engine.Database) -> None:
    """Raise ConfigurationError where ``[storage] backend`` is not set, but an older release has used another one."""
    if conf.get_location('backend', 'storage').location not in (cfg.Locations.opt_default, cfg.Locations.set_default):
        return
    if legacy.read_files(conf).get('storage_influxdb'):
        raise errors.ConfigurationError(
            '[storage] backend is not set, but [storage_influxdb] has options: this cloud may keep its history in '
            'InfluxDB. Set backend = sqlalchemy to go on with the SQL database; '
            'cloudkitty-storage-import --from influxdb moves the history there.'
        )
    if not migration.is_begun(database, migration.SERIES) and _has_states(database) and not count_frames(database):
        raise errors.ConfigurationError(
            '[storage] backend is not set, and this database has scopes that were rated into another storage than '
            'its own: their history is elsewhere. Set backend = sqlalchemy to go on with the SQL database.'
        )


def describe_frames(conf: Any, database: engine.Database) -> str:
    """Return a sentence about rows of the storage of old that are not in the new one; '' where there are none.

    With ``[storage] version = 1`` the storage of old is in use, and nothing is missing from it.
    """
    total = count_frames(database)
    if not total or conf.storage.version == 1:
        return ''
    imported, left_out = _count_imported(database)
    count = total - imported
    if count <= 0:
        return ''
    return (
        'rated_data_frames holds %d rows of an older release that are not imported%s. They stay as they are and are '
        'not part of reports: cloudkitty-storage-import imports them.'
        % (count, ', %d of which could not be' % left_out if left_out else '')
    )


def count_frames(database: engine.Database) -> int:
    """Return how many rows the storage of old holds; 0 without its table."""
    with database.engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(_FRAMES.name):
            return 0
        return connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(_FRAMES)) or 0


def _count_imported(database: engine.Database) -> tuple[int, int]:
    """Return how many rows are in the new storage, and how many could not be imported."""
    with database.engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(_IMPORTED.name):
            return 0, 0
        function = sqlalchemy.func
        query = sqlalchemy.select(function.sum(_IMPORTED.c.row_count), function.sum(_IMPORTED.c.left_out))
        seen, left_out = (int(value or 0) for value in connection.execute(query).one())
        return seen - left_out, left_out


def _has_states(database: engine.Database) -> bool:
    with database.engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(_STATES.name):
            return False
        return connection.scalar(sqlalchemy.select(_STATES.c.id).limit(1)) is not None
