"""Add the run that a run depends on.

Revision: 0022, after 0021
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

CONSTRAINT = "fk_runs_depends_on_id_runs"


def upgrade() -> None:
    with _runs() as batch:
        batch.add_column(sa.Column("depends_on_id", sa.Integer(), nullable=True))
        batch.create_foreign_key(CONSTRAINT, "runs", ["depends_on_id"], ["id"], ondelete="SET NULL")
        batch.create_index(op.f("ix_runs_depends_on_id"), ["depends_on_id"])


def downgrade() -> None:
    with _runs() as batch:
        batch.drop_index(op.f("ix_runs_depends_on_id"))
        batch.drop_constraint(CONSTRAINT, type_="foreignkey")
        batch.drop_column("depends_on_id")


@contextmanager
def _runs() -> Iterator[BatchOperations]:
    """Alter the table of runs. SQLite makes it anew; ids of deleted runs are still not used again."""
    connection = op.get_bind()
    on_sqlite = connection.dialect.name == "sqlite"
    last = "SELECT seq FROM sqlite_sequence WHERE name = 'runs'"
    used = connection.scalar(sa.text(last)) if on_sqlite else None
    with op.batch_alter_table("runs", table_kwargs={"sqlite_autoincrement": True}) as batch:
        yield batch
    if used is not None:
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'runs'"))
        insert = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', :used)")
        connection.execute(insert, {"used": used})
