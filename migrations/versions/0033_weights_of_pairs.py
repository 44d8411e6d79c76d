"""Store the weight and the margin of each pair of a dataset.

Revision: 0033, after 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

ADDED = ["weight", "margin"]


def upgrade() -> None:
    for column in ADDED:
        op.add_column("dataset_pairs", sa.Column(column, sa.Float(53), nullable=True))


def downgrade() -> None:
    for column in reversed(ADDED):
        op.drop_column("dataset_pairs", column)
