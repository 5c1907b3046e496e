"""Draw where the seconds of two propagations went, side by side, from what py-spy sampled.

    py-spy record --rate 25 --format raw --output before.raw -- adaptsam propagate …
    py-spy record --rate 25 --format raw --output after.raw -- adaptsam propagate …
    python Testing/tools/docs/draw_profile.py --rate 25 before.raw after.raw --output docs/images/profile.png

A bar is as long as the seconds in which a thread of Python was at work on a part; two threads at once count twice.
Threads that a library has of its own do not count.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

#: Parts, and what names them in a stack; the first that is found counts.
PARTS = {
    "registration": ("(adaptsam/registration/registration_cache.py",),
    "k-means of parts": ("part_labels (",),
    "similarity maps, points": ("make_prompts (",),
    "image encoder": ("EmbeddingStore.get (",),
    "mask decoder": ("SamModel.decode (",),
    "transports, retrieval": ("(adaptsam/p2sam/",),
    "registered contour": ("Location.on_slice (", "Location.distance_at (", "RegisteredTarget.locate ("),
    "look of the tissue, fusion": ("(adaptsam/slicewise/slice_evidence.py", "(adaptsam/slicewise/fusion.py"),
    "report": ("_section (adaptsam/report", "_draw (adaptsam/report", "_viewer (adaptsam/report"),
    "reading": ("read_volume (", "read_structures (", "ImageSource.read ("),
    "imports": ("<module> (adaptsam/sam", "<module> (adaptsam/propagation", "_find_and_load ("),
}
OTHER = "all else"


def part_of(stack: str) -> str:
    if stack.count("<module>") > 1 and "_segment" not in stack and "PriorVisit" not in stack:
        return "imports"
    return next((part for part, words in PARTS.items() if any(word in stack for word in words)), OTHER)


def seconds(path: Path, rate: float) -> Counter[str]:
    """Seconds by part."""
    found: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        stack, samples = line.rsplit(" ", 1)
        # A thread that waits for the others does no work.
        if "SideBySide.each" not in stack:
            found[part_of(stack)] += int(samples) / rate
    return found


def draw(profiles: dict[str, Counter[str]], output: Path) -> None:
    order = [part for part in (*PARTS, OTHER) if any(profile[part] for profile in profiles.values())]
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    height = 0.8 / len(profiles)
    for row, (name, profile) in enumerate(profiles.items()):
        places = [n + (row - (len(profiles) - 1) / 2) * height for n in range(len(order))]
        bars = axes.barh(places, [profile[part] for part in order], height, label=f"{name}: {profile.total():.0f} s")
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axes.set_yticks(range(len(order)), order)
    axes.invert_yaxis()
    axes.set_xlabel("seconds of Python's threads")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(output, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path, nargs="+", help="files that py-spy wrote in its raw format")
    parser.add_argument("--rate", type=float, default=25.0, help="samples a second")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    profiles = {path.stem: seconds(path, args.rate) for path in args.samples}
    for name, profile in profiles.items():
        print(name, {part: round(value, 1) for part, value in profile.most_common()})
    draw(profiles, args.output)


if __name__ == "__main__":
    main()
