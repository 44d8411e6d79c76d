"""Add what a worker loads.

Revision: 0029, after 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("loading", sa.String(length=500), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("workers", "loading")
