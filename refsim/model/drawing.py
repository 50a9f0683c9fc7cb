"""The data flow of an encoder as SVG: what each launch gives, how wide that is proven to be, and what an integer of it stands for.

Layers that are alike are drawn once. What comes from far above runs along the right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from ..certificates import certificate
from .graph import HANDED_IN, LAYER, Model, Node

_WIDTH, _HEIGHT, _GAP, _ASIDE, _MARGIN = 250, 52, 26, 24, 28
"""Extent of a box, distances between boxes below and beside each other, and the edge."""
_LANE = 18
"""Distance of a line that runs along the right from the boxes that it passes."""
_STYLE = """
text { font-family: Helvetica, Arial, sans-serif; fill: #1f2937; text-anchor: middle }
.name { font-weight: bold; font-size: 15px; fill: #ffffff }
.op { font-size: 12px } .wide { font-size: 12px; fill: #4b5563 }
.title { font-size: 19px; font-weight: bold; text-anchor: start } .sub { font-size: 13px; text-anchor: start; fill: #4b5563 }
.box { fill: #ffffff; stroke: #1e40af } .head { fill: #1e40af }
.narrow .box { stroke: #047857 } .narrow .head { fill: #047857 }
.given .box { fill: #f3f4f6; stroke: #6b7280 } .given .head { fill: #6b7280 }
.edge { fill: none; stroke: #6b7280; stroke-width: 1.5 } .far { stroke: #b45309 }
.repeat { fill: #eff6ff; stroke: #93c5fd; stroke-dasharray: 6 4 }
"""


def svg(model: Model) -> str:
    """The picture: embeddings, the first layer and what stands behind the last."""
    layers = sorted({int(m[1]) for n in model.nodes if (m := re.match(r"layer\.(\d+)\.", n.name))})
    last, first = LAYER.format(layers[-1]), LAYER.format(layers[0])
    nodes = [n for n in model.nodes if not n.name.startswith("layer.") or n.name.startswith(first)]
    sources = {n.name: [_drawn(i.tensor, last, first) for i in n.inputs if i.tensor not in model.weights] for n in nodes}
    given = [name for name in HANDED_IN if any(name in s for s in sources.values()) and name != "mask"]
    rows: list[list[str]] = [given]
    depth = dict.fromkeys(given, 0)
    for node in nodes:
        depth[node.name] = 1 + max(depth[s] for s in sources[node.name] if s in depth)
        while len(rows) <= depth[node.name]:
            rows.append([])
        rows[depth[node.name]].append(node.name)
    wide = max(map(len, rows))
    middle = _MARGIN + (wide * _WIDTH + (wide - 1) * _ASIDE) / 2
    top = 84
    place: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        left = middle - (len(row) * _WIDTH + (len(row) - 1) * _ASIDE) / 2
        for at, name in enumerate(row):
            place[name] = (left + at * (_WIDTH + _ASIDE) + _WIDTH / 2, top + number * (_HEIGHT + _GAP))
    lines, right = _edges(sources, depth, place)
    width = max(middle * 2 - _MARGIN, right) + _MARGIN
    height = top + len(rows) * (_HEIGHT + _GAP)
    inside = [place[n.name][1] for n in nodes if n.name.startswith(first)]
    high = max(inside) - min(inside) + _HEIGHT + 26
    box = f'<rect class="repeat" x="8" y="{min(inside) - 13:g}" width="{width - 16:g}" height="{high:g}" rx="8"/>'
    boxes = [_box(place[name], name, ("handed in", ""), "given") for name in given]
    boxes += [_node(model, n, place[n.name]) for n in nodes]
    head = f'<text class="title" x="{_MARGIN}" y="32">From token ids to a vector, in integers</text>'
    head += f'<text class="sub" x="{_MARGIN}" y="54">{_told(len(layers))} Green: 8 bits. A mask goes into every attention.</text>'
    body = "\n".join([head, box, *lines, *boxes])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">\n'
        f'<style>{_STYLE}</style>\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _told(layers: int) -> str:
    return f"The dashed part is one of {layers} layers." if layers > 1 else "The dashed part is the layer."


def _drawn(tensor: str, last: str, first: str) -> str:
    """What stands for a tensor of the last layer: that of the first."""
    return tensor.replace(last, first, 1)


def _edges(sources: Mapping[str, list[str]], depth: Mapping[str, int], place: Mapping[str, tuple[float, float]]) -> tuple[list[str], float]:
    """The lines, and how far to the right they go."""
    found, right = [], 0.0
    for name, used in sources.items():
        x, y = place[name]
        for source in used:
            if source not in place:
                continue
            sx, sy = place[source]
            if depth[name] - depth[source] == 1:
                bend = sy + _HEIGHT + _GAP / 2
                found.append(f'<path class="edge" d="M{sx:g} {sy + _HEIGHT:g} V{bend:g} H{x:g} V{y:g}"/>')
            else:
                passed = [px for other, (px, _) in place.items() if depth[source] <= depth[other] <= depth[name]]
                far = max(passed) + _WIDTH / 2 + _LANE
                right = max(right, far)
                beside = f"M{sx + _WIDTH / 2:g} {sy + _HEIGHT / 2:g} H{far:g} V{y + _HEIGHT / 2:g} H{x + _WIDTH / 2:g}"
                found.append(f'<path class="edge far" d="{beside}"/>')
    return found, right


def _node(model: Model, node: Node, place: tuple[float, float]) -> str:
    bound = certificate(node.plan).bounds[-1]
    scale = model.meanings[node.name].scale if node.name in model.meanings else 1.0
    told = f"{len(scale)} scales" if isinstance(scale, tuple) else f"scale {scale:.3g}"
    width = f"{bound.bits} bits proven, {told}"
    return _box(place, re.sub(r"^layer\.\d+\.", "", node.name), (node.plan.op, width), "narrow" if bound.bits <= 8 else "wide-result")


def _box(place: tuple[float, float], name: str, lines: Sequence[str], kind: str) -> str:
    x, y = place
    left = x - _WIDTH / 2
    return (
        f'<g class="{kind}"><rect class="box" x="{left:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
        f'<path class="head" d="M{left:g} {y + 20:g} v-16 a4 4 0 0 1 4 -4 h{_WIDTH - 8} a4 4 0 0 1 4 4 v16 z"/>'
        f'<text class="name" x="{x:g}" y="{y + 15:g}">{escape(name)}</text>'
        f'<text class="op" x="{x:g}" y="{y + 34:g}">{escape(lines[0])}</text>'
        f'<text class="wide" x="{x:g}" y="{y + 47:g}">{escape(lines[1])}</text></g>'
    )
