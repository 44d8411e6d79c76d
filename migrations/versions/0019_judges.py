"""Add automatic judges, their verdicts, and the replies that they are made of.

Revision: 0019, after 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_judges()
    _create_replies()
    _create_verdicts()


def downgrade() -> None:
    """Remove the judges and everything that they said."""
    op.drop_table("judge_verdicts")
    op.drop_table("judge_replies")
    op.drop_table("judges")


def _create_judges() -> None:
    op.create_table(
        "judges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.id"],
            name=op.f("fk_judges_campaign_id_campaigns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_judges_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judges")),
    )
    for column in ("campaign_id", "user_id"):
        op.create_index(op.f(f"ix_judges_{column}"), "judges", [column])


def _create_replies() -> None:
    op.create_table(
        "judge_replies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("judge_id", sa.Integer(), nullable=True),
        sa.Column("sent", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["judge_id"], ["judges.id"], name=op.f("fk_judge_replies_judge_id_judges"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_replies")),
        sa.UniqueConstraint("sha256", name=op.f("uq_judge_replies_sha256")),
    )
    op.create_index(op.f("ix_judge_replies_judge_id"), "judge_replies", ["judge_id"])


def _create_verdicts() -> None:
    replies = ("forward_id", "backward_id")
    op.create_table(
        "judge_verdicts",
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("second", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("flipped", sa.Boolean(), nullable=True),
        sa.Column("forward_id", sa.Integer(), nullable=True),
        sa.Column("backward_id", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["judge_id"], ["judges.id"], name=op.f("fk_judge_verdicts_judge_id_judges"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["comparisons.id"],
            name=op.f("fk_judge_verdicts_source_id_comparisons"),
            ondelete="CASCADE",
        ),
        *(
            sa.ForeignKeyConstraint(
                [column],
                ["judge_replies.id"],
                name=op.f(f"fk_judge_verdicts_{column}_judge_replies"),
                ondelete="SET NULL",
            )
            for column in replies
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_verdicts")),
        sa.UniqueConstraint(
            "judge_id",
            "source_id",
            "first",
            "second",
            name=op.f("uq_judge_verdicts_judge_id_source_id_first_second"),
        ),
    )
    for columns in (["status", "id"], ["lease_until"], ["source_id"], *([column] for column in replies)):
        op.create_index(op.f(f"ix_judge_verdicts_{'_'.join(columns)}"), "judge_verdicts", columns)
