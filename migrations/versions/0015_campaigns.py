"""Add campaigns: their tasks, and the places of people on them.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = {
    "conversations": {"campaign_id": "campaigns"},
    "comparisons": {"campaign_id": "campaigns", "source_id": "comparisons"},
}
"""The added columns of each table, with the tables to which they refer."""

_COMPARISONS = "SELECT id FROM comparisons WHERE campaign_id IS NOT NULL"
_OF_THESE = f"comparison_id IN ({_COMPARISONS})"
DELETED = {
    "label_pairs": f"label_id IN (SELECT id FROM labels WHERE {_OF_THESE})",
    "label_versions": _OF_THESE,
    "labels": _OF_THESE,
    "names_seen": _OF_THESE,
    "generations": _OF_THESE,
    "comparisons": "campaign_id IS NOT NULL",
    "contenders": "conversation_id IN (SELECT id FROM conversations WHERE campaign_id IS NOT NULL)",
    "conversations": "campaign_id IS NOT NULL",
}
"""What a downgrade deletes, in this order: foreign keys are off on SQLite, so nothing cascades."""


def upgrade() -> None:
    _create_campaigns()
    for table, columns in COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for column, other in columns.items():
                batch.add_column(sa.Column(column, sa.Integer(), nullable=True))
                batch.create_foreign_key(
                    _constraint(table, column), other, [column], ["id"], ondelete="CASCADE"
                )
                batch.create_index(op.f(f"ix_{table}_{column}"), [column])
    _create_tasks()
    _create_slots()


def downgrade() -> None:
    """Remove the campaigns and everything in them."""
    op.drop_table("campaign_slots")
    op.drop_table("campaign_tasks")
    for table, condition in DELETED.items():
        op.execute(f"DELETE FROM {table} WHERE {condition}")
    for table, columns in reversed(COLUMNS.items()):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_index(op.f(f"ix_{table}_{column}"))
                batch.drop_constraint(_constraint(table, column), type_="foreignkey")
                batch.drop_column(column)
    op.drop_table("campaigns")


def _constraint(table: str, column: str) -> str:
    return op.f(f"fk_{table}_{column}_{COLUMNS[table][column]}")


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column("order", sa.String(length=32), nullable=False),
        sa.Column("votes_wanted", sa.Integer(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("guidelines", sa.Text(), nullable=False),
        sa.Column("ask_reason", sa.Boolean(), nullable=False),
        sa.Column("voters", sa.JSON(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("answering_seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_campaigns_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
    )
    op.create_index(op.f("ix_campaigns_user_id"), "campaigns", ["user_id"])


def _create_tasks() -> None:
    op.create_table(
        "campaign_tasks",
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("first", sa.Integer(), nullable=True),
        sa.Column("second", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.id"],
            name=op.f("fk_campaign_tasks_campaign_id_campaigns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["comparisons.id"],
            name=op.f("fk_campaign_tasks_comparison_id_comparisons"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("comparison_id", name=op.f("pk_campaign_tasks")),
    )
    op.create_index(
        op.f("ix_campaign_tasks_campaign_id_status_number"),
        "campaign_tasks",
        ["campaign_id", "status", "number"],
    )


def _create_slots() -> None:
    op.create_table(
        "campaign_slots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("shown_order", sa.JSON(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["campaign_tasks.comparison_id"],
            name=op.f("fk_campaign_slots_comparison_id_campaign_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_campaign_slots_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_slots")),
        sa.UniqueConstraint("comparison_id", "user_id", name=op.f("uq_campaign_slots_comparison_id_user_id")),
    )
    op.create_index(op.f("ix_campaign_slots_user_id_status"), "campaign_slots", ["user_id", "status"])
