"""Counterparts of P²SAM's Tables 1 and 2 on real data: fine-tuned by the recipes, evaluated by ``adaptsam evaluate``.

    python Testing/tools/experiments/paper_tables.py 2 --data ../shared/data --output tables --set epochs=10
    python Testing/tools/experiments/paper_tables.py 1 --data ../shared/data --output tables --set epochs=10 --ablations

Table 2: Kvasir-SEG → the 22 sequences of CVC-ClinicDB that are there. Table 1: lung tumours of the Decathlon, by
patient → digital follow-ups of LUNG1-001, LUNG1-003, three more NSCLC cases and the phase of 4D-Lung.

What the bundled model held back from its own training validates the fine-tuning (``split.json``). The columns are the
original model, LoRA and full fine-tuning, the rows the paper's. The same command goes on where it was stopped; another
checkpoint or other settings want another --output. OUTPUT/tableN.md and .toml have the figures with 95 % intervals over
the cases, and the paper's beside them; every run's own report, with its worst cases, lies in OUTPUT/evaluated.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from real_cases import TUMOURS, Scan, msd_slice, unpack

from adaptsam.evaluation.published_results import published_tables
from adaptsam.pretrain.held_out import held_out

#: Rows of the paper's table: our method, the published row, its name here.
ROWS = (
    ("direct-transfer", "direct-transfer", "direct transfer"),
    ("persam", "persam", "PerSAM (n = 1)"),
    ("p2sam-t4-n-4-no-retrieval", None, "P²SAM, n = 4, no retrieval"),
    ("p2sam-t4-n-4-with-retrieval", "p2sam", "P²SAM, retrieval up to n = 4"),
)
ABLATIONS = ("table4", "table5")
#: Pixels that a tumour must have on a slice that is trained.
FEWEST_PIXELS = 30


@dataclass(frozen=True)
class PaperTable:
    """A table: recipes by column, the protocol that tests, and what makes the folders for both."""

    recipes: dict[str, str]
    protocol: str
    training: Callable[[Path, Path], list[str]]
    testing: Callable[[Path, Path], list[str]]


def kvasir(data: Path, output: Path) -> list[str]:
    """Kvasir-SEG as it lies there."""
    folder = data / "endo-kvasir-seg"
    names = sorted(path.stem for path in (folder / "images").glob("*.jpg"))
    write_split(output / "kvasir.json", "kvasir", names)
    return [f"dataset_dir={folder.resolve()}", f"split={output / 'kvasir.json'}"]


def lung_tumours(data: Path, output: Path) -> list[str]:
    """Slices of the Decathlon that show a tumour, in the papers' window, patient by patient."""
    folder = output / "decathlon"
    subjects = sorted(path for path in (data / "ct-lungtumour-msd").glob("Subject_*") if path.is_dir())
    for subject in subjects:
        if (folder / "images" / subject.name).is_dir():
            continue
        for part in ("images", "masks"):
            (folder / part / subject.name).mkdir(parents=True, exist_ok=True)
        for path in sorted((subject / "images").glob("*.png")):
            gray, mask = msd_slice(path)
            if mask.sum() >= FEWEST_PIXELS:
                Image.fromarray(gray).save(folder / "images" / subject.name / path.name)
                Image.fromarray(mask).save(folder / "masks" / subject.name / path.name)
    write_split(output / "decathlon.json", "msd-lung", [subject.name for subject in subjects])
    return [f"dataset_dir={folder.resolve()}", "dataset_kind=folder", f"split={output / 'decathlon.json'}"]


def write_split(path: Path, source: str, names: list[str]) -> None:
    out = [name for name in names if held_out(source, name)]
    parts = {"train": [name for name in names if name not in out], "validation": out, "test": []}
    path.write_text(json.dumps(parts, indent=1), encoding="utf-8")


def sequences(data: Path, output: Path) -> list[str]:
    """CVC-ClinicDB as it is downloaded, with the frames that are there."""
    folder = output / "CVC-ClinicDB"
    for part, title in (("images", "Original"), ("masks", "Ground Truth")):
        (folder / title).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / "endo-cvc-clinicdb").glob(f"seq*/{part}/*")):
            link = folder / title / f"{int(path.stem)}{path.suffix}"
            if not link.exists():
                link.symlink_to(path.resolve())
    return ["--data", str(folder)]


def scans(data: Path, output: Path) -> list[str]:
    """A list of scans with their tumours, of which follow-ups are made; archives are unpacked once."""
    entries = []
    for scan in TUMOURS:
        image, contours = (there(data, output, scan, place) for place in (scan.image, scan.contours))
        entry = {"name": scan.name.replace(" ", "-"), "prior_image": str(image), "prior_mask": str(contours)}
        names = scan.structures or ("GTV-1",)
        entries.append(entry | {"structures": list(names[:1]), "target_structure": names[0]})
    (output / "scans.json").write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return ["--data", str(output / "scans.json"), "--change", "medium"]


def there(data: Path, output: Path, scan: Scan, place: str) -> Path:
    path = (data / place).resolve()
    if path.suffix != ".zip":
        return path
    folder = output / "scans" / scan.name.replace(" ", "-")
    if not folder.is_dir():
        unpack(path, folder)
    return folder.resolve()


TABLES = {
    1: PaperTable({"LoRA": "nsclc_lora", "full": "nsclc_full"}, "followups-slices", lung_tumours, scans),
    2: PaperTable({"LoRA": "kvasir_lora", "full": "kvasir_full"}, "cvc-clinicdb", kvasir, sequences),
}


def trained(table: PaperTable, column: str, args: argparse.Namespace, given: list[str]) -> str | None:
    """The checkpoint of a column."""
    if column == "original":
        return args.checkpoint
    folder = args.output / "trained" / table.recipes[column]
    start = [f"checkpoint={Path(args.checkpoint).resolve()}"] if args.checkpoint else []
    adaptsam("train", table.recipes[column], *given, *start, f"output_dir={folder}", *args.set)
    return str(folder / "best.safetensors")


def evaluated(number: int, column: str, checkpoint: str | None, args: argparse.Namespace, given: list[str]) -> Path:
    """The table of one checkpoint, as CSV."""
    folder = args.output / "evaluated" / f"table{number}-{column}"
    methods = ",".join([*(row[0] for row in ROWS), *(ABLATIONS if args.ablations else ())])
    options = ["--checkpoint", checkpoint] if checkpoint else []
    adaptsam(
        *("evaluate", TABLES[number].protocol, *given, *options, "--methods", methods, "--output", str(folder)),
        *args.evaluate,
    )
    return folder / "results.csv"


def adaptsam(*words: str) -> None:
    print("adaptsam", *words, flush=True)
    subprocess.run([sys.executable, "-m", "adaptsam.cli", *words], check=True)


def read(path: Path) -> dict[str, str]:
    """Dice with its interval in percent, as printed, by the method's title."""
    with path.open(encoding="utf-8") as file:
        return {row["Method"]: row["Dice"] for row in csv.DictReader(file)}


def write(number: int, columns: dict[str, dict[str, str]], output: Path) -> str:
    """Both files; the table as Markdown is returned."""
    from adaptsam.evaluation.methods import make_methods

    published = published_tables()[f"p2sam-{number}"]
    titles = {method.name: method.title for method in make_methods([row[0] for row in ROWS])}
    shown = [(title, titles[method], published.rows.get(paper or "", ())) for method, paper, title in ROWS]
    known = {title for _, title, _ in shown}
    shown += [(title, title, ()) for title in next(iter(columns.values())) if title not in known]
    lines = ["| Dice, % | " + " | ".join([*columns, *(f"paper: {name}" for name in published.columns)]) + " |"]
    lines.append("|---" * (1 + len(columns) + len(published.columns)) + "|")
    toml = [f"[table{number}]", f"columns = {json.dumps([*columns])}", f"paper = {json.dumps(published.columns)}"]
    for title, method, paper in shown:
        cells = [figures.get(method, "–") for figures in columns.values()]
        beside = [str(value) for value in paper] or ["–"] * len(published.columns)
        lines.append(f"| {title} | " + " | ".join([*cells, *beside]) + " |")
        toml += ["", f"[[table{number}.rows]]", f"method = {json.dumps(title, ensure_ascii=False)}"]
        toml += [
            f"dice = {json.dumps(cells, ensure_ascii=False)}",
            f"published = {json.dumps(beside, ensure_ascii=False)}",
        ]
    text = "\n".join(lines) + "\n"
    (output / f"table{number}.md").write_text(text, encoding="utf-8")
    (output / f"table{number}.toml").write_text("\n".join(toml) + "\n", encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=int, choices=tuple(TABLES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkpoint", help="the original model; default: the bundled one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipes")
    parser.add_argument("--evaluate", action="append", default=[], metavar="OPTION", help="of adaptsam evaluate")
    parser.add_argument("--columns", default="original,LoRA,full", help="which, separated by commas")
    parser.add_argument("--ablations", action="store_true", help="the rows of Tables 4 and 5, too")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    table = TABLES[args.table]
    training, testing = table.training(args.data, args.output), table.testing(args.data, args.output)
    columns = {}
    for column in args.columns.split(","):
        checkpoint = trained(table, column, args, training)
        columns[column] = read(evaluated(args.table, column, checkpoint, args, testing))
        print(write(args.table, columns, args.output), flush=True)


if __name__ == "__main__":
    main()
