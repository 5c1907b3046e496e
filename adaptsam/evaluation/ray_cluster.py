"""The same evaluation on many processors or machines, through Ray.

Cases are handed out one at a time to workers of one thread each, which prepare the methods once. Whatever becomes of a
worker costs its own case alone: another worker starts, and the case is tried again, twice at most. Results are those of
one machine, because everything that is drawn is seeded by the case.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from adaptsam.errors import CheckpointError, InputError, NotInstalledError
from adaptsam.evaluation.case_worker import CaseResult, ModelSource, Setting, Worker, lost_case
from adaptsam.evaluation.evaluation_run import Backend, Job
from adaptsam.sam import SamModel

_log = logging.getLogger(__name__)

#: How often a case is tried whose worker is lost.
TRIES = 3
_OBJECT_STORE_BYTES = 200 * 2**20


def on_cluster(source: ModelSource, workers: int, address: str | None = None) -> Backend:
    """A backend of that many workers.

    Args:
        source: of the model; its path must be there on every machine.
        workers: how many; each takes one processor, and one GPU where the model runs on one.
        address: of a running cluster; None starts Ray on this machine for as long as the run takes.

    Raises:
        InputError: Ray is not installed, or fewer than one worker was requested.
    """
    if workers < 1:
        raise InputError(f"A run needs at least one worker, not {workers}.")
    _ray()

    def run(model: SamModel, setting: Setting, jobs: Sequence[Job]) -> Iterator[CaseResult]:
        if setting.training:
            Worker(model, setting)  # what is trained is trained once, here; the workers read it
        ray = _ray()
        options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
        if not address:
            # On this machine, workers find the same modules as this process.
            environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
            options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
            options["runtime_env"] = environment
        ray.init(log_to_driver=False, ignore_reinit_error=True, **options)
        try:
            gpus = 1 if model.device.type == "cuda" else 0
            yield from _Pool(ray, source, model.sha256, setting, min(workers, len(jobs)), gpus).run(jobs)
        finally:
            ray.shutdown()

    return run


class RemoteWorker:
    """Worker in a process of the cluster."""

    def __init__(self, source: ModelSource, sha256: str, setting: Setting) -> None:
        import torch

        torch.set_num_threads(1)
        model = source.load()
        if model.sha256 != sha256:
            raise CheckpointError("A worker found another checkpoint at the same path; copy the right one there.")
        self._worker = Worker(model, setting)

    def ready(self) -> bool:
        return True

    def run(self, job: Job) -> CaseResult:
        case, methods = job
        return self._worker.run(case, methods)


class _Pool:
    """Workers, and the jobs that they are at."""

    def __init__(self, ray: Any, source: ModelSource, sha256: str, setting: Setting, workers: int, gpus: int) -> None:
        self._ray, self._count = ray, workers
        kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(RemoteWorker)
        self._start = lambda: kind.remote(source, sha256, setting)
        self._busy: dict[Any, tuple[Any, Job, int]] = {}

    def run(self, jobs: Sequence[Job]) -> Iterator[CaseResult]:
        waiting = deque((job, 1) for job in jobs)
        idle = [self._start() for _ in range(self._count)]
        self._check(idle[0])
        try:
            while waiting or self._busy:
                while idle and waiting:
                    worker, (job, attempt) = idle.pop(), waiting.popleft()
                    self._busy[worker.run.remote(job)] = (worker, job, attempt)
                [done], _ = self._ray.wait(list(self._busy), num_returns=1)
                worker, job, attempt = self._busy.pop(done)
                result = self._result(done, job)
                if result is not None:
                    idle.append(worker)
                    yield result
                    continue
                idle.append(self._start())
                _log.warning("The worker of %s was lost (try %d of %d).", job[0].name, attempt, TRIES)
                if attempt < TRIES:
                    waiting.append((job, attempt + 1))
                else:
                    yield lost_case(*job, f"Its worker was lost {TRIES} times.")
        finally:
            for worker in [*idle, *(one for one, _, _ in self._busy.values())]:
                with suppress(Exception):
                    self._ray.kill(worker)

    def _result(self, done: Any, job: Job) -> CaseResult | None:
        """None where the worker is gone."""
        try:
            result: CaseResult = self._ray.get(done)
        except self._ray.exceptions.RayActorError:
            return None
        except self._ray.exceptions.RayError as error:
            _log.exception("The case %s failed on its worker.", job[0].name)
            return lost_case(*job, f"It failed on its worker ({type(error).__name__}).")
        return result

    def _check(self, worker: Any) -> None:
        """A worker that cannot start would be lost again with every case."""
        try:
            self._ray.get(worker.ready.remote())
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"The workers cannot start: {reason}") from None


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise NotInstalledError('Several workers need the extra "ray": pip install "adaptsam[ray]".') from None
    return ray
