"""Mark removed runs, so that their rows can be deleted in small batches.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

REMOVED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("runs", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_runs_deleted", "runs", ["id"], sqlite_where=REMOVED, postgresql_where=REMOVED)


def downgrade() -> None:
    op.execute("DELETE FROM runs WHERE deleted_at IS NOT NULL")
    op.drop_index("ix_runs_deleted", table_name="runs")
    op.drop_column("runs", "deleted_at")
