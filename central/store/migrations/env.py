"""How Alembic reaches the database: over the connection the store hands it, in that connection's transaction."""

from alembic import context

from central.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
