"""Add aspects: what a campaign's voters are asked besides the better answer, and what their votes say of it.

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NEW = {"campaigns": "[]", "labels": "{}", "label_versions": "{}", "control_votes": "{}"}
"""The tables with the new column `aspects`, and its value in the rows that are there."""


def upgrade() -> None:
    for table, empty in NEW.items():
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("aspects", sa.JSON(), nullable=False, server_default=empty))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("aspects", server_default=None, existing_type=sa.JSON())
    _create_pairs()


def downgrade() -> None:
    """Remove the aspects; the votes themselves stay."""
    op.drop_table("aspect_pairs")
    for table in NEW:
        with op.batch_alter_table(table) as batch:
            batch.drop_column("aspects")


def _create_pairs() -> None:
    op.create_table(
        "aspect_pairs",
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("aspect", sa.String(length=30), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("prompt_id", sa.Integer(), nullable=True),
        sa.Column("length_difference", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_aspect_pairs_label_id_labels"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["first_id"], ["answerers.id"], name=op.f("fk_aspect_pairs_first_id_answerers")
        ),
        sa.ForeignKeyConstraint(
            ["second_id"], ["answerers.id"], name=op.f("fk_aspect_pairs_second_id_answerers")
        ),
        sa.PrimaryKeyConstraint("label_id", "aspect", "first_id", "second_id", name=op.f("pk_aspect_pairs")),
    )
    for column in ("first_id", "second_id"):
        op.create_index(op.f(f"ix_aspect_pairs_{column}"), "aspect_pairs", [column])
