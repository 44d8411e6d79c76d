"""Store each run's device, and count ties at step 0 as half.

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("device", sa.String(length=100), nullable=True))
    # at step 0 the policy equals the reference: every pair is a tie, and ties used to count as wrong
    op.execute(
        "UPDATE metrics SET value = 0.5 WHERE step = 0 AND name = 'eval_rewards/accuracies' AND value = 0"
    )


def downgrade() -> None:
    op.drop_column("runs", "device")
