"""Add tallies of votes, and indexes for foreign keys and polled columns.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "comparisons": (("lease_until",),),
    "contenders": (("checkpoint_id",), ("run_id",)),
    "conversations": (("user_id", "id"),),
    "generations": (("prompt_id",),),
    "labels": (("best_id",), ("worst_id",), ("choice", "id"), ("user_id", "id"), ("counted",)),
    "runs": (("finished_at",),),
}
UNFINISHED = sa.text("status IN ('queued', 'running')")


def upgrade() -> None:
    _create_tally_tables()
    op.add_column("labels", sa.Column("first_side", sa.Boolean(), nullable=True))
    op.add_column("labels", sa.Column("longer", sa.Boolean(), nullable=True))
    op.add_column("labels", sa.Column("left_out", sa.String(length=32), nullable=True))
    op.add_column("labels", sa.Column("cut", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("labels", sa.Column("counted", sa.Integer(), server_default="0", nullable=False))
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.create_index(_name(table, columns), table, list(columns))
    op.create_index(
        "ix_generations_unfinished",
        "generations",
        ["comparison_id"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index("ix_labels_opinion", "labels", ["comparison_id", "choice", "best_id", "worst_id"])
    tally = ["choice", "blind", "first_side", "longer", "left_out", "cut"]
    op.create_index("ix_labels_tally", "labels", tally)


def downgrade() -> None:
    op.drop_index("ix_labels_tally", table_name="labels")
    op.drop_index("ix_labels_opinion", table_name="labels")
    op.drop_index("ix_generations_unfinished", table_name="generations")
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.drop_index(_name(table, columns), table_name=table)
    for column in ("counted", "cut", "left_out", "longer", "first_side"):
        op.drop_column("labels", column)
    op.drop_table("label_pairs")
    op.drop_table("answerers")


def _name(table: str, columns: tuple[str, ...]) -> str:
    return op.f(f"ix_{table}_{'_'.join(columns)}")


def _create_tally_tables() -> None:
    op.create_table(
        "answerers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("base_model", sa.String(length=500), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_answerers_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answerers")),
        sa.UniqueConstraint("sha256", name=op.f("uq_answerers_sha256")),
    )
    op.create_index(op.f("ix_answerers_run_id"), "answerers", ["run_id"])
    op.create_table(
        "label_pairs",
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id"], ["answerers.id"], name=op.f("fk_label_pairs_first_id_answerers")
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_label_pairs_label_id_labels"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["second_id"], ["answerers.id"], name=op.f("fk_label_pairs_second_id_answerers")
        ),
        sa.PrimaryKeyConstraint("label_id", "first_id", "second_id", name=op.f("pk_label_pairs")),
    )
    op.create_index(
        op.f("ix_label_pairs_first_id_second_id_outcome"), "label_pairs", ["first_id", "second_id", "outcome"]
    )
    op.create_index(op.f("ix_label_pairs_second_id"), "label_pairs", ["second_id"])
