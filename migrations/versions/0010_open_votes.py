"""Mark votes whose names everybody may see.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OPINION = ["comparison_id", "choice", "best_id", "worst_id"]
TALLY = ["choice", "blind", "first_side", "longer", "left_out", "cut"]
READ = ["blind", "first_side", "longer", "left_out", "cut", "open", "comparison_id"]
PAIR = ["first_id", "second_id", "outcome"]


def upgrade() -> None:
    for table in ("labels", "label_pairs"):
        op.add_column(table, sa.Column("open", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("ix_labels_opinion", table_name="labels")
    op.drop_index("ix_labels_tally", table_name="labels")
    op.drop_index(op.f("ix_label_pairs_first_id_second_id_outcome"), table_name="label_pairs")
    op.create_index("ix_labels_opinion", "labels", [*OPINION, "open"])
    op.create_index("ix_labels_tally", "labels", READ)
    op.create_index("ix_label_pairs_tally", "label_pairs", [*PAIR, "open", "label_id"])


def downgrade() -> None:
    op.drop_index("ix_label_pairs_tally", table_name="label_pairs")
    op.drop_index("ix_labels_tally", table_name="labels")
    op.drop_index("ix_labels_opinion", table_name="labels")
    op.create_index(op.f("ix_label_pairs_first_id_second_id_outcome"), "label_pairs", PAIR)
    op.create_index("ix_labels_tally", "labels", TALLY)
    op.create_index("ix_labels_opinion", "labels", OPINION)
    for table in ("label_pairs", "labels"):
        op.drop_column(table, "open")
