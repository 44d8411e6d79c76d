"""Plotly's script from what is installed: charts need no network, and pages without charts load none of it.

`make setup` installs the basic bundle with npm where there is one; without it the bundle of the Python
package is served, four times as large. Either is compressed once, and cached by browsers for good: the
address has the hash of the content in it.
"""

import gzip
import hashlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import Request, Response

ADDRESS: Final = "plotly.js"
_BASIC: Final = Path(sys.prefix, "share/hypo/node_modules/plotly.js-basic-dist-min/plotly-basic.min.js")
_FOR_GOOD: Final = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


def bundle() -> Path:
    """The smallest bundle that is installed."""
    if _BASIC.is_file():
        return _BASIC
    found = importlib.util.find_spec("plotly")
    return Path(found.origin if found and found.origin else "plotly").parent / "package_data/plotly.min.js"


@lru_cache(maxsize=1)
def address() -> str:
    """Where pages find the script, relative to them."""
    return f"{ADDRESS}?v={hashlib.sha256(bundle().read_bytes()).hexdigest()[:16]}"


@lru_cache(maxsize=1)
def _compressed() -> bytes:
    return gzip.compress(bundle().read_bytes(), 9)


def serve(request: Request) -> Response:
    """The script, compressed for clients that accept it."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers = {**_FOR_GOOD, "Content-Encoding": "gzip"}
        return Response(_compressed(), media_type="text/javascript", headers=headers)
    return Response(bundle().read_bytes(), media_type="text/javascript", headers=_FOR_GOOD)
