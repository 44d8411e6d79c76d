"""The rewards that a reward model gives to its dataset's pairs, on its run's page."""

from sqlalchemy.orm import Session

from app import pair_scoring
from app.i18n import _, _html
from app.store import pair_scorings, run_checkpoints
from app.store.enums import PairScoringStatus
from app.store.models import PairScoring, Run
from app.ui import widgets
from app.ui.charts import Figure
from app.ui.pairs import histograms
from app.ui.widgets import Html
from hypo_engine.config import Method


def scoring(run: Run, *, session: Session) -> PairScoring | None:
    """The scoring of the run's dataset by its last checkpoint, if it trained a reward model."""
    if run.method != Method.REWARD:
        return None
    checkpoint = run_checkpoints.last(run.id, session=session)
    if checkpoint is None:
        return None
    return pair_scorings.find(run.dataset_id, checkpoint.id, session=session)


def waiting(found: PairScoring | None) -> bool:
    """Whether more pairs will be scored."""
    return found is not None and found.status is PairScoringStatus.QUEUED


def figures(found: PairScoring | None, *, session: Session) -> list[Figure]:
    """The distribution of the rewards; nothing before the first pairs are scored."""
    if found is None:
        return []
    return histograms.rewards(pair_scoring.reward_histogram(found.id, session=session), found)


def told(run: Run, found: PairScoring | None, *, session: Session) -> Html:
    """Where to have the pairs scored, or to read them one by one. Nothing for other runs."""
    if run.method != Method.REWARD or not run.status.is_over:
        return widgets.NOTHING
    if run_checkpoints.last(run.id, session=session) is None or run.dataset.deleted_at is not None:
        return widgets.NOTHING
    if found is None:
        link = widgets.link(_("Score the dataset's pairs"), "pairs", dataset=run.dataset_id, run=run.id)
        said = _html("{link} to see how far apart this model puts chosen and rejected answers.", link=link)
    else:
        link = widgets.link(_("Pair by pair"), "pairs", dataset=run.dataset_id, scorings=found.id)
        scored = _("Rewards of {done} of {total} pairs.", done=f"{found.done:,}", total=f"{found.total:,}")
        said = widgets.join([scored, link], " ")
    return widgets.notice(said)
