"""Alembic's entry point: always run by the service, on a connection that it hands over."""

from alembic import context

from api.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # the service holds one transaction around all steps, on SQLite too
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
