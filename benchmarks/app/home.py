"""A new home with an empty database, for a benchmark that needs no filled one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_home(url: str = "") -> Iterator[Path]:
    """Make a temporary folder the settings' home.

    Args:
        url: of a PostgreSQL database, which is migrated; without it SQLite.
    """
    with tempfile.TemporaryDirectory(prefix="hypo-bench-") as folder:
        os.environ |= {"HYPO_HOME": folder, "HYPO_DATABASE_URL": url, "HYPO_AUTH": ""}
        from app import migrate
        from app.settings import get_settings
        from app.store.db import get_engine

        get_settings.cache_clear()
        migrate.upgrade()
        yield Path(folder)
        get_engine().dispose()
