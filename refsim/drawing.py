"""Pictures of recorded graphs, as SVG.

A graph is drawn in layers from top to bottom: a node stands below what it uses. A line that passes a layer has a place of its own there,
so that it runs beside the boxes and never through them. A graph of many layers is cut into columns; what a column takes from an earlier
one stands in it by name. Text is set in a font of fixed width, so that its extent is known without measuring. The same graph gives the
same bytes.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise, permutations
from xml.etree import ElementTree

from .arithmetic.widths import Signed, bits_needed
from .carriers.recorded import Constant, Graph, Node
from .certificates import widths
from .registry import of

_ADVANCE = 0.61
"""Width of a character of a font of fixed width, in sizes of the font; of those in the style the widest has 0.602."""
_LINE, _PAD, _HEAD = 1.35, 9, 24
"""Distance of lines in sizes of the font; room within a box, and the height of its head."""
_GAP, _ASIDE, _APART, _MARGIN = 32, 20, 56, 24
"""Distances between layers, between neighbours in a layer, between columns, and to the edge of the picture."""
_ARROW = 8
"""Length of the head of an arrow."""
_DEEP = 8
"""Layers of a column: with more of them a picture is cut, so that it fits a slide."""
_WRAP = 38
"""Characters of a line of a box."""

_BOUNDS = "[least, greatest] that is proven of every value; the type that it needs / the declared width"
"""The key to the last line of a box."""
_STYLE = """
text { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2937 }
.call { font-weight: bold }
.node > rect { fill: #ffffff; stroke: #6b7280 }
.operand > rect { fill: #d1fae5; stroke: #047857 }
.reduction > rect { fill: #ede9fe; stroke: #6d28d9 }
.bars { stroke: #6d28d9; fill: none }
.known > rect { fill: #fef3c7; stroke: #b45309; stroke-dasharray: 6 3 }
.named > rect { stroke-width: 2 }
.plain.named > rect { fill: #dbeafe; stroke: #1e40af }
.head { fill: #1e40af }
.name { font-weight: bold; fill: #ffffff }
.operand > .name { fill: #064e3b }
.again > rect { fill: #f3f4f6; stroke: none }
.bounds { fill: #4b5563 }
.constant { fill: #b91c1c }
.edge { fill: none; stroke: #6b7280; stroke-width: 1.4 }
.arrow { fill: #6b7280 }
"""
_CONSTANT = re.compile(r"(?<![\w#.])((?:[A-Za-z_][\w.]*=)?)(\[\d+\schannels\]|-?\d[\w.+-]*)")
"""A number of a formula, with the plan's field that it is."""


def needed(node: Node) -> str:
    """The narrowest type that holds what is proven of a node, such as ``int41``; "" where nothing is."""
    if node.interval is None:
        return ""
    signed = node.interval[0] < 0 or isinstance(node.width, Signed)
    return ("int" if signed else "uint") + str(bits_needed(*node.interval, signed))


def declared(graph: Graph) -> dict[int, str]:
    """The declared width of every named node, by its index, in words."""
    stated = widths(of(graph.plan), graph.plan)
    found = {}
    for name, index in reversed(graph.outputs):
        width, condition = stated[name]
        found[index] = "real number" if width is None else f"{width}{' (row condition)' if condition else ''}"
    return found


# ------------------------------------------------------------------------------------------------------------------- boxes


@dataclass(slots=True)
class _Box:
    """What is written of a node, and the room that it takes."""

    kind: str
    name: str
    lines: list[tuple[str, str]]
    """Class and text."""
    width: float = 0
    height: float = 0

    def __post_init__(self) -> None:
        texts = [(len(self.name), _size("name")), *((len(text), _size(style)) for style, text in self.lines)]
        self.width = math.ceil(max(count * size * _ADVANCE for count, size in texts)) + 2 * _PAD
        head = _HEAD if self.name else _PAD / 2
        self.height = math.ceil(head + sum(_size(style) * _LINE for style, _ in self.lines) + (_PAD / 2 if self.lines else 0))
        if self.kind.startswith("operand"):
            self.width += 2 * _PAD  # its ends are round


def _size(style: str) -> int:
    return {"call": 15, "name": 14, "formula": 12, "bounds": 11}[style]


def _short(value: int) -> str:
    """A number in few characters: from 2**16 one beside a power of two as that."""
    size, sign = abs(value), -1 if value < 0 else 1
    for power in (size.bit_length() - 1, size.bit_length()):
        rest = value - sign * (1 << max(power, 0))
        if power >= 16 and abs(rest) <= 1:
            raised = str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
            return f"{'-' * (sign < 0)}2{raised}{f'{rest:+d}' if rest else ''}"
    return str(value)


def _formula(text: str) -> str:
    """A formula with its numbers short, and no space within one."""

    def constant(found: re.Match[str]) -> str:
        number = found[2]
        return found[1] + (_short(int(number)) if re.fullmatch(r"-?\d+", number) else number.replace(" ", "\N{NO-BREAK SPACE}"))

    return _CONSTANT.sub(constant, text)


def _box(graph: Graph, node: Node, width: str) -> _Box:
    """What is written of a node: its name or number, its formula, what is proven of it."""
    kind = "operand" if node.operation == "input" else "reduction" if node.reduces else "known" if node.lemma is not None else "plain"
    formula = _formula(graph.formula(node))
    lines = []
    if node.operation != "input":
        first = "" if node.names else f"{graph.label(node)} = "
        parts = (first + formula).replace(" by ", "\nby ").split("\n")
        lines = [("formula", line) for part in parts for line in textwrap.wrap(part, _WRAP, break_long_words=False, break_on_hyphens=False)]
    bounds = "" if node.interval is None else f"[{_short(node.interval[0])}, {_short(node.interval[1])}]"
    bits = " / ".join(filter(None, (needed(node), width)))
    if node.operation == "input" and any(o.name == node.rest[0] and o.kind == "bool" for o in of(graph.plan).operands):
        bounds = "true or false"
    one = "\N{NO-BREAK SPACE} ".join(filter(None, (bounds, bits)))
    lines += [("bounds", line) for line in ([one] if len(one) <= _WRAP else [bounds, bits]) if line]
    name = ", ".join(node.names) if node.names else graph.label(node) if node.operation == "input" else ""
    return _Box(f"{kind} named" if node.names else kind, name, lines)


# ------------------------------------------------------------------------------------------------------------------ layout


@dataclass(eq=False, slots=True)
class _Spot:
    """A place in a layer: a box, or where a line passes."""

    layer: int
    box: _Box | None = None
    above: list[_Spot] = field(default_factory=list)
    below: list[_Spot] = field(default_factory=list)
    x: float = 0

    @property
    def width(self) -> float:
        return self.box.width if self.box else 0


def _sources(node: Node) -> list[int]:
    return list(dict.fromkeys(o for o in node.operands if not isinstance(o, Constant)))


def _layers(graph: Graph) -> list[int]:
    """The layer of every node: the first below all that it uses, or a later one where that makes lines shorter."""
    layers: list[int] = []
    for node in graph.nodes:
        layers.append(1 + max((layers[o] for o in _sources(node)), default=-1))
    users = [[n.index for n in graph.nodes if i in _sources(n)] for i in range(len(layers))]

    def length() -> int:
        return sum(max((layers[u] for u in used), default=layers[i]) - layers[i] for i, used in enumerate(users))

    moved = True
    while moved:
        moved = False
        for i in reversed(range(len(layers))):
            before, at = length(), layers[i]
            layers[i] = min((layers[u] for u in users[i]), default=at + 1) - 1
            if length() < before:
                moved = True
            else:
                layers[i] = at
    return layers


def _cuts(graph: Graph, layers: Sequence[int]) -> list[int]:
    """The first layer of every column and the end: about as deep, cut where the fewest values pass."""
    deep = max(layers) + 1
    count = math.ceil(deep / _DEEP)

    def cost(cut: int, ideal: float) -> float:
        passing = {o for n in graph.nodes if layers[n.index] >= cut for o in _sources(n) if layers[o] < cut}
        unnamed = sum(graph.label(graph.nodes[o]).startswith("#") for o in passing)
        return len(passing) + unnamed / 2 + (cut - ideal) ** 2 / 2

    cuts = [0]
    for i in range(1, count):
        ideal = deep * i / count
        cuts.append(min(range(round(ideal) - 2, round(ideal) + 3), key=lambda cut: cost(cut, ideal)))
    return [*cuts, deep]


def _column(graph: Graph, boxes: Sequence[_Box], layers: Sequence[int], first: int, end: int) -> list[list[_Spot]]:
    """The layers from `first` to `end` with the lines that pass them: one line for a value, however many use it."""
    members = [n for n in graph.nodes if first <= layers[n.index] < end]
    spots = {(n.index, layers[n.index]): _Spot(layers[n.index], boxes[n.index]) for n in members}
    for source in dict.fromkeys(o for n in members for o in _sources(n) if layers[o] < first):
        at = min(layers[n.index] for n in members if source in _sources(n)) - 1
        spots[source, at] = _Spot(at, _Box("again", "", [("formula", graph.label(graph.nodes[source]))]))

    def carrying(source: int, layer: int) -> _Spot:
        if (source, layer) not in spots:
            spots[source, layer] = _join(carrying(source, layer - 1), _Spot(layer))
        return spots[source, layer]

    for node in members:
        for source in _sources(node):
            _join(carrying(source, layers[node.index] - 1), spots[node.index, layers[node.index]])
    rows = [[spot for spot in spots.values() if spot.layer == layer] for layer in range(first - 1, end)]
    return [row for row in rows if row]


def _join(upper: _Spot, lower: _Spot) -> _Spot:
    upper.below.append(lower)
    lower.above.append(upper)
    return lower


def _ordered(rows: list[list[_Spot]]) -> list[list[_Spot]]:
    """The rows with as few crossings as sweeps of barycentres find, from every order of a short first row."""
    tries = []
    for top in islice(permutations(rows[0]), 24):
        now = [list(top), *(list(row) for row in rows[1:])]
        for sweep in range(8):
            down = sweep % 2 == 0
            for fixed, moving in pairwise(now if down else now[::-1]):
                place = _places(fixed)
                wants = {}
                for own, spot in enumerate(moving):
                    near = [place[id(o)] for o in (spot.above if down else spot.below)]
                    wants[id(spot)] = sum(near) / len(near) if near else own
                moving.sort(key=lambda spot: wants[id(spot)])
            tries.append([list(row) for row in now])
    return min(tries, key=_disorder)


def _places(row: Sequence[_Spot]) -> dict[int, int]:
    return {id(spot): i for i, spot in enumerate(row)}


def _inversions(numbers: Sequence[int]) -> int:
    return sum(a > b for i, a in enumerate(numbers) for b in numbers[i + 1 :])


def _disorder(rows: Sequence[Sequence[_Spot]]) -> tuple[int, int]:
    """How many lines cross; and how many operands stand in another order than the formula has them in."""
    crossings = swapped = 0
    for upper, lower in pairwise(rows):
        place, above = _places(lower), _places(upper)
        crossings += _inversions([end for spot in upper for end in sorted(place[id(o)] for o in spot.below)])
        swapped += sum(_inversions([above[id(o)] for o in spot.above]) for spot in lower)
    return crossings, swapped


def _place(rows: Sequence[Sequence[_Spot]]) -> float:
    """Give every spot its x, so that lines are straight and short and nothing overlaps; return the width."""
    for upper, lower in pairwise(rows):
        place = _places(upper)
        for spot in lower:
            spot.above.sort(key=lambda o: place[id(o)])
    for turn in range(100):
        close = max(0.1, 64 * 0.93**turn)
        for row in (*rows, *reversed(rows)):
            offsets = [0.0]
            for one, other in pairwise(row):
                offsets.append(offsets[-1] + (one.width + other.width) / 2 + _ASIDE)
            wants, weights = [], []
            for spot, offset in zip(row, offsets, strict=True):
                pulls = [(o.x - _port(o, spot), _stiffness(spot, o)) for o in spot.above]
                pulls += [(o.x + _port(spot, o), _stiffness(spot, o)) for o in spot.below]
                # By and by from squares to absolute differences: one bend is better than many slants.
                pulls = [(x, w / max(close, abs(x - spot.x))) for x, w in pulls] or [(spot.x, 1.0)]
                weights.append(sum(w for _, w in pulls))
                wants.append(sum(x * w for x, w in pulls) / weights[-1] - offset)
            for spot, x, offset in zip(row, _ascending(wants, weights), offsets, strict=True):
                spot.x = x + offset
    edge = min(spot.x - spot.width / 2 for row in rows for spot in row)
    for row in rows:
        for spot in row:
            spot.x = round(spot.x - edge)
    return max(spot.x + spot.width / 2 for row in rows for spot in row)


def _stiffness(one: _Spot, other: _Spot) -> float:
    """How much a line wants to be straight: most between two points that are no boxes."""
    return (1.0, 3.0, 9.0)[(one.box is None) + (other.box is None)]


def _port(since: _Spot, to: _Spot) -> float:
    """Where a line enters a box, from its middle: lines enter side by side."""
    count = len(to.above)
    return (to.above.index(since) - (count - 1) / 2) * min(28, to.width / (count + 1))


def _ascending(wants: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The ascending numbers nearest to `wants` by least squares: neighbours in the wrong order share their mean."""
    blocks: list[tuple[float, float, int]] = []
    for want, weight in zip(wants, weights, strict=True):
        block = (want, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            x, w, count = blocks.pop()
            block = ((x * w + block[0] * block[1]) / (w + block[1]), w + block[1], count + block[2])
        blocks.append(block)
    return [x for x, _, count in blocks for _ in range(count)]


# ----------------------------------------------------------------------------------------------------------------- drawing


def svg(graph: Graph, title: str) -> str:
    """The picture of a graph.

    Parameters
    ----------
    graph : Graph
    title : str
        What stands above it: the call that makes the plan.

    Returns
    -------
    str
        An SVG document.
    """
    stated, layers = declared(graph), _layers(graph)
    boxes = [_box(graph, node, stated.get(node.index, "")) for node in graph.nodes]
    columns = [_ordered(_column(graph, boxes, layers, first, end)) for first, end in pairwise(_cuts(graph, layers))]
    sizes = [_place(rows) for rows in columns]
    width = max(sum(sizes) + _APART * (len(sizes) - 1), 760)
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg"})
    _add(root, "title").text = title
    _add(root, "style").text = _STYLE
    background = _add(root, "rect", fill="#ffffff")
    y = float(_MARGIN)
    for line in textwrap.wrap(title, int(width / (_size("call") * _ADVANCE)), max_lines=3, placeholder=" …"):
        y += _size("call") * _LINE
        _text(root, "call", line, _MARGIN, y)
    top, bottom = y + _MARGIN, 0.0
    x = _MARGIN + (width - sum(sizes) - _APART * (len(sizes) - 1)) / 2
    for rows, size in zip(columns, sizes, strict=True):
        bottom = max(bottom, _draw(_add(root, "g", transform=f"translate({x:g} {top:g})"), rows))
        x += size + _APART
    height = _legend(root, graph, len(columns) > 1, top + bottom + _MARGIN, width) + _MARGIN
    for element in (root, background):
        element.set("width", f"{width + 2 * _MARGIN:g}")
        element.set("height", f"{height:g}")
    root.set("viewBox", f"0 0 {width + 2 * _MARGIN:g} {height:g}")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    given = {name.rstrip("_").replace("_", "-"): f"{v:g}" if isinstance(v, float) else str(v) for name, v in attributes.items()}
    element = ElementTree.SubElement(parent, tag, given)
    element.tail = "\n"
    return element


def _text(parent: ElementTree.Element, style: str, text: str, x: float, y: float, middle: bool = False) -> None:
    """A line of text from x, or around it; in a formula the constants are marked."""
    if middle:  # not left to the reader of the picture: some centre the marked parts one by one
        x -= len(text) * _size(style) * 0.602 / 2
    element = _add(parent, "text", class_=style, x=round(x, 1), y=round(y, 1), font_size=_size(style))
    element.text, *parts = re.split(_CONSTANT, text) if style == "formula" else [text]
    for name, constant, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        mark = _add(element, "tspan", class_="constant")
        mark.text, mark.tail = name + constant, rest


def _draw(parent: ElementTree.Element, rows: Sequence[Sequence[_Spot]]) -> float:
    """Draw a column, the lines below the boxes; return how far it reaches down."""
    heights = [max(spot.box.height if spot.box else 0 for spot in row) for row in rows]
    tops = [sum(heights[:i]) + _GAP * i for i in range(len(rows))]
    lines, boxes = _add(parent, "g"), _add(parent, "g")
    for i, row in enumerate(rows):
        for spot in row:
            start, end = tops[i], tops[i] + heights[i]
            if spot.box:
                start = (start + end + spot.box.height) / 2
                _draw_box(boxes, spot.box, spot.x - spot.width / 2, start - spot.box.height)
            for to in spot.below:
                arrive, tip = tops[i + 1], tops[i + 1]
                if to.box:
                    arrive, tip = arrive - _ARROW, tip + (heights[i + 1] - to.box.height) / 2
                _draw_line(lines, spot.x, start, end, to.x + _port(spot, to), arrive, tip - _ARROW if to.box else tip)
                if to.box:
                    _add(lines, "path", class_="arrow", d=f"M{to.x + _port(spot, to):g} {tip:g}l-4.5 {-_ARROW}h9z")
    return tops[-1] + heights[-1]


def _draw_line(parent: ElementTree.Element, x: float, start: float, leave: float, to: float, arrive: float, end: float) -> None:
    """From (x, start) straight down to the end of its layer, in a bow to the next, and straight down to (to, end)."""
    bow = f"C{x:g} {leave + _GAP / 2:g} {to:g} {arrive - _GAP / 2:g} {to:g} {arrive:g}"
    _add(parent, "path", class_="edge", d=f"M{x:g} {start:g}V{leave:g}{bow}V{end:g}")


def _draw_box(parent: ElementTree.Element, box: _Box, x: float, y: float) -> None:
    group = _add(parent, "g", class_=f"node {box.kind}", transform=f"translate({x:g} {y:g})")
    round_ = box.height / 2 if box.kind.startswith("operand") else 4
    _add(group, "rect", width=box.width, height=box.height, rx=float(round_))
    middle, line = box.width / 2, 0.0
    if box.name:
        if "named" in box.kind:
            _add(group, "path", class_="head", d=f"M0 {_HEAD - 3}V4a4 4 0 0 1 4 -4H{box.width - 4:g}a4 4 0 0 1 4 4V{_HEAD - 3}z")
        _text(group, "name", box.name, middle, _HEAD - 8, True)
        line = _HEAD
    if box.kind.startswith("reduction"):
        _add(group, "path", class_="bars", d=f"M4.5 {line:g}V{box.height:g}M{box.width - 4.5:g} {line:g}V{box.height:g}")
    line = line or _PAD / 2
    for style, text in box.lines:
        line += _size(style) * _LINE
        _text(group, style, text, middle, line - _size(style) * 0.3, True)


def _legend(parent: ElementTree.Element, graph: Graph, again: bool, y: float, width: float) -> float:
    """What the boxes mean, those that there are; returns how far it reaches down."""
    found = {_box(graph, node, "").kind.split()[0] for node in graph.nodes}
    samples: Iterable[tuple[str, str, bool]] = (
        ("operand", "operand", "operand" in found),
        ("plain named", "named intermediate", True),
        ("plain", "operation", "plain" in found),
        ("reduction", "reduction along a row or an inner axis", "reduction" in found),
        ("known", "known: bounds that a lemma proves", "known" in found),
        ("again", "from an earlier column", again),
        ("constant", "a constant", any(isinstance(o, Constant) for node in graph.nodes for o in node.operands)),
    )
    group, x, size = _add(parent, "g", class_="legend"), float(_MARGIN), _size("bounds")
    for kind, text, there in samples:
        if not there:
            continue
        room = 34 + 8 + len(text) * size * _ADVANCE
        if x > _MARGIN and x + room > _MARGIN + width:
            x, y = float(_MARGIN), y + 24
        if kind == "constant":
            _text(group, "formula", "2³²-1", x, y + 12)
        else:
            sample = _Box(kind, "", [])
            sample.width, sample.height = 34, 16
            _draw_box(group, sample, x, y)
        _text(group, "bounds", text, x + 42, y + 12)
        x += room + 20
    y += 40
    _text(group, "bounds", _BOUNDS, _MARGIN, y)
    return y
