"""Index the words of generations and prompts, and store log-ratios and scores of generations.

Older rows are indexed after the migration, in small transactions (app/store/search_backfill.py).

Revision: 0027, after 0026
"""

import sqlalchemy as sa
from alembic import op

from app.store import search_schema

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

MEASURES = ("log_ratio", "token_log_ratio", "score")
ORDERS = (["run_id", "id"], ["kind", "id"], ["tokens", "id"])


def upgrade() -> None:
    op.create_table(
        "search_backfill",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("next_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_search_backfill")),
    )
    for name in ("generations", "prompts"):
        op.execute(
            f"INSERT INTO search_backfill (name, next_id) SELECT '{name}', coalesce(max(id), 0) FROM {name}"
        )
    for column in MEASURES:
        op.add_column("generations", sa.Column(column, sa.Float(53), nullable=True))
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_generations_{column}",
            "generations",
            [column, "id"],
            sqlite_where=known,
            postgresql_where=known,
        )
    for columns in ORDERS:
        op.create_index(op.f(f"ix_generations_{'_'.join(columns)}"), "generations", columns)
    search_schema.create(op.get_bind())


def downgrade() -> None:
    search_schema.drop(op.get_bind())
    for columns in ORDERS:
        op.drop_index(op.f(f"ix_generations_{'_'.join(columns)}"), table_name="generations")
    for column in MEASURES:
        op.drop_index(f"ix_generations_{column}", table_name="generations")
        op.drop_column("generations", column)
    op.drop_table("search_backfill")
