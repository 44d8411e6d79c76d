"""Add who has seen the names, a display order per question, earlier versions of votes, and openings.

Revision: 0008, after 0007

Existing votes are unchanged; `blind` states whether the names were hidden when a vote was cast. Until now,
all questions of a conversation had the same display order. Names were shown at once, or for the whole
conversation after a person's first vote in it. Those people are recorded as having seen the names.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOST_CONTENDERS = 4


def upgrade() -> None:
    op.add_column("conversations", sa.Column("opening", sa.JSON(), nullable=True))
    op.add_column("comparisons", sa.Column("shown_order", sa.JSON(), nullable=True))
    contenders = "SELECT count(*) FROM contenders WHERE conversation_id = comparisons.conversation_id"
    for count in range(MOST_CONTENDERS + 1):
        order = list(range(count))
        op.execute(f"UPDATE comparisons SET shown_order = '{order}' WHERE {count} = ({contenders})")
    with op.batch_alter_table("comparisons") as batch:
        batch.alter_column("shown_order", existing_type=sa.JSON(), nullable=False)
    _create_names_seen()
    _create_label_versions()
    _record_who_saw_names()


def downgrade() -> None:
    op.drop_table("label_versions")
    op.drop_table("names_seen")
    op.drop_column("comparisons", "shown_order")
    op.drop_column("conversations", "opening")


def _create_names_seen() -> None:
    op.create_table(
        "names_seen",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["comparisons.id"],
            name=op.f("fk_names_seen_comparison_id_comparisons"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_names_seen_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "comparison_id", name=op.f("pk_names_seen")),
    )
    op.create_index(op.f("ix_names_seen_comparison_id"), "names_seen", ["comparison_id"])


def _create_label_versions() -> None:
    op.create_table(
        "label_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("choice", sa.String(length=32), nullable=False),
        sa.Column("best_id", sa.Integer(), nullable=True),
        sa.Column("worst_id", sa.Integer(), nullable=True),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["best_id"], ["generations.id"], name=op.f("fk_label_versions_best_id_generations")
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"],
            ["comparisons.id"],
            name=op.f("fk_label_versions_comparison_id_comparisons"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_label_versions_user_id_users")),
        sa.ForeignKeyConstraint(
            ["worst_id"], ["generations.id"], name=op.f("fk_label_versions_worst_id_generations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_versions")),
    )
    op.create_index(
        op.f("ix_label_versions_comparison_id_user_id"), "label_versions", ["comparison_id", "user_id"]
    )
    for column in ("best_id", "user_id", "worst_id"):
        op.create_index(op.f(f"ix_label_versions_{column}"), "label_versions", [column])


def _record_who_saw_names() -> None:
    op.execute(
        "INSERT INTO names_seen (user_id, comparison_id, at) "
        "SELECT labels.user_id, asked.id, min(labels.created_at) FROM labels "
        "JOIN comparisons voted ON voted.id = labels.comparison_id "
        "JOIN comparisons asked ON asked.conversation_id = voted.conversation_id "
        "GROUP BY labels.user_id, asked.id"
    )
    op.execute(
        "INSERT INTO names_seen (user_id, comparison_id, at) "
        "SELECT conversations.user_id, comparisons.id, comparisons.created_at FROM comparisons "
        "JOIN conversations ON conversations.id = comparisons.conversation_id "
        "WHERE NOT conversations.blind AND NOT EXISTS (SELECT 1 FROM names_seen seen "
        "WHERE seen.user_id = conversations.user_id AND seen.comparison_id = comparisons.id)"
    )
