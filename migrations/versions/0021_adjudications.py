"""Add adjudications: verdicts on comparisons on which voters differ, and who may give them.

Revision: 0021, after 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("campaigns") as batch:
        batch.add_column(sa.Column("adjudicators", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("campaigns") as batch:
        batch.alter_column("adjudicators", server_default=None, existing_type=sa.JSON())
    _create_adjudications()
    _create_pairs()


def downgrade() -> None:
    """Remove the verdicts; the votes stay."""
    op.drop_table("adjudication_pairs")
    op.drop_table("adjudications")
    with op.batch_alter_table("campaigns") as batch:
        batch.drop_column("adjudicators")


def _create_adjudications() -> None:
    table = "adjudications"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("choice", sa.String(length=32), nullable=False),
        sa.Column("best_id", sa.Integer(), nullable=True),
        sa.Column("worst_id", sa.Integer(), nullable=True),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("left_out", sa.String(length=32), nullable=True),
        sa.Column("cut", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["comparisons.id"],
            name=op.f("fk_adjudications_comparison_id_comparisons"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_adjudications_user_id_users")),
        sa.ForeignKeyConstraint(
            ["best_id"], ["generations.id"], name=op.f("fk_adjudications_best_id_generations")
        ),
        sa.ForeignKeyConstraint(
            ["worst_id"], ["generations.id"], name=op.f("fk_adjudications_worst_id_generations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjudications")),
    )
    for column in ("comparison_id", "user_id", "best_id", "worst_id", "withdrawn_at"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _create_pairs() -> None:
    table = "adjudication_pairs"
    op.create_table(
        table,
        sa.Column("adjudication_id", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("prompt_id", sa.Integer(), nullable=True),
        sa.Column("length_difference", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adjudication_id"],
            ["adjudications.id"],
            name=op.f("fk_adjudication_pairs_adjudication_id_adjudications"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["first_id"], ["answerers.id"], name=op.f("fk_adjudication_pairs_first_id_answerers")
        ),
        sa.ForeignKeyConstraint(
            ["second_id"], ["answerers.id"], name=op.f("fk_adjudication_pairs_second_id_answerers")
        ),
        sa.PrimaryKeyConstraint(
            "adjudication_id", "first_id", "second_id", name=op.f("pk_adjudication_pairs")
        ),
    )
    for column in ("first_id", "second_id"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
