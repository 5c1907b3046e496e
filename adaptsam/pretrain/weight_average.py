"""The average of two states of one model: ``python -m adaptsam.pretrain.weight_average --help``.

A model and what a further training made of it lie in one valley of the loss; the weights between them are often better
than either on images of other kinds (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptsam.errors import AdaptSAMError, InputError
from adaptsam.sam import SamModel, load_sam, save_checkpoint


def average_weights(former: SamModel, later: SamModel, share: float) -> SamModel:
    """Move the weights of ``former`` by ``share`` (0 to 1) of the way to those of ``later``, in place; return it.

    Raises:
        InputError: the share is beyond 0 to 1, or the models have different shapes.
    """
    if not 0 <= share <= 1:
        raise InputError(f"The share of the later model must lie between 0 and 1, but is {share}.")
    before, after = former.sam.state_dict(), later.sam.state_dict()
    if former.config != later.config or {k: v.shape for k, v in before.items()} != {
        k: v.shape for k, v in after.items()
    }:
        raise InputError(f"A {former.kind} and a {later.kind} of other shapes have no average; give two states of one.")
    mixed = {name: one.lerp(after[name], share) if one.is_floating_point() else one for name, one in before.items()}
    former.sam.load_state_dict(mixed)
    return former


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("former", type=Path)
    parser.add_argument("later", type=Path, help="what a further training made of it")
    parser.add_argument("--share", type=float, default=0.5, help="of the later one")
    parser.add_argument("--images", type=int, required=True, help="images that the later one has seen in all")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    try:
        former, later = load_sam(args.former, "cpu"), load_sam(args.later, "cpu")
        model = average_weights(former, later, args.share)
        metadata = {"images_seen": args.images, "share_of_later": args.share}
        save_checkpoint(args.output, model.sam, model.config, kind=model.kind, metadata=metadata)
    except AdaptSAMError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
