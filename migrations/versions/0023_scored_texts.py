"""Add texts that people have scored, and the scorings of texts and answers, token by token.

Revision: 0023, after 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_scored_texts()
    _create_scorings()


def downgrade() -> None:
    op.drop_table("scorings")
    op.drop_table("scored_texts")


def _create_scored_texts() -> None:
    table = "scored_texts"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("contenders", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_scored_texts_user_id_users")),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.id"], name=op.f("fk_scored_texts_prompt_id_prompts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scored_texts")),
    )
    op.create_index(op.f("ix_scored_texts_user_id_id"), table, ["user_id", "id"])
    op.create_index(op.f("ix_scored_texts_prompt_id"), table, ["prompt_id"])


def _create_scorings() -> None:
    table = "scorings"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation_id", sa.Integer(), nullable=True),
        sa.Column("scored_text_id", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("tokens", sa.JSON(), nullable=True),
        sa.Column("policy_logp", sa.Float(precision=53), nullable=True),
        sa.Column("reference_logp", sa.Float(precision=53), nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("as_sampled", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_scorings_generation_id_generations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["scored_text_id"],
            ["scored_texts.id"],
            name=op.f("fk_scorings_scored_text_id_scored_texts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scorings")),
        sa.UniqueConstraint("generation_id", name=op.f("uq_scorings_generation_id")),
        sa.UniqueConstraint("scored_text_id", "position", name=op.f("uq_scorings_scored_text_id_position")),
    )
    op.create_index(op.f("ix_scorings_status_id"), table, ["status", "id"])
    op.create_index(op.f("ix_scorings_lease_until"), table, ["lease_until"])
