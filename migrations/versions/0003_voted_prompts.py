"""Exclude prompts from evaluation once their votes become training pairs.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "voted_prompts",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_voted_prompts")),
    )


def downgrade() -> None:
    op.execute("UPDATE dataset_pairs SET split = 'held_out' WHERE split = 'voted'")
    op.drop_table("voted_prompts")
