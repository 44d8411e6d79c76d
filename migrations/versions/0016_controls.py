"""Add controls to campaigns: repeats and attention checks among a person's slots, and their verdicts.

Revision: 0016, after 0015
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SETTINGS = {
    "repeat_share": sa.Double(),
    "check_share": sa.Double(),
    "control_seed": sa.Integer(),
    "controls_from": sa.Integer(),
}
_BEFORE = "uq_campaign_slots_comparison_id_user_id"
_AFTER = "uq_campaign_slots_comparison_id_user_id_kind"


def upgrade() -> None:
    _add("campaigns", SETTINGS, "0")
    _draw_seeds()
    with op.batch_alter_table("campaign_slots") as batch:
        batch.add_column(sa.Column("kind", sa.String(length=32), nullable=False, server_default="task"))
        batch.add_column(sa.Column("answer_ids", sa.JSON(), nullable=True))
        batch.drop_constraint(op.f(_BEFORE), type_="unique")
        batch.create_unique_constraint(op.f(_AFTER), ["comparison_id", "user_id", "kind"])
    with op.batch_alter_table("campaign_slots") as batch:
        batch.alter_column("kind", server_default=None, existing_type=sa.String(length=32))
    _create_verdicts()


def downgrade() -> None:
    """Remove the controls; the slots of tasks and their votes stay."""
    op.drop_table("control_votes")
    op.execute("DELETE FROM campaign_slots WHERE kind <> 'task'")
    with op.batch_alter_table("campaign_slots") as batch:
        batch.drop_constraint(op.f(_AFTER), type_="unique")
        batch.create_unique_constraint(op.f(_BEFORE), ["comparison_id", "user_id"])
        batch.drop_column("answer_ids")
        batch.drop_column("kind")
    with op.batch_alter_table("campaigns") as batch:
        for column in SETTINGS:
            batch.drop_column(column)


def _add(table: str, columns: dict[str, sa.types.TypeEngine[float]], default: str) -> None:
    with op.batch_alter_table(table) as batch:
        for name, kind in columns.items():
            batch.add_column(sa.Column(name, kind, nullable=False, server_default=default))
    with op.batch_alter_table(table) as batch:
        for name, kind in columns.items():
            batch.alter_column(name, server_default=None, existing_type=kind)


def _draw_seeds() -> None:
    connection = op.get_bind()
    for campaign_id in connection.execute(sa.text("SELECT id FROM campaigns")).scalars().all():
        values = {"seed": secrets.randbelow(2**31), "id": campaign_id}
        connection.execute(sa.text("UPDATE campaigns SET control_seed = :seed WHERE id = :id"), values)


def _create_verdicts() -> None:
    op.create_table(
        "control_votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slot_id", sa.Integer(), nullable=False),
        sa.Column("choice", sa.String(length=32), nullable=False),
        sa.Column("best_id", sa.Integer(), nullable=True),
        sa.Column("worst_id", sa.Integer(), nullable=True),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["slot_id"],
            ["campaign_slots.id"],
            name=op.f("fk_control_votes_slot_id_campaign_slots"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control_votes")),
    )
    op.create_index(op.f("ix_control_votes_slot_id"), "control_votes", ["slot_id"])
