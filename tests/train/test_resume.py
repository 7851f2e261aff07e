"""Checkpoints: a killed run resumes to the same bits; a foreign directory or a full disk is said."""

import dataclasses
import errno
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import toys

from jaxtransfer.adapt.freezing import LPFT, LinearProbe, TopStages
from jaxtransfer.errors import TrainingError, WorkdirError
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.objectives.terms import Term
from jaxtransfer.train import history
from jaxtransfer.train.identity import identity_of
from jaxtransfer.train.loop import train
from jaxtransfer.train.phases import fit

PROGRAM = pathlib.Path(__file__).parent / "killable.py"
ROOT = PROGRAM.parents[2]


def program(*arguments):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PROGRAM.parent}"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def run(workdir, *, seed=0, streams=None, recipe=None, adapted=None, objective=None, **options):
    return train(
        adapted or toys.make_adapted(LinearProbe()),
        streams or {"labeled": toys.make_examples()},
        objective or toys.supervised(),
        recipe or toys.make_recipe(checkpoint_every=4),
        seed=seed,
        workdir=workdir,
        **options,
    )


@pytest.mark.parametrize(("method", "mode"), [("full", "steps"), ("probe", "scan")])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, method, mode):
    """Killed in the middle of an epoch of three steps, after the checkpoint of step 8."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert program(whole, method, mode).returncode == 0
    assert program(killed, method, mode, 11).returncode == -signal.SIGKILL
    assert "step_000000008" in {p.name for p in (killed / "checkpoints").iterdir()}
    assert not (killed / "outcome.npz").exists()
    resumed = program(killed, method, mode)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)[0] > 8
    a, b = np.load(whole / "outcome.npz"), np.load(killed / "outcome.npz")
    assert set(a.files) == set(b.files)
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert (whole / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()


class Interrupt(Exception):
    pass


def interrupt_at(wanted):
    def progress(step, *_):
        if step >= wanted:
            raise Interrupt

    return progress


def test_the_cost_of_a_resumed_run_is_that_of_all_its_steps(tmp_path):
    recipe = toys.make_recipe(checkpoint_every=4, scan=False)
    whole = run(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Interrupt):
        run(tmp_path / "cut", recipe=recipe, progress=interrupt_at(12))
    resumed = run(tmp_path / "cut", recipe=recipe)
    assert resumed.cost.flops == whole.cost.flops > 0
    assert resumed.cost.peak_bytes == whole.cost.peak_bytes > 0
    assert resumed.steps == 12
    again = run(tmp_path / "cut", recipe=recipe)
    assert again.cost.seconds == resumed.cost.seconds
    assert again.cost.flops == whole.cost.flops
    assert again.cost.wall_seconds > again.cost.seconds > 0


def test_the_cost_of_a_finished_phase_is_not_forgotten(tmp_path):
    def fitted(workdir, **options):
        return fit(
            toys.make_model(),
            LPFT(),
            {"labeled": toys.make_examples()},
            toys.supervised(),
            toys.make_recipe(checkpoint_every=4, scan=False),
            seed=0,
            workdir=workdir,
            **options,
        )

    whole, calls = fitted(tmp_path / "whole"), []

    def in_the_second_phase(step, *_):
        calls.append(step)
        if calls.count(8) == 2:
            raise Interrupt

    with pytest.raises(Interrupt):
        fitted(tmp_path / "cut", progress=in_the_second_phase)
    resumed = fitted(tmp_path / "cut")
    assert resumed.cost.flops == whole.cost.flops > 0
    assert resumed.steps == whole.steps == 24


def test_the_best_of_before_the_interruption_is_restored(tmp_path):
    """Validation is best at step 4; the run is cut after the checkpoint of step 8."""

    def scored(workdir, scores, **options):
        return run(
            workdir,
            recipe=toys.make_recipe(
                checkpoint_every=4, evaluate_every=2, criterion="score", higher_is_better=True
            ),
            validation=toys.make_examples(5, name="v"),
            measure=lambda logits, labels: {"score": next(scores)},
            **options,
        )

    whole = scored(tmp_path / "whole", iter([1, 9, 2, 2, 3, 3]))
    with pytest.raises(Interrupt):
        scored(tmp_path / "cut", iter([1, 9, 2, 2, 3]), progress=interrupt_at(10))
    resumed = scored(tmp_path / "cut", iter([3, 3]))
    assert whole.best_step == resumed.best_step == 4
    assert resumed.history == whole.history
    jax.tree.map(np.testing.assert_array_equal, resumed.variables, whole.variables)
    again = scored(tmp_path / "cut", iter([]))
    jax.tree.map(np.testing.assert_array_equal, again.variables, whole.variables)


def test_a_run_in_progress_keeps_its_directory(tmp_path):
    refused = []

    def again(*_):
        with pytest.raises(WorkdirError, match=f"in use by process {os.getpid()} on "):
            run(tmp_path)
        refused.append(True)

    first = run(tmp_path, progress=again)
    assert refused
    assert run(tmp_path).history == first.history


def test_a_finished_run_is_not_run_again(tmp_path):
    first, steps = run(tmp_path), []
    second = run(tmp_path, progress=lambda step, *_: steps.append(step))
    assert steps == []
    assert second.history == first.history
    np.testing.assert_array_equal(
        first.variables["params"]["head"]["kernel"], second.variables["params"]["head"]["kernel"]
    )


def test_a_relative_work_directory_is_the_one_it_was_at_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = run("relative")
    assert (tmp_path / "relative" / "checkpoints" / "step_000000012").is_dir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("../relative").history == first.history
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_another_run_s_directory_is_refused_and_left_alone(tmp_path):
    run(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(WorkdirError, match=r"belongs to another run: seed is 1, there it is 0\."):
        run(tmp_path, seed=1)
    other = toys.make_recipe(checkpoint_every=4, learning_rate=0.5)
    smoothed = Objective((cross_entropy(label_smoothing=0.1),))
    for message, options in (
        ("streams.labeled is", {"streams": {"labeled": toys.make_examples(30)}}),
        (r"recipe.learning_rate is 0\.5, there it is 0\.01\.", {"recipe": other}),
        ("validation is", {"validation": toys.make_examples(5, name="v")}),
        ("objective.cross_entropy is", {"objective": smoothed}),
        ("augment.labeled is", {"augment": {"labeled": lambda x, rng: x}}),
        ("method.count is 1, there it is null", {"adapted": toys.make_adapted(TopStages(count=1))}),
        ("module is", {"adapted": toys.make_adapted(LinearProbe(), dropout=0.5)}),
        ("variables is", {"adapted": _changed(toys.make_adapted(LinearProbe()))}),
        ("statistics is", {"adapted": _updating(toys.make_adapted(LinearProbe()))}),
    ):
        with pytest.raises(WorkdirError, match=f"belongs to another run: {message}"):
            run(tmp_path, **options)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def _changed(adapted):
    params = adapted.variables["params"]
    head = {**params["head"], "bias": params["head"]["bias"] + 1}
    return dataclasses.replace(adapted, variables={"params": {**params, "head": head}})


def _updating(adapted):
    return dataclasses.replace(adapted, statistics="updated")


def test_an_address_in_what_a_run_is_does_not_make_it_another():
    def named(function):
        term = Term(name="own", weight=1.0, function=function)
        arguments = (toys.make_adapted(), {"labeled": toys.make_examples()}, Objective((term,)))
        return identity_of(*arguments, toys.make_recipe(), 0, None, {"labeled": function})

    first, second = (lambda *_: None for _ in range(2))
    assert first is not second
    assert named(first) == named(second)


def test_a_damaged_description_of_the_run_is_named(tmp_path):
    run(tmp_path)
    for text in ("", "[]", '{"seed": '):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(WorkdirError, match=r"training\.json is damaged"):
            run(tmp_path)


def test_a_full_disk_is_said_and_the_last_checkpoint_kept(tmp_path, monkeypatch, caplog):
    from orbax.checkpoint import v1 as ocp

    save, count, logger = ocp.save, [], logging.getLogger("absl")
    logger.addHandler(caplog.handler)

    def fill(path, *arguments, **options):
        count.append(path)
        if len(count) == 3:
            # As Orbax does: TensorStore's text, and the traceback of a thread in the log.
            error = ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']")
            place = ("absl", logging.ERROR, "orbax/futures/future.py", 1, "a thread ended", ())
            logger.handle(logger.makeRecord(*place, (ValueError, error, None)))
            raise error
        return save(path, *arguments, **options)

    monkeypatch.setattr(ocp, "save", fill)
    with pytest.raises(
        WorkdirError, match=r"cannot write .* at step 12: No space left.*step 8 is kept; free space"
    ):
        run(tmp_path)
    logger.removeHandler(caplog.handler)
    assert not [record for record in caplog.records if record.exc_info]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000000008"]
    monkeypatch.setattr(ocp, "save", save)
    resumed, whole = run(tmp_path), run(tmp_path / "whole")
    np.testing.assert_array_equal(
        resumed.variables["params"]["head"]["kernel"], whole.variables["params"]["head"]["kernel"]
    )


def test_a_board_that_cannot_be_written_hides_no_other_error(tmp_path, monkeypatch):
    class Full:
        def add_scalar(self, *_):
            pass

        def close(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(history, "_board", lambda *_: Full())
    examples = toys.make_examples()
    examples.arrays["inputs"][:] = np.nan
    with pytest.raises(TrainingError, match="loss nan"):
        run(tmp_path, streams={"labeled": examples})


def test_what_a_killed_save_left_is_removed(tmp_path):
    run(tmp_path)
    draft = tmp_path / "checkpoints" / "step_000000013.orbax-checkpoint-tmp"
    draft.mkdir()
    assert run(tmp_path).steps == 12
    assert not draft.exists()


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    text = path.read_text()
    for more in ('{"step": 13, "loss": 9.0}\n{"step": 14, "lo', '{"step": 13, "lo'):
        path.write_text(text + more)
        resumed = run(tmp_path)
        assert path.read_text() == text
        assert len(resumed.history) == 12


def test_lost_metrics_are_an_error(tmp_path):
    run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(WorkdirError, match=r"metrics.jsonl is missing, but .* step 12"):
        run(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path)
    for path in (tmp_path / "checkpoints" / "step_000000012").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(WorkdirError, match="step_000000012 cannot be read"):
        run(tmp_path)


def test_a_checkpoint_holds_no_frozen_leaf(tmp_path):
    trained = run(tmp_path)
    size = sum(p.stat().st_size for p in (tmp_path / "checkpoints").rglob("*") if p.is_file())
    frozen = sum(x.size for x in _leaves(trained.variables["params"]["encoder"]))
    assert frozen > 0
    names = json.dumps([str(p) for p in (tmp_path / "checkpoints").rglob("*")])
    assert "encoder" not in names
    assert size < 100_000


def _leaves(tree):
    return jax.tree.leaves(tree)
