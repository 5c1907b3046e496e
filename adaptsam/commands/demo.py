"""``adaptsam demo``: a synthetic patient from DICOM to contours on the second visit, a report and figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptsam.commands.command_parser import section
from adaptsam.commands.console import (
    ProgressBars,
    add_model_options,
    add_output_options,
    load_model,
    print_json,
    print_table,
)

DESCRIPTION = """\
The whole way on a synthetic patient, for which every true contour is known:
DICOM and RTSTRUCT of two visits on disk → read → the first visit's contours carried to the second → RTSTRUCT,
.seg.nrrd, a report that opens off line, and how well the result agrees with the truth.

  adaptsam demo --output demo
  adaptsam demo --output demo_7 --seed 7 --checkpoint sam_vit_b_01ec64.pth
"""
NOTE = "A synthetic patient. White contours are the truth; the model saw only those of the first visit."


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="try everything on a synthetic patient",
        description=DESCRIPTION,
    )
    section(parser, "inputs").add_argument("--seed", type=int, default=0, help="the patient; default: 0")
    add_model_options(parser)
    add_output_options(parser, "the patient and the results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from adaptsam.commands.phantom import write_patient
    from adaptsam.commands.result_files import default_formats, planned_files, table_rows, write_results
    from adaptsam.io import read_structures, read_volume
    from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
    from adaptsam.report.volume_report import Visit, measured
    from adaptsam.storage import staged_output
    from adaptsam.synthetic.thorax_phantom import phantom_visits

    model = load_model(args)
    settings = PropagationSettings()
    planned = [*planned_files([("rtstruct", "seg.nrrd")]), "patient/visit-1/rtstruct.dcm"]
    with staged_output(args.output, planned, overwrite=args.overwrite) as stage, ProgressBars(args.quiet) as progress:
        patient = phantom_visits(args.seed, visits=2, progress=progress)
        first, second = write_patient(stage / "patient", patient)
        prior, target = read_volume(first / "ct"), read_volume(second / "ct")
        structures = read_structures(first / "rtstruct.dcm", prior)
        truth = read_structures(second / "rtstruct.dcm", target)
        [propagation] = propagate(prior, structures, [target], model=model, settings=settings, progress=progress)
        visit = measured(Visit("Visit 2", target, propagation), prior, structures, truth)
        results = write_results(
            stage,
            prior,
            structures,
            [visit],
            formats=default_formats(target),
            model=model,
            settings=settings,
            note=NOTE,
        )
    if args.json:
        print_json(results.summary | {"output": args.output.resolve(), "seed": args.seed})
        return
    print_table(table_rows(visit), f"Synthetic patient {args.seed}: visit 1 carried to visit 2 ({model.kind} model)")
    print("".join(f"  ! {warning}\n" for warning in propagation.warnings), end="")
    print("Dice, rigid: of the first visit's contours, moved by registration alone.")
    _say_where(args.output)


def _say_where(output: Path) -> None:
    print(f"\nReport:    {output / 'report.html'}")
    print(f"Contours:  {output / 'target-1.rtstruct.dcm'} and {output / 'target-1.seg.nrrd'}")
    print(f"Patient:   {output / 'patient'}")
    print("For research use only, not approved by a clinician.")
