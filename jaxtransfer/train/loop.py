"""The only training loop: any method, any number of streams, on any mesh.

It places the state, takes the compiled steps, evaluates, keeps the best, saves and resumes; what a
step does is in `step.py`.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtransfer import partition
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import Augment
from jaxtransfer.errors import ConfigError, TrainingError, nearest
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.train import sharding
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.checkpoint import Checkpoints
from jaxtransfer.train.compiled import SHARED, CompiledSteps
from jaxtransfer.train.distributed import is_first
from jaxtransfer.train.history import History
from jaxtransfer.train.identity import identity_of
from jaxtransfer.train.lock import hold
from jaxtransfer.train.outcome import Cost, Trained, add_costs
from jaxtransfer.train.predict import predict
from jaxtransfer.train.prefix import above_prefix, takes_scan
from jaxtransfer.train.progress import Progress
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.runner import Runner, ScanRunner, StepRunner
from jaxtransfer.train.state import Frozen, TrainState, init_state, variables_of
from jaxtransfer.trees import Rule

Measure = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]
"""`measure(logits (n, k), labels (n,))` gives metrics of validation by name."""


def train(
    adapted: Adapted,
    streams: Mapping[str, RandomAccess],
    objective: Objective,
    recipe: Recipe,
    *,
    seed: int,
    validation: RandomAccess | None = None,
    measure: Measure | None = None,
    workdir: str | os.PathLike[str] | None = None,
    mesh: Mesh | None = None,
    sharding_rules: Sequence[Rule] = (),
    augment: Mapping[str, Augment] | None = None,
    cache: ActivationCache | None = None,
    progress: Progress | None = None,
    compiled: CompiledSteps | None = None,
    until: int | None = None,
) -> Trained:
    """Trains what an adapted model lets train.

    The same arguments on the same work directory resume where a killed run was saved last, and end
    with the same bits in trainables, optimizer and predictions.

    Args:
      adapted: model, method, variables to start from.
      streams: examples by name, at least those the objective reads.
      objective: the loss.
      recipe: how.
      seed: of data order, augmentation and dropout.
      validation: examples to evaluate on; the best evaluation's variables are returned, if
        `recipe.keep_best`.
      measure: metrics of an evaluation; `loss` (cross-entropy, nats) and `accuracy` if left out.
      workdir: where to save checkpoints and metrics; nowhere if left out.
      mesh: see `sharding.default_mesh`.
      sharding_rules: path to `PartitionSpec`, for parameters that are cut over the mesh.
      augment: by stream, as `data.stream.Stream` takes it.
      cache: of activations; one for this run alone if left out. It is used if leading stages are
        frozen and nothing is augmented.
      progress: called now and then.
      compiled: executables to share; those of the process if left out.
      until: step to stop and save at, before the recipe's last; the same call with a later one goes
        on from there.

    Raises:
      ConfigError: if a stream that the objective reads is not given, or the recipe does not fit.
      TrainingError: if the loss is no finite number; names step and learning rate.
      WorkdirError: if the work directory belongs to another run or is in use, or the disk is full.
    """
    began = time.perf_counter()
    _check_streams(streams, objective)
    augment = dict(augment or {})
    mesh = sharding.default_mesh() if mesh is None else mesh
    compiled = SHARED if compiled is None else compiled
    if adapted.statistics == "updated" and recipe.batch_size % mesh.shape[sharding.DATA]:
        raise ConfigError(
            f"batch size {recipe.batch_size} is not divisible by the {mesh.shape[sharding.DATA]}"
            " devices, and padding would enter the batch statistics that are updated"
        )
    with contextlib.ExitStack() as closing:
        saved = None
        if workdir is not None:
            closing.enter_context(hold(pathlib.Path(workdir)))
            identity = identity_of(adapted, streams, objective, recipe, seed, validation, augment)
            saved = Checkpoints(pathlib.Path(workdir), identity)

        used = {name: streams[name] for name in objective.streams}
        cache = ActivationCache() if cache is None else cache
        before = cache.seconds
        used, start = above_prefix(adapted, used, augment, recipe, cache, compiled)
        watch = _Watch(began=began, cache_seconds=cache.seconds - before)

        optimizer = recipe.optimizer(adapted)
        sharding.check_rules(adapted.variables, sharding_rules)
        state, frozen = init_state(
            adapted.variables,
            adapted.labels,
            optimizer,
            seed,
            keep_reference=objective.needs_reference,
        )
        shardings = sharding.state_shardings(state, mesh, sharding_rules)
        state = sharding.place(state, shardings)
        frozen = sharding.place(frozen, sharding.frozen_shardings(frozen, mesh, sharding_rules))
        resumed = saved.latest() if saved is not None else None
        earlier = Cost()
        if saved is not None and resumed is not None:
            state = sharding.place(saved.restore(state), shardings)
            earlier = saved.cost()
        history = History(saved.directory if saved is not None else None, step=resumed or 0)
        closing.callback(history.close)

        runner: Runner = (
            ScanRunner if takes_scan(adapted, recipe, used, start, augment) else StepRunner
        )(
            adapted=adapted,
            objective=objective,
            optimizer=optimizer,
            recipe=recipe,
            streams=used,
            augment=augment,
            seed=seed,
            start=start,
            mesh=mesh,
            frozen=frozen,
            compiled=compiled,
            shardings=shardings,
        )
        run = _Run(
            adapted=adapted,
            recipe=recipe,
            validation=validation,
            measure=measure or loss_and_accuracy,
            mesh=mesh,
            cache=cache,
            compiled=compiled,
            frozen=frozen,
            saved=saved,
            history=history,
            earlier=earlier,
            watch=watch,
            progress=progress,
            runner=runner,
            last=recipe.steps if until is None else min(until, recipe.steps),
        )
        return run(state, resumed or 0)


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy in nats and accuracy, in float64."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        "loss": float(-log_probability[np.arange(len(labels)), labels].mean()),
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
    }


@dataclasses.dataclass
class _Watch:
    """Seconds by purpose, since `began` on the clock."""

    began: float
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    cache_seconds: float = 0.0

    @contextlib.contextmanager
    def __call__(self, purpose: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        setattr(self, purpose, getattr(self, purpose) + time.perf_counter() - began)


@dataclasses.dataclass(kw_only=True, eq=False)
class _Run:
    """One call of `train`, with everything in its place."""

    adapted: Adapted
    recipe: Recipe
    validation: RandomAccess | None
    measure: Measure
    mesh: Mesh
    cache: ActivationCache
    compiled: CompiledSteps
    frozen: Frozen
    saved: Checkpoints | None
    history: History
    earlier: Cost
    watch: _Watch
    progress: Progress | None
    runner: Runner
    last: int

    def __call__(self, state: TrainState, step: int) -> Trained:
        best: tuple[int, Any] | None = None
        chosen = self._best_evaluation() if self.recipe.keep_best else None
        if step and self.saved is not None and chosen:
            best = (chosen, self.saved.restore_best(chosen, _moving(state)))
        taken, finished = 0, self._is_over(step)
        if not finished:
            self.runner.prepare(state, step)
        while not finished:
            stop = self._next_stop(step)
            state = self._advance(state, step, stop)
            taken += stop - step
            step = stop
            if self._is_due(step, self.recipe.evaluate_every) and self.validation is not None:
                with self.watch("evaluation_seconds"):
                    self._evaluate(state, step)
                if self.recipe.keep_best and self._best_evaluation() == step:
                    best = (step, jax.tree.map(_copy, _moving(state)))
            finished = self._is_over(step)
            if finished or self._is_due(step, self.recipe.checkpoint_every):
                self._check_finite(state, step)
                if self.saved is not None:
                    self.saved.save(state, best, self._cost(taken))
        if best is not None:
            trainable, statistics = best[1]
            state = state.replace(trainable=trainable, statistics=statistics)
        return self._trained(state, step, step if best is None else best[0], taken)

    def _advance(self, state: TrainState, step: int, stop: int) -> TrainState:
        began = time.perf_counter()
        for taken, rows in self.runner.advance(state, step, stop):
            state = taken
            self.watch.seconds += time.perf_counter() - began
            for row in rows:
                if not math.isfinite(row["loss"]) or not math.isfinite(row["grad_norm"]):
                    raise self._bad(
                        f"loss {row['loss']} (gradient norm {row['grad_norm']})", int(row["step"])
                    )
            self.history.append(rows)
            if self.progress is not None and is_first():
                self.progress(int(rows[-1]["step"]), self.recipe.steps, rows[-1])
            began = time.perf_counter()
        return state

    def _bad(self, what: str, step: int) -> TrainingError:
        saved = self.saved.latest() if self.saved is not None else None
        kept = "" if saved is None else f"; the checkpoint of step {saved} is kept"
        return TrainingError(
            f"{what} at step {step} of {self.recipe.steps} with learning rate"
            f" {self.recipe.learning_rate:g}{kept}; lower the learning rate or look at the inputs"
            " of that step"
        )

    def _check_finite(self, state: TrainState, step: int) -> None:
        # A finite loss may have made weights that are not, which only the next step would show.
        if not _is_finite((state.trainable, state.statistics, state.optimizer)):
            raise self._bad("weights that are no finite numbers", step)

    def _evaluate(self, state: TrainState, step: int) -> None:
        assert self.validation is not None
        logits = predict(
            self.adapted,
            variables_of(state, self.frozen),
            self.validation,
            batch_size=self.recipe.evaluation_batch_size,
            mesh=self.mesh,
            cache=self.cache,
            precision=self.recipe.precision,
            compiled=self.compiled,
        )
        metrics = self.measure(logits, np.asarray(self.validation.labels))
        if self.recipe.criterion not in metrics:
            raise ConfigError(
                f"recipe: criterion {self.recipe.criterion!r} is not measured; nearest:"
                f" {nearest(self.recipe.criterion, metrics)}"
            )
        row = {"step": step, **{f"validation/{k}": float(v) for k, v in metrics.items()}}
        self.history.append([row])
        if self.progress is not None and is_first():
            self.progress(step, self.recipe.steps, row)

    def _best_evaluation(self) -> int | None:
        evaluations = self.history.evaluations(self.recipe.criterion)
        sign = 1.0 if self.recipe.higher_is_better else -1.0
        ranked = [(sign * value, -step) for step, value in evaluations if not math.isnan(value)]
        return -max(ranked)[1] if ranked else None

    def _is_over(self, step: int) -> bool:
        if step >= self.last:
            return True
        best = self._best_evaluation()
        if not self.recipe.patience or best is None:
            return False
        evaluations = self.history.evaluations(self.recipe.criterion)
        return sum(at > best for at, _ in evaluations) >= self.recipe.patience

    def _is_due(self, step: int, every: int) -> bool:
        return step == self.recipe.steps or (every > 0 and step % every == 0)

    def _next_stop(self, step: int) -> int:
        everies = [self.recipe.checkpoint_every] if self.saved is not None else []
        everies += [self.recipe.evaluate_every] if self.validation is not None else []
        stops = [step - step % every + every for every in everies if every]
        return min([*stops, self.last])

    def _trained(self, state: TrainState, steps: int, best_step: int, taken: int) -> Trained:
        moved = partition.join(*_moving(state))
        if self.mesh.size > 1:
            moved = jax.tree.map(jnp.asarray, sharding.to_host(moved))
        still = partition.select(
            self.adapted.variables, self.adapted.labels, lambda value: value == partition.FROZEN
        )
        return Trained(
            adapted=dataclasses.replace(self.adapted, variables=partition.join(moved, still)),
            history=self.history.rows,
            steps=steps,
            best_step=best_step,
            cost=self._cost(taken),
        )

    def _cost(self, taken: int) -> Cost:
        here = Cost(
            seconds=self.watch.seconds,
            compile_seconds=self.runner.compile_seconds,
            evaluation_seconds=self.watch.evaluation_seconds,
            cache_seconds=self.watch.cache_seconds,
            wall_seconds=time.perf_counter() - self.watch.began,
            flops=self.runner.flops * taken,
            peak_bytes=self.runner.peak_bytes,
        )
        return add_costs([self.earlier, here])


def _moving(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    return state.trainable, state.statistics


@jax.jit
def _is_finite(tree: Any) -> jax.Array:
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(x).all() for x in numbers]).all()


def _copy(leaf: jax.Array) -> jax.Array:
    return jnp.array(leaf, copy=True)


def _check_streams(streams: Mapping[str, RandomAccess], objective: Objective) -> None:
    for name in objective.streams:
        if name not in streams:
            raise ConfigError(
                f"the objective reads a stream {name!r} that is not given; nearest:"
                f" {nearest(name, streams)}"
            )
