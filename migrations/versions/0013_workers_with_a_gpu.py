"""Store whether a worker has a GPU. Until now this was derived from the device name.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("has_gpu", sa.Boolean(), nullable=False, server_default=sa.false()))
    workers = sa.table("workers", sa.column("device", sa.String), sa.column("has_gpu", sa.Boolean))
    named = workers.c.device.not_like("CPU%") & (workers.c.device != "")
    op.execute(workers.update().where(named).values(has_gpu=True))


def downgrade() -> None:
    op.drop_column("workers", "has_gpu")
