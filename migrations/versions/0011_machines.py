"""Add cancel deadlines, workers of comparisons, checkpoint sizes, and reasons why workers are idle.

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("cancel_by", sa.DateTime(timezone=True), nullable=True))
    op.add_column("comparisons", sa.Column("worker", sa.String(length=200), nullable=True))
    op.add_column("comparisons", sa.Column("stop_by", sa.DateTime(timezone=True), nullable=True))
    op.add_column("checkpoints", sa.Column("size_bytes", sa.BigInteger(), nullable=True))
    op.add_column(
        "checkpoints", sa.Column("resumable", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column("workers", sa.Column("trouble", sa.String(length=300), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("workers", "trouble")
    op.drop_column("checkpoints", "resumable")
    op.drop_column("checkpoints", "size_bytes")
    op.drop_column("comparisons", "stop_by")
    op.drop_column("comparisons", "worker")
    op.drop_column("runs", "cancel_by")
