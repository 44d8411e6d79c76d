"""Let a judge have a run instead of a campaign, and its verdicts two samples instead of a comparison.

Revision: 0025, after 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

ANSWERS = ("answer_id", "against_id")
UNIQUE = "uq_judge_verdicts_judge_id_answer_id"


def upgrade() -> None:
    with op.batch_alter_table("judges") as batch:
        batch.alter_column("campaign_id", existing_type=sa.Integer(), nullable=True)
        batch.add_column(sa.Column("run_id", sa.Integer(), nullable=True))
        batch.create_foreign_key("fk_judges_run_id_runs", "runs", ["run_id"], ["id"], ondelete="CASCADE")
        batch.create_index(op.f("ix_judges_run_id"), ["run_id"])
    with op.batch_alter_table("judge_verdicts") as batch:
        batch.alter_column("source_id", existing_type=sa.Integer(), nullable=True)
        for column in ANSWERS:
            name = f"fk_judge_verdicts_{column}_generations"
            batch.add_column(sa.Column(column, sa.Integer(), nullable=True))
            batch.create_foreign_key(name, "generations", [column], ["id"], ondelete="CASCADE")
            batch.create_index(op.f(f"ix_judge_verdicts_{column}"), [column])
        batch.create_unique_constraint(op.f(UNIQUE), ["judge_id", "answer_id"])


def downgrade() -> None:
    """Remove the judges of runs with their verdicts; their win rates stay among the metrics."""
    of_runs = "SELECT id FROM judges WHERE run_id IS NOT NULL"
    op.execute(f"DELETE FROM judge_verdicts WHERE judge_id IN ({of_runs})")
    op.execute(f"UPDATE judge_replies SET judge_id = NULL WHERE judge_id IN ({of_runs})")
    op.execute("DELETE FROM judges WHERE run_id IS NOT NULL")
    with op.batch_alter_table("judge_verdicts") as batch:
        batch.drop_constraint(op.f(UNIQUE), type_="unique")
        for column in ANSWERS:
            batch.drop_index(op.f(f"ix_judge_verdicts_{column}"))
            batch.drop_constraint(f"fk_judge_verdicts_{column}_generations", type_="foreignkey")
            batch.drop_column(column)
        batch.alter_column("source_id", existing_type=sa.Integer(), nullable=False)
    with op.batch_alter_table("judges") as batch:
        batch.drop_index(op.f("ix_judges_run_id"))
        batch.drop_constraint("fk_judges_run_id_runs", type_="foreignkey")
        batch.drop_column("run_id")
        batch.alter_column("campaign_id", existing_type=sa.Integer(), nullable=False)
