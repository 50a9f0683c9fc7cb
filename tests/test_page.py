"""The page of the reports in a browser: nothing fails, every figure is seen, tables sort and filter, nothing is wider than the screen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inprocess import judged
from needs import lacking, package

from refsim import files
from refsim.analysis import report
from refsim.analysis.page import page as page_of
from refsim.conformance.page import page as verdict_page
from refsim.content import content

GALLERY = content("reports") / "gallery"
NAMES = [name for name in report.available() if not getattr(report.loaded(name), "NEEDS", ())]
WIDTHS = (400, 800, 1600)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    made = [report.composed(report.loaded(name), report.read(GALLERY / f"{name}.csv")) for name in NAMES]
    text = page_of(made, dark=report.dark(), facts={"refsim": "1"}, asked={"--scale": "1"}, left_out=["one: it lacks something"])
    files.write(out / "index.html", text)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = package("playwright.sync_api", "dev")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lacking("chromium is not installed (Debian: chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request: pytest.FixtureRequest, browser: Any, folder: Path) -> Iterator[Any]:
    width, scheme = request.param
    yield from opened(browser, folder, width, scheme)


@pytest.fixture
def wide(browser: Any, folder: Path) -> Iterator[Any]:
    yield from opened(browser, folder, 1600, "light")


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a check that has everything such a page can have: known deviations, bins, mutants."""
    out = tmp_path_factory.mktemp("verdict")
    result, _ = judged(f"{Path(__file__).parent / 'targets' / 'mocks.py'}:deviates", "i_gelu", "i_exp")
    files.write(out / "index.html", verdict_page(result))
    return out


@pytest.fixture(params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=lambda p: f"{p[0]}-{p[1]}")
def verdict_seen(request: pytest.FixtureRequest, browser: Any, verdict: Path) -> Iterator[Any]:
    width, scheme = request.param
    yield from opened(browser, verdict, width, scheme)


def test_page_of_a_check_fits_every_screen(verdict_seen: Any) -> None:
    width = verdict_seen.viewport_size["width"]
    assert verdict_seen.evaluate("document.documentElement.scrollWidth") == width
    assert verdict_seen.locator(".card, .figures div").evaluate_all("nodes => nodes.filter(n => !n.textContent.trim()).length") == 0
    # Beside a text of one line a row is no taller than four of them, and no bar is cut off where its table is.
    assert verdict_seen.locator("tbody tr").evaluate_all("nodes => Math.max(...nodes.map(n => n.clientHeight))") < 130
    clipped = "nodes => nodes.filter(n => n.getBoundingClientRect().right > n.closest('.scroll').getBoundingClientRect().right).length"
    assert verdict_seen.locator(".bar").evaluate_all(clipped) == 0
    assert (verdict_seen.locator(".bar").first.is_visible()) == (width > 560)


def opened(browser: Any, folder: Path, width: int, scheme: str) -> Iterator[Any]:
    """The page, offline; at the end nothing may have been complained of, or asked for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(5000)
    made, told = context.new_page(), []
    made.on("console", lambda message: told.append(message.text))
    made.on("pageerror", lambda error: told.append(str(error)))
    made.on("request", lambda request: told.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    made.goto((folder / "index.html").as_uri())
    yield made
    context.close()
    assert told == []


def test_every_figure_is_seen_and_nothing_is_wider_than_the_screen(page: Any) -> None:
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".drawing svg").count() == len(NAMES)
    for drawing in page.locator(".drawing").all():
        box, svg = drawing.bounding_box(), drawing.locator("svg").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert svg["width"] >= 600 and 0.4 < svg["height"] / svg["width"] < 0.9
    clipped = """nodes => nodes.filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.outerHTML.slice(0, 90))"""
    assert page.locator("h1, h2, h3, p, figcaption, li, dd, nav a").evaluate_all(clipped) == []


def luminance(colour: str) -> float:
    """Of a colour as the browser computes it (WCAG 2)."""
    parts = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


COLOURED = "nodes => nodes.map(n => [n.closest('section').id + ': ' + n.textContent.trim(), getComputedStyle(n).fill])"


def test_text_stands_out_in_both_schemes(page: Any) -> None:
    ground = page.locator(".drawing").first.evaluate("n => getComputedStyle(n).backgroundColor")
    white, black = "rgb(255, 255, 255)", "rgb(0, 0, 0)"  # what stands on a coloured cell
    coloured = page.locator(".drawing svg text").evaluate_all(COLOURED)
    assert [text for text, fill in coloured if fill not in (white, black) and contrast(fill, ground) < 2.9] == []
    for part, least in (("p", 7), ("td", 7), ("th button", 4.5), ("summary", 4.5), (".count", 4.5), ("nav b", 4.5)):
        colour = page.locator(part).first.evaluate("n => getComputedStyle(n).color")
        assert contrast(colour, ground) > least, part


def column(data: Any, number: int) -> list[str]:
    return [row.locator("td").nth(number).text_content() for row in data.locator("tbody tr").all()]


def test_a_table_sorts_all_its_rows(wide: Any) -> None:
    data = wide.locator("#i_gelu .data")
    rows = report.read(GALLERY / "i_gelu.csv")
    names = list(rows[0])
    assert data.locator(".count").text_content() == f"12 of {len(rows):,} rows"
    for name, order in (("error", ["ascending", "descending"]), ("dialect", ["ascending"])):
        number = names.index(name)
        for direction in order:
            data.get_by_role("button", name=name, exact=True).click()
            due = sorted((row[name] for row in rows), reverse=direction == "descending")[:12]
            assert column(data, number) == [f"{v:.9g}" if isinstance(v, float) else v for v in due]
            assert data.locator("th").nth(number).get_attribute("aria-sort") == direction


def test_a_table_is_filtered_by_words_of_any_row(wide: Any) -> None:
    data, rows = wide.locator("#i_exp .data"), report.read(GALLERY / "i_exp.csv")
    data.locator("input").fill("IBERT 0.05")
    found = [row for row in rows if row["dialect"] == "ibert" and any("0.05" in f"{v:.9g}" for v in row.values() if not isinstance(v, str))]
    assert 12 < len(found) < len(rows)
    assert data.locator(".count").text_content() == f"12 of {len(found)} rows that match, {len(rows):,} in all"
    data.locator(".more").click()
    assert column(data, 2) == [str(row["q"]) for row in found][:512]
    data.locator("input").fill("no such word")
    assert data.locator("tbody tr").count() == 0 and data.locator(".more").is_hidden()
    data.locator("input").fill("")
    assert data.locator(".count").text_content() == f"12 of {len(rows):,} rows"


def test_columns_are_explained_on_demand_and_in_print(wide: Any) -> None:
    explained = wide.locator("#i_gelu details")
    assert not explained.locator("dd").first.is_visible()
    explained.locator("summary").click()
    assert explained.locator("dd").count() == 8 and explained.locator("dd").first.is_visible()
    wide.emulate_media(media="print", color_scheme="dark")
    wide.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert wide.locator("details[open]").count() == wide.locator("details").count()
    assert not wide.locator("input").first.is_visible()
    text = wide.locator(".drawing svg text").first.evaluate("n => getComputedStyle(n).fill")
    assert contrast(text, "rgb(255, 255, 255)") > 7
