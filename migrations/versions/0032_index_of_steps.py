"""Index samples by their step, to find those of some steps among all runs.

Revision: 0032, after 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = sa.text("step IS NOT NULL")
    op.create_index(
        "ix_generations_step", "generations", ["step"], sqlite_where=known, postgresql_where=known
    )


def downgrade() -> None:
    op.drop_index("ix_generations_step", "generations")
