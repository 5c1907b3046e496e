"""Thousands of damaged and hostile files for every reader: none may do harm, and each refusal is one sentence.

    python Testing/tools/experiments/fuzz.py                        every reader, 2,000 files each
    python Testing/tools/experiments/fuzz.py --only dicom --cases 300
    python Testing/tools/experiments/fuzz.py --only nrrd --case 1234  one of them again

A finding is: an exception that is none of ours, another exit code, a message that is not one sentence or names a
patient, more than 10 seconds, more than 2 GB, a process started, a connection, a file written or read beside the case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

# This checkout, whatever is installed.
sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (3, 2)]

from faults.readers import READERS  # noqa: E402
from faults.sandbox import Outcome, as_line, examine  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=READERS, help="a reader; repeat for more; default: all")
    parser.add_argument("--cases", type=int, default=2000, help="how many files for each; default: 2000")
    parser.add_argument("--first", type=int, default=0, help="the number of the first; default: 0")
    parser.add_argument("--case", type=int, help="this one alone, and all that it said")
    parser.add_argument("--log", type=Path, help="a file for one line of JSON a case")
    args = parser.parse_args()
    findings = 0
    log = args.log.open("w", encoding="utf-8") if args.log else None
    for name in args.only or READERS:
        cases = [args.case] if args.case is not None else range(args.first, args.first + args.cases)
        start, outcomes = time.monotonic(), []
        for outcome in examine(READERS[name], cases):
            outcomes.append(outcome)
            if log:
                print(as_line(outcome), file=log, flush=True)
            if args.case is not None:
                print(outcome)
        findings += _tell(name, outcomes, time.monotonic() - start)
    return 1 if findings else 0


def _tell(name: str, outcomes: list[Outcome], seconds: float) -> int:
    """One line of figures, and one for each kind of finding; returns how many findings there were."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    slowest, largest = max(o.seconds for o in outcomes), max(o.peak_mb for o in outcomes)
    found = [outcome for outcome in outcomes if outcome.is_finding]
    print(
        f"{name:12} {len(outcomes):6} files: {kinds['read']:5} read, {kinds['refused']:5} refused, "
        f"{len(found):4} findings; slowest {slowest:.1f} s, most memory {largest:.0f} MB; {seconds:.0f} s in all",
        flush=True,
    )
    alike: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found:
        alike.setdefault((outcome.kind, outcome.told[:60]), []).append(outcome)
    for (kind, _), ones in sorted(alike.items(), key=lambda item: -len(item[1]))[:40]:
        first = ones[0]
        print(
            f"    {len(ones):4} × {kind}, first case {first.case} ({first.made}): {first.told.strip()[:200]!r}",
            flush=True,
        )
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
