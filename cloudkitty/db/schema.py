# SPDX-License-Identifier: Apache-2.0
"""What migrations do to tables: each step looks first, so that one that was cut off can be run again.

A revision says what a table looks like after it; :func:`conform` brings an existing table there, rows included.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from alembic import op
import sqlalchemy
from sqlalchemy import schema

#: Options of tables of the field.
UTF8 = {'mysql_charset': 'utf8', 'mysql_engine': 'InnoDB'}


#: Options of tables of ours: keys over text of 255 characters need long index prefixes.
OURS = {'mysql_charset': 'utf8mb4', 'mysql_engine': 'InnoDB', 'mysql_row_format': 'DYNAMIC'}


def dialect() -> str:
    """Return ``sqlite``, ``mysql`` or ``postgresql``."""
    name: str = op.get_bind().dialect.name
    return 'mysql' if name == 'mariadb' else name


def true() -> str:
    """Return the SQL of a true value."""
    return 'true' if dialect() == 'postgresql' else '1'


def now() -> str:
    """Return the SQL of the present UTC moment, naive."""
    return {
        'postgresql': "(now() AT TIME ZONE 'UTC')",
        'mysql': 'UTC_TIMESTAMP()',
        'sqlite': "datetime('now')",
    }[dialect()]


def has_table(name: str) -> bool:
    return sqlalchemy.inspect(op.get_bind()).has_table(name)


def list_columns(table: str) -> list[str]:
    return [column['name'] for column in sqlalchemy.inspect(op.get_bind()).get_columns(table)]


def define(name: str, *items: Any, **options: Any) -> sqlalchemy.Table:
    """Return a table definition of its own metadata; parents of its foreign keys are added as far as needed."""
    metadata = sqlalchemy.MetaData()
    table = sqlalchemy.Table(name, metadata, *items, **options)
    for key in table.foreign_keys:
        parent, column = key.target_fullname.split('.')
        if parent not in metadata.tables:
            sqlalchemy.Table(parent, metadata, sqlalchemy.Column(column, sqlalchemy.Integer, primary_key=True))
    return table


def dates_of_rules() -> list[sqlalchemy.Column[Any]]:
    """Return the columns that release 23 gave to rules: validity, description, and who changed them when."""
    now = sqlalchemy.func.now()
    return [
        sqlalchemy.Column('created_at', sqlalchemy.DateTime, nullable=False, server_default=now),
        sqlalchemy.Column('start', sqlalchemy.DateTime, nullable=False, server_default=now),
        sqlalchemy.Column('end', sqlalchemy.DateTime, nullable=True),
        sqlalchemy.Column('description', sqlalchemy.Text, nullable=True),
        sqlalchemy.Column('deleted', sqlalchemy.DateTime, nullable=True),
        sqlalchemy.Column('created_by', sqlalchemy.String(32), nullable=False),
        sqlalchemy.Column('updated_by', sqlalchemy.String(32), nullable=True),
        sqlalchemy.Column('deleted_by', sqlalchemy.String(32), nullable=True),
    ]


def create(table: sqlalchemy.Table) -> None:
    """Create *table* and its indexes as far as they are not there."""
    bind = op.get_bind()
    table.create(bind, checkfirst=True)
    found = {index['name'] for index in sqlalchemy.inspect(bind).get_indexes(table.name)}
    for index in table.indexes:
        if index.name not in found:
            index.create(bind)


def use_long_prefixes(table: str) -> None:
    """Let indexes of *table* hold more than 767 bytes a column, which MySQL's row formats of old do not."""
    finish_rebuild(table)
    if dialect() == 'mysql':
        query = sqlalchemy.text(
            'SELECT row_format FROM information_schema.tables WHERE table_schema = database() AND table_name = :name'
        )
        if str(op.get_bind().scalar(query, {'name': table})).lower() not in ('dynamic', 'compressed'):
            op.execute('ALTER TABLE %s ROW_FORMAT=DYNAMIC' % table)


def rename_table(old: str, new: str) -> None:
    """Rename table *old*, unless that has been done."""
    if has_table(old) and not has_table(new):
        op.rename_table(old, new)


def conform(table: sqlalchemy.Table, fill: Mapping[str, str] | None = None, renamed: Mapping[str, str] | None = None):
    """Make the table of this name look like *table*, keeping its rows.

    :param fill: column to SQL expression for the rows that are there, for columns that are new.
    :param renamed: new column name to old one.
    """
    fill = dict(fill or {})
    renamed = dict(renamed or {})
    finish_rebuild(table.name)
    if dialect() == 'sqlite':
        _rebuild(table, fill, renamed)
    else:
        _alter(table, fill, renamed)


def finish_rebuild(table: str) -> None:
    """Give *table* its name back if a rebuild was cut off between dropping the old one and renaming the new one."""
    rename_table(_temporary(table), table)


def _temporary(table: str) -> str:
    return '_alembic_tmp_%s' % table


def _rebuild(table: sqlalchemy.Table, fill: dict[str, str], renamed: dict[str, str]) -> None:
    """Copy the table into one of the right shape; SQLite can change little in place.

    The copy, the drop and the rename are one transaction, which the INSERT begins. Columns that the shape does not
    know, of a later revision say, come along.
    """
    bind = op.get_bind()
    temporary = _temporary(table.name)
    bind.exec_driver_sql('DROP TABLE IF EXISTS "%s"' % temporary)
    old = list_columns(table.name)
    for extra in sqlalchemy.inspect(bind).get_columns(table.name):
        if extra['name'] not in table.columns and extra['name'] not in renamed.values():
            default = sqlalchemy.text(extra['default']) if extra['default'] else None
            table.append_column(
                sqlalchemy.Column(extra['name'], extra['type'], nullable=extra['nullable'], server_default=default)
            )
    sources = {}
    for column in table.columns:
        before = renamed.get(column.name, column.name)
        if column.name in old:
            sources[column.name] = '"%s"' % column.name
        elif before in old:
            sources[column.name] = '"%s"' % before
        elif column.name in fill:
            sources[column.name] = fill[column.name]
    ddl = str(schema.CreateTable(table).compile(dialect=bind.dialect))
    bind.exec_driver_sql(ddl.replace('CREATE TABLE %s ' % table.name, 'CREATE TABLE "%s" ' % temporary, 1))
    bind.exec_driver_sql(
        'INSERT INTO "%s" (%s) SELECT %s FROM "%s"'  # nosec B608
        % (temporary, ', '.join('"%s"' % name for name in sources), ', '.join(sources.values()), table.name)
    )
    bind.exec_driver_sql('DROP TABLE "%s"' % table.name)
    bind.exec_driver_sql('ALTER TABLE "%s" RENAME TO "%s"' % (temporary, table.name))
    for index in table.indexes:
        index.create(bind)


def _alter(table: sqlalchemy.Table, fill: dict[str, str], renamed: dict[str, str]) -> None:
    _alter_columns(table, fill, renamed)
    _alter_primary_key(table)
    _alter_uniques(table)
    _alter_foreign_keys(table)


def _alter_columns(table: sqlalchemy.Table, fill: dict[str, str], renamed: dict[str, str]) -> None:
    bind = op.get_bind()
    existing = {column['name']: column for column in sqlalchemy.inspect(bind).get_columns(table.name)}
    column: Any
    for column in table.columns:
        before = renamed.get(column.name)
        if column.name not in existing and before in existing:
            op.alter_column(
                table.name,
                before,
                new_column_name=column.name,
                existing_type=existing[before]['type'],
                existing_nullable=existing[before]['nullable'],
            )
            existing[column.name] = existing.pop(before)
        if column.name not in existing:
            # Empty at first, also where there is a default: a run that is cut off here fills it the next time.
            op.add_column(table.name, sqlalchemy.Column(column.name, column.type, nullable=True))
            _fill(table, column, fill)
            if not column.nullable or column.server_default is not None:
                _set_column(table, column)
        elif not column.primary_key and _differs(existing[column.name], column):
            _fill(table, column, fill)
            if not column.nullable and _holds_null(table, column):
                # MySQL let them in while it had forgotten the NOT NULL of this column.
                column.nullable = True
            if _differs(existing[column.name], column):
                _set_column(table, column)


def _holds_null(table: sqlalchemy.Table, column: Any) -> bool:
    query = sqlalchemy.select(sqlalchemy.literal(1)).select_from(table).where(column.is_(None)).limit(1)
    return op.get_bind().scalar(query) is not None


def _fill(table: sqlalchemy.Table, column: Any, fill: Mapping[str, str]) -> None:
    if column.name in fill:
        name = op.get_bind().dialect.identifier_preparer.quote(column.name)
        op.execute('UPDATE %s SET %s = %s WHERE %s IS NULL' % (table.name, name, fill[column.name], name))  # nosec B608


def _differs(existing: Mapping[str, Any], column: Any) -> bool:
    """Return whether a column has to be altered: it is narrower, or has another nullability."""
    if bool(existing['nullable']) != bool(column.nullable):
        return not _narrows(existing['type'], column.type)
    return _is_narrower(existing['type'], column.type) and not _narrows(existing['type'], column.type)


def _is_narrower(old: Any, new: Any) -> bool:
    return any(was < becomes for was, becomes in zip(_width(old), _width(new), strict=False))


def _narrows(old: Any, new: Any) -> bool:
    """Return whether a change from *old* to *new* could cut what the column holds."""
    return any(was > becomes for was, becomes in zip(_width(old), _width(new), strict=False))


def _width(kind: Any) -> tuple[int, ...]:
    """Return digits before and after the point of a number, the length of a text; () of anything else."""
    if isinstance(kind, sqlalchemy.Enum | sqlalchemy.Float):
        return ()
    if isinstance(kind, sqlalchemy.Numeric) and kind.precision is not None:
        scale = kind.scale or 0
        return (kind.precision - scale, scale)
    if isinstance(kind, sqlalchemy.String) and kind.length is not None:
        return (kind.length,)
    return ()


def _set_column(table: sqlalchemy.Table, column: Any) -> None:
    # The default is restated too: MySQL forgets what an ALTER does not say.
    default = column.server_default.arg if column.server_default is not None else None
    op.alter_column(
        table.name,
        column.name,
        type_=column.type,
        existing_type=column.type,
        nullable=column.nullable,
        server_default=default,
    )


def _alter_primary_key(table: sqlalchemy.Table) -> None:
    name = table.primary_key.name
    found = sqlalchemy.inspect(op.get_bind()).get_pk_constraint(table.name).get('name')
    if dialect() == 'postgresql' and name and found and found != name:
        op.execute('ALTER TABLE %s RENAME CONSTRAINT "%s" TO "%s"' % (table.name, found, name))


def _alter_uniques(table: sqlalchemy.Table) -> None:
    """Add the missing uniques, then drop those too many: MySQL wants an index behind a foreign key at any time."""
    found: dict[str, tuple[str, ...]] = {
        str(unique['name']): tuple(unique['column_names'])
        for unique in sqlalchemy.inspect(op.get_bind()).get_unique_constraints(table.name)
    }
    wanted = _uniques_of(table)
    for name, columns in list(found.items()):
        if name in wanted and wanted[name] != columns:
            # Of the same name: keep an index on the same columns for the moment between.
            _swap_unique(table.name, name, wanted.pop(name), found)
        elif name in wanted:
            wanted.pop(name)
    final = _uniques_of(table)
    surplus = [name for name in found if name not in final]
    if dialect() == 'postgresql':
        for name in list(surplus):
            same = [new for new, columns in wanted.items() if columns == found[name]]
            if same:
                op.execute('ALTER TABLE %s RENAME CONSTRAINT "%s" TO "%s"' % (table.name, name, same[0]))
                wanted.pop(same[0])
                surplus.remove(name)
    for name, columns in wanted.items():
        op.create_unique_constraint(name, table.name, list(columns))
    for name in surplus:
        op.drop_constraint(name, table.name, type_='unique')


def _swap_unique(table: str, name: str, columns: Iterable[str], found: dict[str, tuple[str, ...]]) -> None:
    temporary = '%s_new' % name
    if found.pop(temporary, None) is None:
        op.create_unique_constraint(temporary, table, list(columns))
    op.drop_constraint(name, table, type_='unique')
    op.create_unique_constraint(name, table, list(columns))
    op.drop_constraint(temporary, table, type_='unique')


def _uniques_of(table: sqlalchemy.Table) -> dict[str, tuple[str, ...]]:
    return {
        str(constraint.name): tuple(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sqlalchemy.UniqueConstraint) and constraint.name
    }


def _alter_foreign_keys(table: sqlalchemy.Table) -> None:
    found = {
        tuple(key['constrained_columns']): key for key in sqlalchemy.inspect(op.get_bind()).get_foreign_keys(table.name)
    }
    for constraint in table.foreign_key_constraints:
        columns = tuple(constraint.column_keys)
        old = found.get(columns)
        if not constraint.name or (old and old['name'] == constraint.name):
            continue
        target = constraint.elements[0].target_fullname.split('.')
        if old and old['name']:
            op.drop_constraint(old['name'], table.name, type_='foreignkey')
            _drop_left_over_index(table.name, columns)
        op.create_foreign_key(
            str(constraint.name), table.name, target[0], list(columns), [target[1]], ondelete=constraint.ondelete
        )


def _drop_left_over_index(table: str, columns: tuple[str, ...]) -> None:
    """Drop the index that MySQL made for a foreign key that is gone; the next key gets one of its own name."""
    if dialect() != 'mysql':
        return
    for index in sqlalchemy.inspect(op.get_bind()).get_indexes(table):
        if not index['unique'] and tuple(index['column_names']) == columns:
            op.drop_index(str(index['name']), table)
