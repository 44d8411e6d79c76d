"""Add the lineage: the version of which another one is made, the votes of a dataset, a campaign's prompts.

What earlier rows tell is kept: the source of a version without some pairs names the version of which it was
made. Which votes made a dataset, and where a campaign's prompts came from, was not recorded.

Revision: 0030, after 0029
"""

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

PARENT = "fk_datasets_parent_id_datasets"
SOURCE = re.compile(r"(.+) version (\d{1,9}) without [\d,]+ pairs?")


def upgrade() -> None:
    with op.batch_alter_table("datasets") as batch:
        batch.add_column(sa.Column("parent_id", sa.Integer(), nullable=True))
        batch.create_foreign_key(PARENT, "datasets", ["parent_id"], ["id"], ondelete="SET NULL")
        batch.create_index(op.f("ix_datasets_parent_id"), ["parent_id"])
    op.add_column(
        "campaigns", sa.Column("prompts_traced", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    _link_table("dataset_votes", ("dataset_id", "datasets"), ("conversation_id", "conversations"), "pairs")
    _link_table("campaign_datasets", ("campaign_id", "campaigns"), ("dataset_id", "datasets"), "prompts")
    _keep_parents()


def _link_table(name: str, owner: tuple[str, str], other: tuple[str, str], counted: str) -> None:
    columns = (owner, other)
    op.create_table(
        name,
        *(sa.Column(column, sa.Integer(), nullable=False) for column, _ in columns),
        sa.Column(counted, sa.Integer(), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_{name}_{column}_{table}"), ondelete="CASCADE"
            )
            for column, table in columns
        ),
        sa.PrimaryKeyConstraint(owner[0], other[0], name=op.f(f"pk_{name}")),
    )
    op.create_index(op.f(f"ix_{name}_{other[0]}"), name, [other[0]])


def _keep_parents() -> None:
    """Find the parents of the versions that were made without some pairs of another one."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, name, version, source, account FROM datasets")).all()
    ids = {(name, version): dataset_id for dataset_id, name, version, _, _ in rows}
    update = sa.text("UPDATE datasets SET parent_id = :parent WHERE id = :id")
    for dataset_id, name, _, source, account in rows:
        found = SOURCE.fullmatch(source)
        if found is None or found[1] != name or not _first_remark(account).startswith(f"Made from {source},"):
            continue
        parent = ids.get((name, int(found[2])))
        if parent is not None and parent < dataset_id:
            connection.execute(update, {"parent": parent, "id": dataset_id})


def _first_remark(account: Any) -> str:
    values = json.loads(account) if isinstance(account, str) else account
    remarks = (values or {}).get("remarks") or [""]
    return str(remarks[0])


def downgrade() -> None:
    op.drop_table("campaign_datasets")
    op.drop_table("dataset_votes")
    op.drop_column("campaigns", "prompts_traced")
    with op.batch_alter_table("datasets") as batch:
        batch.drop_index(op.f("ix_datasets_parent_id"))
        batch.drop_constraint(PARENT, type_="foreignkey")
        batch.drop_column("parent_id")
