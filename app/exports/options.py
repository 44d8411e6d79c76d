"""The choices of an export, besides its layout and its kind of file."""

from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5


@dataclass(frozen=True, slots=True)
class Options:
    """What an export holds.

    Attributes:
        leave_out_cut: rows of training data with an answer that was cut at the length limit are left out.
        merge: `trl` has one row for each comparison, which says how many people voted and how they agree.
        people: voters' names are written; otherwise they are pseudonyms.
    """

    leave_out_cut: bool = False
    merge: bool = False
    people: bool = False

    def name_of(self, user_id: int, name: str) -> str:
        """A voter's name, or a pseudonym that is the same in every export of this database."""
        return name if self.people else f"voter-{user_id}"


DEFAULTS: Final = Options()


def uuid_of(voter: str) -> UUID:
    """An id for a voter's name or pseudonym, for layouts that require one."""
    return uuid5(NAMESPACE_URL, f"hypo-studio:{voter}")
