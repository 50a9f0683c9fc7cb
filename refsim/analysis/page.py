"""Reports as one HTML page that needs nothing besides itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Made

TITLE = "How far integers are from the functions they stand for"
FIRST = 12
"""Rows of a table that are shown at first."""
LONG = 40
"""Characters of a text that stands on one line."""
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_CODE = re.compile("`+([^`]+)`+")
_COLOUR = re.compile("#[0-9a-f]{6}")


def page(
    made: Sequence[Made], *, dark: Mapping[str, str], facts: Mapping[str, str], asked: Mapping[str, str], left_out: Sequence[str]
) -> str:
    """The page as text.

    Parameters
    ----------
    made : sequence of Made
    dark : mapping of str to str
        A colour of the figures to that which it becomes on a dark page, both as ``#rrggbb``.
    facts : mapping of str to str
        With what the figures were made, such as versions.
    asked : mapping of str to str
        Options that were given.
    left_out : sequence of str
        Reports that there are not, each with the reason.
    """
    style, script = (Path(__file__).with_name(f"page.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    given = [("Options", dict(asked))] if asked else []
    lists = "".join(f"<h3>{escape(title)}</h3>\n{_list(entries)}\n" for title, entries in (*given, ("Versions", facts)))
    missing = "".join(f"<li>{escape(text)}</li>" for text in left_out)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(TITLE)}</title>\n<style>\n{_colours(dark)}{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{escape(TITLE)}</h1>\n"
        "<p>The integer operations of I-BERT (Kim, Gholami, Yao, Mahoney and Keutzer, ICML 2021), measured by their simulator. "
        "Every figure is drawn from the table beneath it.</p>\n</header>\n"
        f"<nav><ul>{''.join(map(_link, made))}</ul></nav>\n"
        + "\n".join(map(_section, made))
        + (f'\n<section id="left-out"><h2>Left out</h2><ul>{missing}</ul></section>' if missing else "")
        + f'\n<section id="about"><h2>How it was made</h2>\n{lists}</section>\n</main>\n<script>\n{script}</script>\n</body>\n</html>\n'
    )


def _colours(dark: Mapping[str, str]) -> str:
    """The colours of the figures as variables, for either scheme; paper is light."""

    def declared(pairs: Mapping[str, str]) -> str:
        return "".join(f"--{key[1:].lower()}: {value.lower()}; " for key, value in pairs.items())

    return (
        f":root {{ {declared({c: c for c in dark})}}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {declared(dark)}}} }}\n"
    )


def _link(made: Made) -> str:
    return f'<li><a href="#{made.name}"><b>{escape(made.name)}</b>{escape(made.says)}</a></li>'


def _section(made: Made) -> str:
    finding = escape(" ".join(made.finding.split()))
    return (
        f'<section id="{made.name}">\n<h2><a href="#{made.name}">{finding}</a></h2>\n'
        f'<figure>\n<div class="drawing" tabindex="0">{made.svg}</div>\n<figcaption>{escape(made.says)}</figcaption>\n</figure>\n'
        f"{_paragraphs(made.method)}\n{_data(made)}\n</section>"
    )


def _paragraphs(text: str) -> str:
    found = (_CODE.sub(r"<code>\1</code>", escape(" ".join(part.split()))) for part in re.split(r"\n\s*\n", text))
    return "\n".join(f"<p>{part}</p>" for part in found)


def _list(entries: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in entries.items())}</dl>"


def _data(made: Made) -> str:
    """The table: its first rows as they stand, all of them for the script."""
    kinds = [_kind([row[name] for row in made.rows]) for name in made.columns]
    rows = [[_text(row[name]) for name in made.columns] for row in made.rows]
    head = "".join(
        f'<th scope="col" class="{kind}" aria-sort="none" title="{escape(meaning)}"><button type="button">{escape(name)}</button></th>'
        for (name, meaning), kind in zip(made.columns.items(), kinds, strict=True)
    )
    cells = ([f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in zip(row, kinds, strict=True)] for row in rows[:FIRST])
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    more = "" if len(rows) > FIRST else " hidden"
    held = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="data" data-first="{FIRST}">\n<div class="tools"><h3>{made.name}.csv</h3>'
        f'<input type="search" placeholder="filter, such as {_example(made)}" aria-label="Show the rows of {made.name}.csv that have this">'
        f'<span class="count" aria-live="polite">{min(FIRST, len(rows)):,} of {len(rows):,} rows</span></div>\n'
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n'
        f'<button type="button" class="more"{more}>Show more</button>\n'
        f"<details><summary>What the columns mean</summary>{_list(made.columns)}</details>\n"
        f'<script type="application/json">{held}</script>\n</div>'
    )


def _kind(values: Sequence[object]) -> str:
    """What a column holds: numbers, words, or long text that is broken into lines."""
    words = [value for value in values if isinstance(value, str) and value]
    return "number" if not words else "long" if max(map(len, words)) > LONG else "words"


def _example(made: Made) -> str:
    """A word to filter by: of the first column that holds words."""
    for name in made.columns:
        words = [str(row[name]) for row in made.rows if isinstance(row[name], str) and row[name]]
        if words:
            return escape(words[-1].split()[0].strip(",;:"))
    return "0.5"


def _text(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def inline(svg: str, name: str, label: str, dark: Mapping[str, str]) -> str:
    """An SVG file as part of a page: ids are `name`'s own, colours variables, and nothing in it concerns what stands outside."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style")]:
            parent.remove(child)
    known = {c.lower() for c in dark}

    def themed(found: re.Match[str]) -> str:
        return f"var(--{found[0][1:]})" if found[0] in known else found[0]

    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in ("href", f"{{{_XLINK}}}href") and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif key != "d":
                own = _COLOUR.sub(themed, value).replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
                own = own.replace("stroke: #ffffff", "stroke: var(--card)")  # a gap between cells shows what lies beneath
                element.set(key, own.replace("url(#", f"url(#{name}-"))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", " ".join(label.split()))
    return ET.tostring(root, encoding="unicode")
