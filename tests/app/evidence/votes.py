"""Games for the tests, written as rows."""

import math

import numpy as np

from app.evidence import Games

Row = tuple[int, int, int, float]
"""Prompt, first, second, score."""


def games(*rows: Row, length: float = math.nan) -> Games:
    prompt, first, second, score = (np.array(column) for column in zip(*rows, strict=True))
    return Games(prompt, first, second, score.astype(float), np.full(len(rows), length))
