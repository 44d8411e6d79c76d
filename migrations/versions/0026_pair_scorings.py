"""Add scorings: a dataset's pairs under a run's checkpoint.

Revision: 0026, after 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_scorings()
    _create_scores()


def downgrade() -> None:
    """Remove the scorings and all scores."""
    op.drop_table("pair_scores")
    op.drop_table("pair_scorings")


def _create_scorings() -> None:
    op.create_table(
        "pair_scorings",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("checkpoint_id", sa.Integer(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("run_name", sa.String(length=120), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("margin_kind", sa.String(length=32), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("unscored", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        _reference("dataset_id", "datasets", "CASCADE"),
        _reference("run_id", "runs", "SET NULL"),
        _reference("checkpoint_id", "checkpoints", "SET NULL"),
        _reference("user_id", "users", None),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair_scorings")),
        sa.UniqueConstraint(
            "dataset_id", "checkpoint_id", name=op.f("uq_pair_scorings_dataset_id_checkpoint_id")
        ),
    )
    for columns in (["status", "id"], ["lease_until"], ["run_id"], ["checkpoint_id"], ["user_id"]):
        op.create_index(op.f(f"ix_pair_scorings_{'_'.join(columns)}"), "pair_scorings", columns)


def _reference(column: str, table: str, on_delete: str | None) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_pair_scorings_{column}_{table}")
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=name, ondelete=on_delete)


def _create_scores() -> None:
    numbers = ("margin", "chosen", "rejected", "reference_chosen", "reference_rejected")
    op.create_table(
        "pair_scores",
        sa.Column("scoring_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in numbers),
        sa.Column("chosen_tokens", sa.Integer(), nullable=True),
        sa.Column("rejected_tokens", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=300), nullable=True),
        sa.ForeignKeyConstraint(
            ["scoring_id"],
            ["pair_scorings.id"],
            name=op.f("fk_pair_scores_scoring_id_pair_scorings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("scoring_id", "position", name=op.f("pk_pair_scores")),
    )
    op.create_index(
        op.f("ix_pair_scores_scoring_id_margin_position"),
        "pair_scores",
        ["scoring_id", "margin", "position"],
    )
