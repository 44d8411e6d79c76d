"""Import of files and hub datasets into the store as immutable datasets."""

from app.imports.mappings import UnknownFormat
from app.imports.readers import Limits
from app.imports.service import AddedDataset, FileLook, add_dataset, add_pairs, look_into

__all__ = ["AddedDataset", "FileLook", "Limits", "UnknownFormat", "add_dataset", "add_pairs", "look_into"]
