"""Places for the boxes of a graph, layer by layer from left to right, and paths for its lines.

After Sugiyama, Tagawa and Toda (1981): cycles are broken, each box gets the layer after the last of those
that it comes from, long lines get a point in every layer between, neighbouring layers are sorted by the
means of their neighbours, and heights are the ones closest to those means that keep the distances.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final

BOX_WIDTH: Final = 212
BOX_HEIGHT: Final = 52
GAP: Final = 14
"""Between two boxes of a layer."""
LINE_GAP: Final = 18
"""Around a line that passes a layer."""
LAYER_GAP: Final = 64
MARGIN: Final = 12
SWEEPS: Final = 12

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Placed:
    """The left and top of each box, the paths of the lines, and the size of the whole.

    `back` are the lines that lead from right to left; their paths are drawn from left to right too.
    """

    boxes: dict[str, tuple[float, float]]
    lines: dict[Edge, str]
    back: frozenset[Edge]
    width: float
    height: float


def place(names: Sequence[str], edges: Iterable[Edge]) -> Placed:
    """Place boxes.

    Args:
        names: at least one; ties are placed in this order.
        edges: from a box to one that is further right; in a cycle, one of them leads back.
    """
    wanted = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1]))
    back = _backward(names, wanted)
    forward = {edge: (edge[1], edge[0]) if edge in back else edge for edge in wanted}
    layer_of = _layers(names, list(forward.values()))
    layers, chains, pairs = _with_points(names, layer_of, forward)
    _sort(layers, pairs)
    middles = _heights(layers, pairs)
    lefts = [float(MARGIN) + at * (BOX_WIDTH + LAYER_GAP) for at in range(len(layers))]
    boxes = {name: (lefts[layer_of[name]], middles[name] - BOX_HEIGHT / 2) for name in names}
    lines = {}
    for edge, chain in chains.items():
        start = layer_of[chain[0]]
        lines[edge] = _path([(lefts[start + at], middles[name]) for at, name in enumerate(chain)])
    height = max(middles.values()) + BOX_HEIGHT / 2 + MARGIN
    return Placed(boxes, lines, frozenset(back), lefts[-1] + BOX_WIDTH + MARGIN, height)


def _backward(names: Sequence[str], edges: Sequence[Edge]) -> set[Edge]:
    """The edges that lead back to a box from which a walk in depth came."""
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        following[source].append(target)
    back, done, on_the_way = set[Edge](), set[str](), set[str]()
    for root in names:
        stack = [(root, iter(following[root]))] if root not in done else []
        on_the_way.update(name for name, _ in stack)
        while stack:
            name, rest = stack[-1]
            target = next(rest, "")
            if not target:
                stack.pop()
                on_the_way.discard(name)
                done.add(name)
            elif target in on_the_way:
                back.add((name, target))
            elif target not in done:
                on_the_way.add(target)
                stack.append((target, iter(following[target])))
    return back


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of each box: after the last that it comes from. One from nothing stands before its first."""
    before: dict[str, list[str]] = {name: [] for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        before[target].append(source)
        after[source].append(target)
    layer: dict[str, int] = {}
    waiting = {name: len(before[name]) for name in names}
    front = [name for name in names if not waiting[name]]
    while front:
        name = front.pop()
        layer[name] = max((layer[one] + 1 for one in before[name]), default=0)
        for one in after[name]:
            waiting[one] -= 1
            if not waiting[one]:
                front.append(one)
    for name in names:
        if not before[name] and after[name]:
            layer[name] = min(layer[one] for one in after[name]) - 1
    return layer


def _with_points(
    names: Sequence[str], layer_of: Mapping[str, int], forward: Mapping[Edge, Edge]
) -> tuple[list[list[str]], dict[Edge, list[str]], list[Edge]]:
    """The boxes and points of each layer, the chain of each edge, and the pairs of neighbours."""
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for name in names:
        layers[layer_of[name]].append(name)
    chains: dict[Edge, list[str]] = {}
    pairs: list[Edge] = []
    for edge, (source, target) in forward.items():
        points = [_point(edge, at) for at in range(layer_of[source] + 1, layer_of[target])]
        for at, point in enumerate(points, start=layer_of[source] + 1):
            layers[at].append(point)
        chains[edge] = [source, *points, target]
        pairs += pairwise(chains[edge])
    return layers, chains, pairs


_POINT: Final = "\n"
"""Begins the names of points, and of no box."""


def _point(edge: Edge, layer: int) -> str:
    return f"{_POINT}{edge[0]}{_POINT}{edge[1]}{_POINT}{layer}"


def _sort(layers: list[list[str]], pairs: Sequence[Edge]) -> None:
    """Sort each layer by the means of its neighbours; keep the order with the fewest crossings."""
    left, right = _neighbours(layers, pairs)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, right)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        near = left if sweep % 2 == 0 else right
        for at in order:
            _sort_layer(layers, at, near, -1 if sweep % 2 == 0 else 1)
        crossings = _crossings(layers, right)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _neighbours(
    layers: Sequence[Sequence[str]], pairs: Sequence[Edge]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The neighbours of each box and point in the layer to its left, and in that to its right."""
    left: dict[str, list[str]] = {name: [] for layer in layers for name in layer}
    right: dict[str, list[str]] = {name: [] for layer in layers for name in layer}
    for source, target in pairs:
        left[target].append(source)
        right[source].append(target)
    return left, right


def _sort_layer(layers: list[list[str]], at: int, near: Mapping[str, Sequence[str]], side: int) -> None:
    places = {name: place for place, name in enumerate(layers[at + side])}
    own = {name: place for place, name in enumerate(layers[at])}
    means = {
        name: fmean(places[one] for one in near[name]) if near[name] else float(own[name])
        for name in layers[at]
    }
    layers[at].sort(key=lambda name: means[name])


def _crossings(layers: Sequence[Sequence[str]], right: Mapping[str, Sequence[str]]) -> int:
    """The number of pairs of lines that cross between neighbouring layers."""
    count = 0
    for layer, following in pairwise(layers):
        places = {name: place for place, name in enumerate(following)}
        ends = [place for name in layer for place in sorted(places[one] for one in right[name])]
        count += sum(earlier > later for at, later in enumerate(ends) for earlier in ends[:at])
    return count


def _heights(layers: Sequence[Sequence[str]], pairs: Sequence[Edge]) -> dict[str, float]:
    """The middle of each box and point: close to the mean of its neighbours, with distances kept."""
    left, right = _neighbours(layers, pairs)
    middles = {
        name: float(place * (BOX_HEIGHT + GAP)) for layer in layers for place, name in enumerate(layer)
    }
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            near = {name: [*left[name], *right[name]] for name in layer}
            wanted = [
                fmean(middles[one] for one in near[name]) if near[name] else middles[name] for name in layer
            ]
            middles.update(
                zip(layer, _spread(wanted, [_distance(*two) for two in pairwise(layer)]), strict=True)
            )
    shift = MARGIN + BOX_HEIGHT / 2 - min(middles.values())
    return {name: middle + shift for name, middle in middles.items()}


def _distance(upper: str, lower: str) -> float:
    """The least distance between the middles of neighbours of a layer."""
    passing = upper.startswith(_POINT) + lower.startswith(_POINT)
    return (BOX_HEIGHT + GAP, BOX_HEIGHT / 2 + LINE_GAP, LINE_GAP)[passing]


def _spread(wanted: Sequence[float], distances: Sequence[float]) -> list[float]:
    """The heights closest to the wanted ones, by squares, that keep their order and distances.

    Without the distances this is isotonic regression, which pools neighbours that violate the order.
    """
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        mean, size = value - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A line from the right of the first box through the points to the left of the last."""
    (left, top), *others = points
    x, y = left + BOX_WIDTH, top
    said = f"M{x:.1f} {y:.1f}"
    for at, (left, top) in enumerate(others):
        bend = (left - x) / 2
        said += f"C{x + bend:.1f} {y:.1f} {left - bend:.1f} {top:.1f} {left:.1f} {top:.1f}"
        x, y = left, top
        if at < len(others) - 1:  # it passes the layer
            x += BOX_WIDTH
            said += f"H{x:.1f}"
    return said
