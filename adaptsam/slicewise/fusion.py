"""One answer from three witnesses: the registered contour, the method's mask, and the tissue's look (``appearance``).

All three speak in log-odds that a pixel belongs to the structure:

    registration   of (1 − change) · Φ(−distance / error) + change / 2: a contour that is wrong by ``error_mm``, on
                   tissue of which a share ``change`` is not what it was; what both are on a target, pixel by pixel,
                   its own image tells (``misfit``): where it shows what the registered prior shows, they are near 0
    method         its logits, within ±LIMIT
    appearance     the vote of the prior's patches

The method's and the appearance's weights are not negative and make the truth of the prior's own slices most likely,
when each is segmented from a neighbouring one whose contour is moved by ``error_mm`` (logistic regression with the
registration's log-odds as offset). So it is known before any target is seen how much a model is to be listened to.
The prior's slices hold no replaced tissue, though: where a target does, the appearance weighs up to ``largest_weight``,
in the mask and in what supports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from scipy.special import expit, logit

from adaptsam.image.cropping import UNSEEN, View
from adaptsam.image.windowing import Window
from adaptsam.slicewise.acceptance import choose_pairs
from adaptsam.slicewise.prior_contour import DistanceField, PriorContour
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.slicewise.slice_method import SliceJob, SliceMethod
from adaptsam.slicewise.tissue_appearance import SUREST, voted
from adaptsam.slicewise.volume_settings import AcceptanceSettings, FusionSettings

#: The method's logits count up to here.
LIMIT = 8.0

#: Pixels of one slice that the weights are fitted to, at most.
PIXELS = 3000

#: A standard logistic is nearly a normal distribution of 1 / this.
LOGISTIC = 1.702


@dataclass(frozen=True)
class Weights:
    """Weights of method and appearance beside the registration, whose weight is 1."""

    method: float = 0.0
    appearance: float = 0.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence at some pixels, arrays of one shape: mm from the registered contour, and two log-odds."""

    distance: np.ndarray
    method: np.ndarray
    appearance: np.ndarray


def fuse(
    evidence: Evidence,
    weights: Weights,
    error_mm: float | np.ndarray,
    change: float | np.ndarray,
    appearance: float | np.ndarray | None = None,
) -> np.ndarray:
    """The log-odds (h, w) that each pixel belongs to the structure.

    Error, change and another weight of the ``appearance`` are for all pixels or one each.
    """
    prior = registration_odds(evidence.distance, error_mm, change)
    heard = weights.appearance if appearance is None else appearance
    return np.asarray(prior + weights.method * evidence.method + heard * evidence.appearance)


@dataclass(frozen=True, eq=False)
class Fused:
    """The log-odds (H, W) of a slice, and of the mask where they are positive two things.

    ``support`` is how much the image itself is for it, ``expected_dice`` what it promises if the registered contour is
    no better than usual: where images agree, the odds are surer than that, and too sure to sort slices by.
    ``empty_dice`` is the same for a mask that is left empty.
    """

    odds: np.ndarray
    support: float
    expected_dice: float
    empty_dice: float = float("nan")


def support(
    evidence: Evidence, weights: Weights, mask: np.ndarray, appearance: float | np.ndarray | None = None
) -> float:
    """Support of method and appearance for a mask (h, w), without the registration, −1 to 1; below 0 they deny it.

    The mean of their weighted log-odds, as a share of the largest that the weights allow. As for :func:`fuse`, the
    ``appearance`` may have another weight, for all pixels or one each: what drew a mask speaks for it.
    """
    heard = np.broadcast_to(weights.appearance if appearance is None else appearance, mask.shape)[mask]
    largest = float(np.sum(weights.method * LIMIT + heard * SUREST))
    if largest == 0:
        return float("-inf")
    return float(np.sum(weights.method * evidence.method[mask] + heard * evidence.appearance[mask])) / largest


def registration_odds(distance: np.ndarray, error_mm: float | np.ndarray, change: float | np.ndarray) -> np.ndarray:
    """Log-odds of the registered contour alone, for signed distances in mm, of any shape."""
    return np.asarray(logit((1 - change) * expit(-LOGISTIC * distance / error_mm) + change / 2))


def method_odds(logits: np.ndarray) -> np.ndarray:
    """The method's logits, of any shape, as evidence: nothing where its view did not reach."""
    return np.where(logits <= UNSEEN, 0.0, np.clip(logits, -LIMIT, LIMIT))


def expected_dice(odds: np.ndarray, mask: np.ndarray) -> float:
    """The Dice that a mask (h, w) has with the truth, if these log-odds (h, w) are right.

    An empty mask has a Dice of 1 with an empty truth, and of 0 with any other: the likeliest pixel tells how likely.
    """
    probability = expit(odds)
    if not mask.any():
        return 1.0 - float(probability.max(initial=0.0))
    return 2 * float(probability[mask].sum()) / float(probability.sum() + mask.sum())


def fit(
    evidence: Sequence[Evidence], truth: Sequence[np.ndarray], settings: FusionSettings, error_mm: float
) -> Weights:
    """The weights under which the truth, bool (h, w), of some slices is most likely; 0 without any."""
    if not evidence:
        return Weights()
    offset = np.concatenate([registration_odds(one.distance, error_mm, settings.change).ravel() for one in evidence])
    terms = np.stack(
        [np.concatenate([getattr(one, name).ravel() for one in evidence]) for name in ("method", "appearance")]
    )
    signs = np.where(np.concatenate([one.ravel() for one in truth]), 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (offset + weights @ terms)
        gradient = -(terms * (signs * expit(-margin))).mean(axis=1)
        return float(np.logaddexp(0.0, -margin).mean()), gradient

    bounds = [(0.0, settings.largest_weight), (0.0, settings.largest_weight if settings.appearance else 0.0)]
    found = minimize(loss, np.zeros(2), jac=True, bounds=bounds, method="L-BFGS-B").x
    return Weights(float(found[0]), float(found[1]))


@dataclass(frozen=True, eq=False)
class PriorSlices:
    """A structure's usable prior slices as the method sees them, to try the method on."""

    contour: PriorContour
    field: DistanceField
    images: SliceImages
    window: Window
    view: Callable[[int], View]
    usable: tuple[int, ...]


def calibrate_fusion(
    method: SliceMethod,
    prior: PriorSlices,
    settings: FusionSettings,
    pairs: AcceptanceSettings,
    error_mm: float,
    margin_mm: float,
) -> Weights:
    """The weights for one structure, from pairs of its prior slices; 0 with fewer than two usable ones."""
    chosen = choose_pairs(prior.usable, prior.images.geometry.spacing[2], replace(pairs, pairs=settings.pairs))
    evidence, truth = [], []
    for place, (a, b) in enumerate(chosen):
        for one, there in _witnesses(method, prior, (a, b), place, settings, error_mm, margin_mm):
            evidence.append(one)
            truth.append(there)
    return fit(evidence, truth, settings, error_mm)


def _witnesses(
    method: SliceMethod,
    prior: PriorSlices,
    pair: tuple[int, int],
    place: int,
    settings: FusionSettings,
    error_mm: float,
    margin_mm: float,
) -> list[tuple[Evidence, np.ndarray]]:
    """Slice ``pair[1]`` told from ``pair[0]``, whose contour is moved twice, in opposite directions."""
    a, b = pair
    views = [prior.view(k) for k in pair]
    images = [prior.images.image(k, view, prior.window) for k, view in zip(pair, views, strict=True)]
    box = prior.contour.around(margin_mm)
    region = np.zeros(prior.images.in_plane, bool)
    region[box] = _distance(prior, a, box, (0.0, 0.0)) <= margin_mm
    mask = views[0].mask(prior.contour.mask[a])
    (result,) = method.segment([SliceJob(prior.contour.name, images[0], mask, images[1], views[1].mask(region))])
    logits = np.zeros(prior.images.in_plane) if result is None else views[1].restore(result.logits, region.shape)
    target = prior.window.gray(prior.images.volume.array[b][box])
    before = prior.window.gray(prior.images.volume.array[a])
    told = []
    for sign in (1.0, -1.0):
        angle = 2.4 * place  # the golden angle, so that all directions occur
        shift = (sign * error_mm * float(np.cos(angle)), sign * error_mm * float(np.sin(angle)))
        distance = _distance(prior, a, box, shift)
        seen = _moved(before, box, shift, prior.images.pixel)
        look = look_alike(target, seen, distance, prior.images.pixel, settings.search_mm)
        near = np.flatnonzero(np.abs(distance) <= margin_mm)
        near = near[:: max(1, len(near) // PIXELS)]
        one = Evidence(distance.ravel()[near], method_odds(logits[box]).ravel()[near], look.ravel()[near])
        told.append((one, prior.contour.mask[b][box].ravel()[near]))
    return told


def look_alike(
    target: np.ndarray, prior: np.ndarray, distance: np.ndarray, pixel: tuple[float, float], search_mm: float
) -> np.ndarray:
    """The appearance's log-odds (h, w) for gray values of target and registered prior and signed distances in mm."""
    return look_known(target, prior, distance, pixel, search_mm)[0]


def look_known(
    target: np.ndarray, prior: np.ndarray, distance: np.ndarray, pixel: tuple[float, float], search_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (h, w) of :func:`look_alike`, and the likeness (h, w) of the most alike patch, 0 to 1."""
    return voted(target.astype(np.float32), prior.astype(np.float32), _inside(distance), pixel, search_mm)


def _inside(distance: np.ndarray) -> np.ndarray:
    """Share of a pixel at a signed distance that is structure: a millimetre's ramp."""
    return np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)


def _distance(prior: PriorSlices, k: int, box: tuple[slice, slice], shift: tuple[float, float]) -> np.ndarray:
    """Signed distances in mm to the contour on prior slice ``k`` after a shift (x, y) in mm, within ``box``."""
    j, i = np.mgrid[box].astype(float)
    width, height = prior.images.pixel
    index = np.stack([i - shift[0] / width, j - shift[1] / height, np.full_like(i, k)], axis=-1)
    return prior.field.sample(index)[0]


def _moved(
    image: np.ndarray, box: tuple[slice, slice], shift: tuple[float, float], pixel: tuple[float, float]
) -> np.ndarray:
    """A gray image after a shift (x, y) in mm, within ``box``, float32."""
    j, i = np.mgrid[box].astype(float)
    at = [j - shift[1] / pixel[1], i - shift[0] / pixel[0]]
    return np.asarray(ndimage.map_coordinates(image.astype(np.float32), at, order=1, mode="nearest"))
