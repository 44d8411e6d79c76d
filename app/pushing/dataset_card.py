"""The dataset card that goes with votes."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

HUB_LICENCES: Final = (
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("odc-by", "odbl", "bsd-3-clause"),
)
"""Names of licences that the hub knows and that votes are likely to have."""
_ABOUT: Final = {
    "trl": "Pairs for DPO and reward models: `prompt`, `chosen` and `rejected`, as lists of messages.",
    "kto": "Single answers for KTO: `prompt`, `completion` and `label`.",
    "arena": "One row for each vote on two models' answers, in LMArena's columns.",
    "argilla": "A record for each comparison, with the responses of all its voters.",
    "raw": "One row for each vote, with the answers, the models, the decoding parameters and the reason.",
}


def dataset_card(name: str, manifest: Mapping[str, Any], licence: str) -> str:
    """The card in Markdown, with the hub's YAML header.

    Args:
        manifest: the export's manifest.
        licence: as the person named it, or empty.
    """
    lines = [
        "---",
        yaml.safe_dump(_header(manifest, licence), sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        f"# {name}",
        "",
        _ABOUT[manifest["format"]],
        "People compared answers of language models in HyPO Studio and voted for the better one.",
        "",
        f"- Rows: {manifest['rows']:,}",
        f"- Rows with an answer cut at the length limit: {manifest['rows_with_a_cut_answer']:,}",
        *_hidden(manifest),
        f"- Voters: {manifest['voters']}",
        f"- Filters: {_filters(manifest['filters'])}",
        f"- Licence: {manifest['licence']}",
        f"- Written: {manifest['created_at']}",
        "",
        *_left_out(manifest["left_out"]),
        "## Columns",
        "",
        "| column | type |",
        "|---|---|",
        *(f"| `{column}` | {_cell(kind)} |" for column, kind in manifest["columns"].items()),
        "",
        f"`manifest.json` has the same facts for programs, and the SHA-256 of `{manifest['file']}`.",
    ]
    return "\n".join(lines) + "\n"


def _header(manifest: Mapping[str, Any], licence: str) -> dict[str, Any]:
    header: dict[str, Any] = {}
    if named := "-".join(licence.lower().split()):
        header["license"] = named if named in HUB_LICENCES else "other"
        if header["license"] == "other":
            header["license_name"] = licence.strip()
    header["tags"] = ["preference-data", "human-feedback", "hypo-studio"]
    data = [{"split": "train", "path": manifest["file"]}]
    header["configs"] = [{"config_name": "default", "data_files": data}]
    return header


def _hidden(manifest: Mapping[str, Any]) -> list[str]:
    hidden = manifest["rows_without_names"]
    return [f"- Rows without names of models: {hidden:,}"] if hidden else []


def _filters(filters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in filters.items()) or "none"


def _left_out(left_out: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not left_out:
        return []
    rows = [f"| {one['count']:,} | {one['because']} |" for one in left_out.values()]
    return ["## Left out", "", "| votes | because |", "|---|---|", *rows, ""]


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
