# SPDX-License-Identifier: Apache-2.0
"""What alembic runs for every chain; ``migration.py`` hands in the connection and the chain."""

from alembic import context

chain = context.config.attributes['chain']
connection = context.config.attributes['connection']

context.configure(
    connection=connection,
    target_metadata=chain.metadata(),
    version_table=chain.version_table,
    render_as_batch=connection.dialect.name == 'sqlite',
)
with context.begin_transaction():
    context.run_migrations()
