"""What training says of the proxies of a search."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("searches", sa.Column("report_card", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("searches", "report_card")
