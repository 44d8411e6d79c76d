"""Remarks of an import on prompts that people voted on here."""

from collections.abc import Collection

from app.imports.spool import Spool
from app.store import voted_prompts
from app.store.db import read_session
from app.store.leaking_pairs import folded_key
from hypo_engine.data.formats import prompt_fraction, prompt_key


def of(spool: Spool, voted: Collection[str], held_out: float) -> list[str]:
    """What the account of an import says about votes.

    Args:
        voted: keys of the prompts that were voted on, which leave every evaluation.
        held_out: the share of prompts that are held out.
    """
    remarks = [_about_voted(len(voted))] if voted else []
    nearly = _nearly_voted(spool, voted, held_out)
    return [*remarks, _about_nearly_voted(nearly)] if nearly else remarks


def _nearly_voted(spool: Spool, voted: Collection[str], held_out: float) -> int:
    """The number of held-out prompts that differ from one with votes only in case or white space."""
    keys = {
        key: folded_key(kept.pair.prompt)
        for kept in spool.pairs()
        if prompt_fraction(kept.pair.prompt) < held_out and (key := prompt_key(kept.pair.prompt)) not in voted
    }
    if not keys:
        return 0
    with read_session() as session:
        texts = {folded_key(text) for text in voted_prompts.texts(session=session)}
        alike = [key for key, folded in keys.items() if folded in texts]
        return len(alike) - voted_prompts.count_known(alike, session=session)


def _about_voted(prompts: int) -> str:
    if prompts == 1:
        return "1 prompt was voted on here: its pairs are for training, and evaluations no longer use them."
    return (
        f"{prompts:,} prompts were voted on here: their pairs are for training, and evaluations no longer "
        "use them."
    )


def _about_nearly_voted(prompts: int) -> str:
    if prompts == 1:
        return (
            "1 held-out prompt differs only in case or white space from a prompt that was voted on here, and "
            "stays in the evaluation."
        )
    return (
        f"{prompts:,} held-out prompts differ only in case or white space from prompts that were voted on "
        "here, and stay in the evaluation."
    )
