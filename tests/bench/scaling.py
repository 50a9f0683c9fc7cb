"""i-GELU against the size of a launch and against threads: times and memory, as figures beside the table of docs/benchmarks.md.

    python tests/bench/scaling.py docs/benchmarks

writes docs/benchmarks.png and .svg. Each point is measured in a process of its own, so that no one's memory is another's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

SIZES = tuple(10**i for i in range(3, 9))
SHOWN = 10**7
"""Elements of the launches that threads share, whose memory is measured, and that the titles speak of."""
LARGE = str(1 << 33)
"""Bytes: an allocator told so gives no memory back."""
SECONDS = 0.5
"""How long a point is measured, and at least three times."""
COPY, RUN, NUMPY, HAND, THEIRS = "copy of the same bytes", "refsim.run", "NumPy", "C by hand", "Hugging Face"
COLOURS = {COPY: "#888888", RUN: "#0072b2", NUMPY: "#56b4e9", HAND: "#009e73", THEIRS: "#d55e00"}

Point = dict[str, float]
"""Seconds, and bytes that a launch took besides its operands."""


def launch(who: str, size: int) -> Callable[[], Any]:
    """A launch of so many elements."""
    import numpy as np

    import refsim
    from refsim import compiled, verbs

    plan = refsim.plan("i_gelu", scale=2.0**-12, input_bits=17)
    q = (np.arange(size) % 60_000 - 30_000).astype(np.int32)
    if who == COPY:  # 4 bytes read and 8 written: a copy of 6 moves as many
        source, copied = np.ones(6 * size, np.uint8), np.empty(6 * size, np.uint8)
        return lambda: np.copyto(copied, source)
    if who == HAND:
        by_hand = refsim.target("c").i_gelu
        return lambda: by_hand(q, plan)
    if who == THEIRS:
        import torch
        from transformers.models.ibert import quant_modules as ibert

        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        module, s = ibert.IntGELU(quant_mode=True).eval(), torch.tensor([2.0**-12])
        x = torch.from_numpy(q).float() * s
        return lambda: module(x, s)
    compiled.WORTHWHILE = 0
    return lambda: (verbs if who == NUMPY else refsim).run(plan, q)


def memory(name: str) -> int:
    """Bytes that this process has, ``VmRSS``, or has had at most, ``VmHWM``."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def point(who: str, size: int) -> Point:
    """Measure one in this process."""
    called = launch(who, size)
    called()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the most that there was
    kept = called()
    most = memory("VmHWM") - before
    del kept
    seconds: list[float] = []
    while sum(seconds) < SECONDS or len(seconds) < 3:
        start = time.perf_counter()
        called()
        seconds.append(time.perf_counter() - start)
    return {"seconds": median(seconds), "bytes": max(most, 0)}


def apart(who: str, size: int, threads: int = 1, **environment: str) -> Point:
    """Measure one in a process of its own."""
    words = [sys.executable, __file__, "--one", who, str(size)]
    settings = {**os.environ, "REFSIM_THREADS": str(threads), **environment}
    done = subprocess.run(words, env=settings, capture_output=True, text=True, check=True)
    print(f"{who}, {size:,} elements, {threads} thread{'s' * (threads > 1)}", file=sys.stderr)
    return dict(json.loads(done.stdout))


def draw(points: dict[str, dict[int, Point]], threads: dict[int, Point], room: dict[str, Point], path: Path) -> None:
    """The figure, each title with what it shows."""
    from refsim.figures import matplotlib, write_figure

    library = matplotlib()
    from matplotlib.figure import Figure

    with library.rc_context({"svg.hashsalt": "refsim", "svg.fonttype": "none", "axes.titlesize": 10.5, "axes.titlelocation": "left"}):
        figure = Figure(figsize=(15, 4.8), layout="constrained", dpi=110)
        times, shared, bars = figure.subplots(1, 3)
        against_size(times, points)
        against_threads(shared, threads)
        of_memory(bars, room)
        for axes in (times, shared, bars):
            axes.spines[["top", "right"]].set_visible(False)
        for written in write_figure(path, figure):
            print(written)


def against_size(axes: Any, points: dict[str, dict[int, Point]]) -> None:
    for who, line in points.items():
        label = who
        style = {"color": COLOURS[who], "label": label, "marker": "o", "markersize": 4, "linestyle": "--" if who == COPY else "-"}
        axes.plot([*line], [1e9 * p["seconds"] / size for size, p in line.items()], **style)
    own = points[RUN][SHOWN]["seconds"]
    longer = {who: points[who][SHOWN]["seconds"] / own for who in (NUMPY, HAND, THEIRS)}
    axes.set(xscale="log", yscale="log", xlabel="elements of a launch", ylabel="nanoseconds an element")
    axes.set_title(
        f"10⁷ elements, compiled, take {1e9 * own / SHOWN:.1f} ns each; NumPy takes\n"
        f"{longer[NUMPY]:.1f} × as long, C by hand {longer[HAND]:.1f} ×, Hugging Face {longer[THEIRS]:.1f} ×"
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)


def against_threads(axes: Any, threads: dict[int, Point]) -> None:
    one, last = threads[1]["seconds"], max(threads)
    axes.plot([*threads], [one / p["seconds"] for p in threads.values()], color=COLOURS[RUN], marker="o", label=RUN)
    axes.plot([*threads], [*threads], color=COLOURS[COPY], linestyle="--", label="as many times as threads")
    axes.set(xlabel="threads (REFSIM_THREADS)", ylabel="times as fast as one thread", xticks=[*threads], ylim=(0, None))
    axes.set_title(f"{last} threads are {one / threads[last]['seconds']:.1f} times as fast as one\n(10⁷ elements of i-GELU)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def of_memory(axes: Any, room: dict[str, Point]) -> None:
    each = {who: p["bytes"] / SHOWN for who, p in room.items()}
    drawn = axes.barh([*each], [*each.values()], color=[COLOURS[who] for who in each], height=0.6)
    axes.bar_label(drawn, fmt="%.0f", padding=4)
    axes.invert_yaxis()
    axes.set(xlabel="bytes an element at most, besides the operand")
    axes.set_title(
        f"10⁷ elements, compiled, need {each[RUN]:.0f} bytes each, their\n"
        f"result; C by hand {each[HAND]:.0f}, Hugging Face {each[THEIRS]:.0f}"
    )


def main() -> None:
    if sys.argv[1] == "--one":
        print(json.dumps(point(sys.argv[2], int(sys.argv[3]))))
        return
    tuned = {"MALLOC_MMAP_THRESHOLD_": LARGE, "MALLOC_TRIM_THRESHOLD_": LARGE}
    points = {who: {size: apart(who, size, **tuned) for size in SIZES} for who in COLOURS}
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, cores, *(1 << i for i in range(1, cores.bit_length()) if 1 << i < cores)})
    threads = {count: apart(RUN, SHOWN, count, **tuned) for count in counts}
    room = {who: apart(who, SHOWN) for who in (RUN, NUMPY, HAND, THEIRS)}
    draw(points, threads, room, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
