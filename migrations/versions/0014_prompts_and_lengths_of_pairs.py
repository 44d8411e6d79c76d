"""Store the prompt and the difference of lengths with each pair of a vote.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PAIR = ["first_id", "second_id", "outcome", "open", "label_id"]
ADDED = ["prompt_id", "length_difference"]
EARLIER_RULES = 3


def upgrade() -> None:
    """Add the columns. The votes are counted again after the migration, also after a downgrade."""
    for column in ADDED:
        op.add_column("label_pairs", sa.Column(column, sa.Integer(), nullable=True))
    op.drop_index("ix_label_pairs_tally", table_name="label_pairs")
    op.create_index("ix_label_pairs_tally", "label_pairs", [*PAIR, *ADDED])
    labels = sa.table("labels", sa.column("counted", sa.Integer))
    op.execute(labels.update().where(labels.c.counted > EARLIER_RULES).values(counted=EARLIER_RULES))


def downgrade() -> None:
    op.drop_index("ix_label_pairs_tally", table_name="label_pairs")
    op.create_index("ix_label_pairs_tally", "label_pairs", PAIR)
    for column in reversed(ADDED):
        op.drop_column("label_pairs", column)
