"""The manifest of an export: what is in the file, what is not and why, and how to tell that it is whole."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from app.exports.counts import MEANINGS, Counts
from app.exports.options import Options
from app.store.label_queries import VoteFilter

UNSTATED: Final = "not stated; prompts and answers keep the licences of their datasets and models"


def manifest(
    *,
    file: str,
    format: str,
    schema: pa.Schema,
    counts: Counts,
    only: VoteFilter | None,
    options: Options,
    licence: str,
    size: int,
    sha256: str,
) -> dict[str, Any]:
    """The manifest as JSON values.

    Args:
        file: the exported file's name.
        size: its size in bytes.
    """
    filters = {name: value for name, value in asdict(only or VoteFilter()).items() if value}
    return {
        "file": file,
        "bytes": size,
        "sha256": sha256,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "format": format,
        "columns": {field.name: str(field.type) for field in schema},
        "rows": counts.rows,
        "rows_with_a_cut_answer": counts.cut,
        "rows_without_names": counts.hidden,
        "left_out": {
            reason: {"count": number, "because": MEANINGS[reason]}
            for reason, number in sorted(counts.left_out.items())
            if number
        },
        "filters": filters,
        "options": asdict(options),
        "voters": "names" if options.people else "pseudonyms",
        "licence": licence or UNSTATED,
    }
