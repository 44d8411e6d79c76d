"""Add the scores of both answers to the verdicts of scorers.

Revision: 0020, after 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMNS = ("first_score", "second_score")


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("judge_verdicts", sa.Column(column, sa.Double(), nullable=True))


def downgrade() -> None:
    """Remove the scorers' judges with their verdicts; earlier versions know none."""
    scorers = "SELECT id FROM judges WHERE kind = 'scorer'"
    op.execute(f"DELETE FROM judge_verdicts WHERE judge_id IN ({scorers})")
    op.execute("DELETE FROM judges WHERE kind = 'scorer'")
    for column in COLUMNS:
        op.drop_column("judge_verdicts", column)
