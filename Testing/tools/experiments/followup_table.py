"""Tables of what against_registration.py measured: Dice, HD95, the gap in volume that is closed, tests, calibration.

    python Testing/tools/experiments/followup_table.py rivals.jsonl hearts.jsonl --picture calibration.svg

Tests are Wilcoxon's signed-rank test of the default's Dice against each other method's, two-sided, over pairs and
structures; those of one scan are not independent of each other. The gap is what the deformable contour's volume misses
of the true one; 1 minus the default's share of it is closed. The picture has one point a scan and bin of confidence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr, wilcoxon

ORDER = ("copied", "rigid", "registration", "syn", "default", "observer")
DEFAULT, DEFORMABLE = "default", "registration"
#: Cubic centimetres of the prior's contour below which a lesion is small.
SMALL_CM3 = 15.0
#: A slice below this Dice should have been looked at.
BAD = 0.7
Records = Sequence[dict[str, Any]]


def by_unit(records: Records) -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
    """Kind, pair and structure → method → record."""
    units: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for one in records:
        units.setdefault((one["kind"], one["pair"], one["structure"]), {})[one["method"]] = one
    return units


def print_units(records: Records) -> None:
    """Dice / HD95 of every unit, a column a method, and the volumes."""
    for (_, pair, structure), methods in by_unit(records).items():
        cells = "".join(f"{_agreement(methods.get(name)):>16s}" for name in ORDER if name != "observer")
        told = methods.get(DEFAULT, {}).get("status", "")
        volumes = " ".join(f"{methods[name]['volume']:.1f}" for name in (DEFORMABLE, DEFAULT) if name in methods)
        true = next(iter(methods.values()))["reference_volume"]
        print(f"{pair[:40]:40s} {structure[:16]:16s}{cells}  cm³ {volumes} (true {true:.1f}) {told}")


def print_means(records: Records) -> None:
    """Means by kind, with the paired tests of the default."""
    kinds = list(dict.fromkeys(one["kind"] for one in records))
    for kind in [*kinds, *(["tumour"] if any(name.startswith("tumour") for name in kinds) else [])]:
        chosen = [m for (name, _, _), m in by_unit(records).items() if name.startswith(kind)]
        _print_kind(kind, chosen)


def _print_kind(kind: str, units: Sequence[dict[str, dict[str, Any]]]) -> None:
    print(f"\n{kind}: {len(units)} structures")
    for name in ORDER:
        there = [m for m in units if name in m]
        if not there:
            continue
        dice = np.array([m[name]["dice"] for m in there])
        far = [m[name]["hausdorff_95"] for m in there if m[name]["hausdorff_95"] is not None]
        cpu = np.median([m[name]["cpu"] / m[name]["structures"] for m in there])
        line = f"  {name:14s} Dice {dice.mean():.3f}  HD95 {np.mean(far):5.1f} mm  {cpu:5.1f} CPU s a structure"
        both = [(m[DEFAULT]["dice"], m[name]["dice"]) for m in there if DEFAULT in m and name != DEFAULT]
        print(line + _tested(both))
    if kind.startswith("tumour"):
        _print_gap(units)


def _tested(pairs: Sequence[tuple[float, float]]) -> str:
    if len(pairs) < 2:
        return ""
    ours, theirs = np.array(pairs).T
    p = wilcoxon(ours, theirs).pvalue if (ours != theirs).any() else 1.0
    better, worse = int((ours > theirs).sum()), int((ours < theirs).sum())
    return f"  default better on {better} of {len(pairs)}, worse on {worse}, p = {p:.3f}"


def _print_gap(units: Sequence[dict[str, dict[str, Any]]]) -> None:
    both = [m for m in units if DEFAULT in m and DEFORMABLE in m]
    small = [m for m in both if max(m["copied"]["volume"], 0.0) < SMALL_CM3]
    for title, chosen in (("all", both), (f"below {SMALL_CM3:g} cm³", small)):
        left = np.array(
            [[abs(m[n]["volume"] - m[n]["reference_volume"]) for n in (DEFORMABLE, DEFAULT)] for m in chosen]
        )
        if len(left):
            share = 1 - left[:, 1] / np.maximum(left[:, 0], 1e-6)
            print(
                f"  gap closed, {title}: {1 - left[:, 1].sum() / left[:, 0].sum():.0%} of the sum, median "
                f"{np.median(share):.0%}, at least 40 % on {int((share >= 0.4).sum())} of {len(share)}"
            )


def _agreement(one: dict[str, Any] | None) -> str:
    if one is None:
        return "–"
    far = "–" if one["hausdorff_95"] is None else f"{one['hausdorff_95']:.1f}"
    return f"{one['dice']:.3f} / {far}"


def print_calibration(records: Records) -> None:
    """Expected minus real, by kind and over all, for slices that are drawn and for empty ones."""
    told = [one for one in records if one["method"] == DEFAULT and one.get("slices")]
    print(
        "\nconfidence: slices, mean confidence minus Dice (drawn) or share of truly empty (empty), AUC for Dice < 0.7"
    )
    for kind in [*dict.fromkeys(one["kind"] for one in told), ""]:
        slices = [s | {"scan": one["pair"]} for one in told if one["kind"].startswith(kind) for s in one["slices"]]
        drawn = [s for s in slices if s["drawn"]]
        empty = [s for s in slices if not s["drawn"]]
        wrong = [s for s in empty if s["true"]]
        by_scan = [abs(_off([s for s in drawn if s["scan"] == scan])) for scan in {s["scan"] for s in drawn}]
        print(
            f"  {kind or 'all':16s} drawn {len(drawn):4d} {_off(drawn):+.3f} (by pair |{np.mean(by_scan):.3f}|), "
            f"AUC {area([s['confidence'] for s in drawn], [s['dice'] < BAD for s in drawn]):.2f}, rank "
            f"{_rank(drawn):.2f}; empty {len(empty):3d} {_off(empty):+.3f}, wrongly {len(wrong)}, of these listed "
            f"{sum(s['listed'] for s in wrong)}"
        )


def _real(one: dict[str, Any]) -> float:
    return one["dice"] if one["drawn"] else float(not one["true"])


def _off(slices: Records) -> float:
    return float(np.mean([one["confidence"] - _real(one) for one in slices])) if slices else float("nan")


def _rank(slices: Records) -> float:
    pairs = [(one["confidence"], one["dice"]) for one in slices]
    return float(spearmanr(*np.array(pairs).T).statistic) if len(pairs) > 2 else float("nan")


def area(confidence: Sequence[float], bad: Sequence[bool]) -> float:
    """Area under the curve: how often a bad slice lies below a good one; NaN where there is but one sort."""
    sure, low = np.asarray(confidence, float), np.asarray(bad, bool)
    if not low.any() or low.all():
        return float("nan")
    worse, better = sure[low][:, None], sure[~low][None]
    return float((worse < better).mean() + 0.5 * (worse == better).mean())


def draw(records: Records, path: Path) -> None:
    """Mean Dice over mean confidence of drawn slices, share of truly empty ones over that of empty ones, by scan."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    told = [one for one in records if one["method"] == DEFAULT and one.get("slices")]
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.4), sharex=True, sharey=True)
    families = list(dict.fromkeys(family(one) for one in told))
    for axis, drawn, title in ((axes[0], True, "slices that are drawn"), (axes[1], False, "slices left empty")):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for number, name in enumerate(families):
            points = []
            for one in (one for one in told if family(one) == name):
                slices = [s for s in one["slices"] if s["drawn"] == drawn]
                if slices:
                    real = np.mean([_real(s) for s in slices])
                    points.append((np.mean([s["confidence"] for s in slices]), real, len(slices)))
            if points:
                x, y, size = np.array(points).T
                axis.scatter(x, y, s=6 + 2 * size, alpha=0.6, label=name, color=f"C{number}", linewidths=0)
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean confidence", title=title, aspect="equal")
    axes[0].set_ylabel("mean Dice")
    axes[1].set_ylabel("share that is truly empty")
    axes[1].yaxis.set_tick_params(labelleft=True)
    for handle in axes[0].legend(fontsize=8, loc="upper left", frameon=False).legend_handles:
        handle.set_sizes([24])
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def family(one: dict[str, Any]) -> str:
    """What a colour stands for: the kind without its degree."""
    return str(one["kind"]).partition(",")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    records = [json.loads(line) for path in args.records for line in path.read_text().splitlines()]
    print_units(records)
    print_means(records)
    print_calibration(records)
    if args.picture:
        draw(records, args.picture)


if __name__ == "__main__":
    main()
