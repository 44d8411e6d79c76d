"""Index runs by their base model, to find those that start from another run's model.

Revision: 0031, after 0030
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_runs_base_model"), "runs", ["base_model"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_base_model"), "runs")
