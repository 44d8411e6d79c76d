"""When a control comes: how repeats and attention checks are spread over a person's comparisons.

A share s asks for one control for every 1/s ordinary comparisons. Control j belongs to the j-th stretch of
1/s comparisons, at a place in it that a hash draws. After n comparisons the number of controls therefore
differs from s · n by less than one, and nobody without the seed can tell the places.
"""

import hashlib
from math import floor


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def due(share: float, comparisons: int, *key: object) -> int:
    """The number of controls due after a number of ordinary comparisons.

    Args:
        share: controls per ordinary comparison, from 0 to 1.
        key: what the places depend on, such as a seed and a person.
    """
    if share <= 0:
        return 0
    whole = floor(share * comparisons)
    place = floor((whole + uniform(*key, whole)) / share) + 1
    return whole + (place <= comparisons)
