"""Store counts of what a dataset's source contains beyond its pairs.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("account", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("datasets", "account")
