"""The environment for anybody's reinforcement learning library: Gymnasium's interface, for one image or for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptsam.alignsam.alignsam_settings import EnvironmentSettings
from adaptsam.alignsam.environment import AgentImage, Environment, Scorer
from adaptsam.alignsam.segmenter import Encoder, Session
from adaptsam.errors import InputError, NotInstalledError

try:
    import gymnasium
    from gymnasium.spaces import Box, Discrete, MultiDiscrete
    from gymnasium.utils.seeding import np_random
    from gymnasium.vector import AutoresetMode
    from gymnasium.vector.utils import batch_space
except ModuleNotFoundError as error:
    raise NotInstalledError("This interface needs Gymnasium; run: pip install 'adaptsam[align]'.") from error


#: Where the first pair of points may come from.
_FIRST = ("truth", "scorer", "none")


class AlignEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One image. The observation is s_t of Eq. 4, float32 (c, h, w); an action is the number of a patch.

    ``info`` holds "points" (n, 2) as x, y in pixels, "labels" (n,), "iou" at the decoder's resolution, and
    "action_mask" int8 (N,), the actions that are available.

    Args:
        model: frozen.
        case: the image with its truth.
        settings: the actions and the number of steps.
        scorer: labels the chosen points; None calls every point foreground.
        session: makes the segmenter; None for the model's own decoder.

    Raises:
        InputError: there is no truth.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        model: Encoder,
        case: AgentImage,
        settings: EnvironmentSettings | None = None,
        *,
        scorer: Scorer | None = None,
        session: Session | None = None,
    ) -> None:
        self._environment = _with_truth(model, [case], settings, scorer, session)
        self.observation_space = _observations(model)
        self.action_space = Discrete(len(self._environment.actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin anew.

        Args:
            seed: of the first pair, an int of Python's or NumPy's; None goes on from the last one.
            options: ``{"first": …}``: "truth", the default, takes the first pair at random from the truth, "scorer"
                takes it as on a new image, and "none" begins without a point; the "iou" is 0 then.

        Raises:
            InputError: there is no such option, or a first pair by a scorer that was not given.
        """
        super().reset(seed=None if seed is None else int(seed))
        _reset(self._environment, [self.np_random], options)
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        step = self._environment.step(np.array([action]))
        assert step.rewards is not None
        return self._observation(), float(step.rewards[0]), False, step.truncated, self._info()

    def _observation(self) -> NDArray[np.float32]:
        return self._environment.state.product[0].cpu().numpy()

    def _info(self) -> dict[str, Any]:
        return {name: values[0] for name, values in _info(self._environment).items()}


class AlignVectorEnv(gymnasium.vector.VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Several images, decoded together. All episodes are equally long; call ``reset`` after T steps.

    With ``reset(seed=s)`` image number i plays as :class:`AlignEnv` does with the seed s + i.
    Arguments, observations and ``info`` are those of :class:`AlignEnv`, with one row for each image.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        model: Encoder,
        cases: Sequence[AgentImage],
        settings: EnvironmentSettings | None = None,
        *,
        scorer: Scorer | None = None,
        session: Session | None = None,
    ) -> None:
        self._environment = _with_truth(model, cases, settings, scorer, session)
        self.num_envs = len(cases)
        self.single_observation_space = _observations(model)
        self.single_action_space = Discrete(len(self._environment.actions))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = MultiDiscrete([len(self._environment.actions)] * self.num_envs)
        self._randoms = [np_random()[0] for _ in cases]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Reset all images; see :meth:`AlignEnv.reset`.

        Args:
            seed: one whole number s, for s, s + 1, …, or one for each image, None leaving that image's as it was.
            options: as there. Gymnasium's "reset_mask" must be true for all, since all episodes end together.
        """
        if seed is not None:
            seeds = (
                [int(seed) + row for row in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
            )
            if len(seeds) != self.num_envs:
                raise InputError(f"{len(seeds)} seeds were given for {self.num_envs} images; give one to each.")
            pairs = zip(seeds, self._randoms, strict=True)
            self._randoms = [old if one is None else np_random(int(one))[0] for one, old in pairs]
        rest = dict(options or {})
        if not np.all(rest.pop("reset_mask", True)):
            raise InputError("All images begin together; give a 'reset_mask' that is true for all, or none.")
        _reset(self._environment, self._randoms, rest)
        return self._observation(), _info(self._environment)

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        step = self._environment.step(actions)
        assert step.rewards is not None
        nothing, truncated = np.zeros(self.num_envs, bool), np.full(self.num_envs, step.truncated)
        return self._observation(), step.rewards.cpu().numpy(), nothing, truncated, _info(self._environment)

    def _observation(self) -> NDArray[np.float32]:
        return self._environment.state.product.cpu().numpy()


def _reset(environment: Environment, randoms: Sequence[np.random.Generator], options: Mapping[str, Any] | None) -> None:
    rest = dict(options or {})
    first = rest.pop("first", "truth")
    if rest:
        raise InputError(f"reset knows no option {sorted(rest)[0]!r}, only 'first'.")
    if first not in _FIRST:
        raise InputError(f"The option 'first' of reset is one of {', '.join(_FIRST)}, not {str(first)[:40]!r}.")
    environment.reset(randoms if first == "truth" else None, pair=first != "none")
    if first == "scorer" and environment.logits is None:
        raise InputError("The first pair shall come from a scorer, but none was given to the environment.")


def _with_truth(
    model: Encoder,
    cases: Sequence[AgentImage],
    settings: EnvironmentSettings | None,
    scorer: Scorer | None,
    session: Session | None,
) -> Environment:
    if any(case.truth is None for case in cases):
        raise InputError("A reward needs a truth; give every image its mask.")
    return Environment(model, cases, settings, scorer=scorer, session=session)


def _observations(model: Encoder) -> gymnasium.Space[NDArray[np.float32]]:
    shape = (model.embed_dim, model.grid_size, model.grid_size)
    return cast(gymnasium.Space[NDArray[np.float32]], Box(-np.inf, np.inf, shape, np.float32))


def _info(environment: Environment) -> dict[str, Any]:
    none_yet = np.zeros(len(environment), np.float32)
    return {
        "points": environment.points,
        "labels": environment.labels,
        "iou": none_yet if environment.logits is None else environment.iou().cpu().numpy(),
        "action_mask": environment.state.available.cpu().numpy().astype(np.int8),
    }
