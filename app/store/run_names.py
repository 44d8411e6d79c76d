"""Names of runs that copy other runs."""

import re
from itertools import count

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Run

TWIN = re.compile(r" · (?:DPO|HyPO|KTO|SFT|Reward model|RLOO|PPO|Online DPO)$")
"""The suffix that distinguishes runs that were launched as twins: the name of the method."""

_NUMBER = re.compile(r" \(\d{1,6}\)$")


def copy_name(run: Run, *, session: Session, longest: int = 100) -> str:
    """An unused name for a copy: `name (2)`, or `name (2) · DPO` for a twin's `name · DPO`."""
    twin = "".join(TWIN.findall(run.name))
    stem = _NUMBER.sub("", run.name.removesuffix(twin))
    alike = session.scalars(select(Run.name).where(Run.name.startswith(stem[:80], autoescape=True)))
    taken = {TWIN.sub("", name) for name in alike}
    ends = (f" ({number})" for number in count(2))
    names = (f"{stem[: longest - len(end) - len(twin)].rstrip()}{end}" for end in ends)
    return next(name for name in names if name not in taken) + twin
