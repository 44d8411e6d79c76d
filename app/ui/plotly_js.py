"""Serves Plotly's script from the local installation, so charts need no network.

`make setup` installs the basic bundle if npm is available. The fallback is the bundle of the Python
package, which is four times as large. The script is compressed once and cached by browsers permanently,
because its address contains a hash of the content. Pages without charts do not load it.
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
    """The smallest installed bundle."""
    if _BASIC.is_file():
        return _BASIC
    found = importlib.util.find_spec("plotly")
    return Path(found.origin if found and found.origin else "plotly").parent / "package_data/plotly.min.js"


@lru_cache(maxsize=1)
def address() -> str:
    """The script's address, relative to the page."""
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
