"""The loop: the same trajectory however it runs, one compilation, the best kept."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

from jaxtransfer import partition
from jaxtransfer.adapt.freezing import LPFT, Full, LinearProbe, TopStages
from jaxtransfer.errors import ConfigError, TrainingError
from jaxtransfer.objectives import Objective, coral, cross_entropy, l2_sp
from jaxtransfer.objectives.terms import Term
from jaxtransfer.optim import Group
from jaxtransfer.train import loop
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.loop import train
from jaxtransfer.train.phases import fit
from jaxtransfer.train.runner import stream_seed
from jaxtransfer.train.sharding import make_mesh
from jaxtransfer.trees import Rule


def run(adapted, *, objective=None, streams=None, seed=0, recipe=None, **options):
    return train(
        adapted,
        streams or {"labeled": toys.make_examples()},
        objective or toys.supervised(),
        recipe or toys.make_recipe(),
        seed=seed,
        **options,
    )


def losses(trained, name="loss"):
    return np.array([row[name] for row in trained.history if name in row])


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("method", [Full(), LinearProbe()], ids=lambda m: m.name)
def test_one_and_eight_devices_take_the_same_trajectory(method):
    adapted = toys.make_adapted(method)
    one = run(adapted, mesh=make_mesh(devices=jax.devices()[:1]))
    eight = run(adapted, mesh=make_mesh(devices=jax.devices()[:8]))
    assert len(losses(one)) == 12
    np.testing.assert_allclose(losses(one), losses(eight), rtol=0, atol=1e-5)
    assert_same(one.variables, eight.variables, atol=1e-4)


def test_a_batch_the_devices_do_not_divide_is_padded():
    adapted, recipe = toys.make_adapted(), toys.make_recipe(batch_size=6)
    one = run(adapted, recipe=recipe)
    four = run(adapted, recipe=recipe, mesh=make_mesh(devices=jax.devices()[:4]))
    np.testing.assert_allclose(losses(one), losses(four), rtol=0, atol=1e-5)


def test_parameters_cut_over_the_mesh_take_the_same_trajectory():
    adapted = toys.make_adapted()
    rules = [Rule("encoder/.*/kernel", (None, "model")), Rule(".*/kernel", ("data",))]
    mesh = make_mesh(data=4, model=2, devices=jax.devices()[:8])
    cut = run(adapted, mesh=mesh, sharding_rules=rules)
    np.testing.assert_allclose(losses(run(adapted)), losses(cut), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [LinearProbe(), Full()], ids=lambda m: m.name)
def test_many_steps_in_one_call_are_the_steps_one_by_one(method):
    adapted = toys.make_adapted(method)
    single = run(adapted, recipe=toys.make_recipe(scan=False))
    scanned = run(adapted, recipe=toys.make_recipe(scan=True))
    np.testing.assert_allclose(losses(single), losses(scanned), atol=1e-6)
    assert_same(single.variables, scanned.variables, atol=1e-5)


@pytest.mark.parametrize("method", [LinearProbe(), TopStages(count=1)], ids=lambda m: m.name)
def test_cached_activations_change_nothing(method):
    adapted = toys.make_adapted(method, dropout=0.3)
    cache = ActivationCache()
    with_cache = run(adapted, cache=cache)
    without = run(adapted, cache=ActivationCache(memory_budget=0))
    assert cache.builds == 1
    np.testing.assert_allclose(losses(with_cache), losses(without), atol=1e-6)
    assert with_cache.cost.cache_seconds > 0
    assert without.cost.cache_seconds == 0


def test_activations_too_large_for_memory_are_not_put_there(tmp_path, monkeypatch):
    in_memory = run(toys.make_adapted(LinearProbe()))

    def refuse(**_):
        raise AssertionError("all activations were put in device memory")

    monkeypatch.setattr(loop, "ScanRunner", refuse)
    cache = ActivationCache(tmp_path, memory_budget=0)
    mapped = run(toys.make_adapted(LinearProbe()), cache=cache)
    assert cache.builds == 1
    np.testing.assert_allclose(losses(mapped), losses(in_memory), atol=1e-6)
    assert_same(mapped.variables, in_memory.variables, atol=1e-5)
    with pytest.raises(AssertionError, match="device memory"):
        run(toys.make_adapted(LinearProbe()))


def test_examples_that_are_not_all_met_are_not_cached():
    cache = ActivationCache()
    run(toys.make_adapted(LinearProbe()), recipe=toys.make_recipe(steps=2), cache=cache)
    assert cache.builds == 0


def test_an_augmented_stream_is_not_cached():
    cache = ActivationCache()
    noise = {"labeled": lambda x, rng: {"inputs": x["inputs"] + 1.0}}
    plain = run(toys.make_adapted(LinearProbe()), cache=ActivationCache())
    noisy = run(toys.make_adapted(LinearProbe()), cache=cache, augment=noise)
    assert cache.builds == 0
    assert losses(plain)[0] != losses(noisy)[0]
    with pytest.raises(ConfigError, match="scan=True takes examples as they are"):
        run(toys.make_adapted(), recipe=toys.make_recipe(scan=True), augment=noise)


def test_a_sweep_over_rates_and_seeds_compiles_the_step_once():
    compiled, validation = CompiledSteps(), toys.make_examples(9, seed=3, name="v")
    counts = []
    for seed in (0, 1):
        for rate in (1e-3, 1e-2):
            adapted = toys.make_adapted(TopStages(count=1), dropout=0.1)
            recipe = toys.make_recipe(learning_rate=rate, weight_decay=rate, evaluate_every=4)
            run(adapted, recipe=recipe, seed=seed, compiled=compiled, validation=validation)
            counts.append(compiled.traces)
    # The step, the prediction, and the frozen prefix.
    assert counts == [3, 3, 3, 3]


def test_another_precision_is_another_step():
    compiled = CompiledSteps()
    exact, rounded = (
        run(toys.make_adapted(), recipe=toys.make_recipe(precision=precision), compiled=compiled)
        for precision in ("float32", "bfloat16")
    )
    assert compiled.traces == 2
    assert losses(exact)[0] != losses(rounded)[0]


def test_streams_have_orders_of_their_own_and_labeled_the_seed_s():
    assert stream_seed(3, "labeled") == 3
    assert len({stream_seed(3, name) for name in ("labeled", "target", "other")}) == 3
    assert stream_seed(2**31 - 1, "target") >= 0


def test_the_second_phase_begins_where_the_first_one_ended():
    recipes = [toys.make_recipe(), toys.make_recipe(learning_rate=1e-4)]
    compiled = CompiledSteps()
    result = fit(
        toys.make_model(),
        LPFT(),
        {"labeled": toys.make_examples()},
        toys.supervised(),
        recipes,
        seed=0,
        compiled=compiled,
    )
    probe = run(toys.make_adapted(LinearProbe()), recipe=recipes[0])
    assert [row["phase"] for row in result.history] == [0] * 12 + [1] * 12
    np.testing.assert_allclose(losses(result)[:12], losses(probe), atol=1e-6)
    again = run(toys.make_adapted(Full()), recipe=recipes[1])
    assert losses(result)[12] < losses(again)[0]
    assert result.cost.flops > 0
    assert result.steps == 24


def test_a_phase_may_have_an_objective_of_its_own():
    """A pull towards the pretrained values has nothing to hold while the head alone trains."""
    held = Objective((*toys.supervised().terms, l2_sp(weight=1.0)))
    rest = (toys.make_model(), LPFT(), {"labeled": toys.make_examples()})
    recipe = toys.make_recipe(steps=3)
    with pytest.raises(ConfigError, match="none of them trains"):
        fit(*rest, held, recipe, seed=0)
    result = fit(*rest, [toys.supervised(), held], recipe, seed=0)
    assert ["l2_sp/distance" in row for row in result.history] == [False] * 3 + [True] * 3
    assert result.history[-1]["l2_sp/distance"] > 0
    with pytest.raises(ConfigError, match=r"2 phases .* 1 objectives"):
        fit(*rest, [held], recipe, seed=0)


def test_the_number_of_recipes_is_one_or_that_of_the_phases():
    with pytest.raises(
        ConfigError, match=r"'lp_ft' has 2 phases \(linear_probe, full\).* 3 recipes"
    ):
        fit(
            toys.make_model(),
            LPFT(),
            {"labeled": toys.make_examples()},
            toys.supervised(),
            [toys.make_recipe()] * 3,
            seed=0,
        )


def test_two_streams_train_in_the_same_loop():
    objective = Objective((cross_entropy(), coral(weight=0.5)))
    streams = {
        "labeled": toys.make_examples(),
        "target": toys.make_examples(13, seed=5, name="t"),
    }
    both = run(toys.make_adapted(), objective=objective, streams=streams)
    assert (losses(both, "coral") > 0).all()
    np.testing.assert_allclose(
        losses(both), losses(both, "cross_entropy") + 0.5 * losses(both, "coral"), rtol=1e-5
    )


def test_a_term_of_weight_zero_leaves_the_same_bits():
    streams = {"labeled": toys.make_examples(), "target": toys.make_examples(9, name="t")}
    off = Objective((cross_entropy(), coral(weight=0.0)))
    a, b = run(toys.make_adapted(), objective=off, streams=streams), run(toys.make_adapted())
    jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)


def test_the_best_evaluation_is_restored_and_patience_stops():
    """A measure that is best at step 4 and then only falls."""
    scores = iter([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
    recipe = toys.make_recipe(
        evaluate_every=2, patience=2, criterion="score", higher_is_better=True
    )
    stopped = run(
        toys.make_adapted(),
        recipe=recipe,
        validation=toys.make_examples(5, name="v"),
        measure=lambda logits, labels: {"score": next(scores)},
    )
    assert (stopped.steps, stopped.best_step) == (8, 4)
    constant, more = {"schedule": "constant", "warmup": 0.0}, iter([0, 9, 1, 1, 1, 1])
    four = run(toys.make_adapted(), recipe=toys.make_recipe(steps=4, **constant))
    twelve = run(
        toys.make_adapted(),
        recipe=toys.make_recipe(
            evaluate_every=2, criterion="score", higher_is_better=True, **constant
        ),
        validation=toys.make_examples(5, name="v"),
        measure=lambda logits, labels: {"score": next(more)},
    )
    assert (twelve.steps, twelve.best_step) == (12, 4)
    assert_same(twelve.variables, four.variables, atol=1e-6)


def test_an_evaluation_without_a_value_is_not_the_best_and_the_first_of_equals_is():
    scores = iter([float("nan"), 2.0, 1.0, 1.0, float("nan"), 1.0])
    recipe = toys.make_recipe(evaluate_every=2, criterion="score")
    trained = run(
        toys.make_adapted(),
        recipe=recipe,
        validation=toys.make_examples(5, name="v"),
        measure=lambda logits, labels: {"score": next(scores)},
    )
    assert (trained.steps, trained.best_step) == (12, 6)


def test_what_was_given_is_not_consumed():
    adapted = toys.make_adapted()
    before = jax.tree.map(np.array, adapted.variables)
    run(adapted)
    jax.tree.map(np.testing.assert_array_equal, adapted.variables, before)


def test_frozen_leaves_are_the_same_arrays_afterwards():
    adapted = toys.make_adapted(LinearProbe())
    trained = run(adapted)
    _, still = partition.split(adapted.variables, adapted.labels)
    _, after = partition.split(trained.variables, adapted.labels)
    assert all(a is b for a, b in zip(jax.tree.leaves(still), jax.tree.leaves(after)))


def test_updated_statistics_are_carried_into_prediction():
    trained = run(toys.make_adapted(norm=True, statistics="updated"))
    mean = trained.variables["batch_stats"]["encoder"]["block_0"]["norm"]["mean"]
    assert np.abs(mean).max() > 0


def test_accumulated_steps_equal_one_of_the_whole_batch():
    constant = {"schedule": "constant", "warmup": 0.0}
    examples = {"labeled": toys.make_examples(16)}
    large = run(
        toys.make_adapted(),
        streams=examples,
        recipe=toys.make_recipe(steps=1, batch_size=16, **constant),
    )
    small = run(
        toys.make_adapted(),
        streams=examples,
        recipe=toys.make_recipe(steps=2, batch_size=12, accumulate=2, **constant),
    )
    assert_same(large.variables, small.variables, atol=1e-5)


def test_group_factors_reach_their_group():
    still = run(
        toys.make_adapted(),
        recipe=toys.make_recipe(groups={"body": Group(learning_rate=0.0)}),
    )
    moved = partition.split(still.variables, still.adapted.labels)[0]
    start = partition.split(toys.make_adapted().variables, still.adapted.labels)[0]
    assert_same(moved["params"]["encoder"], start["params"]["encoder"], atol=0)
    assert not np.array_equal(moved["params"]["head"]["kernel"], start["params"]["head"]["kernel"])


@pytest.mark.parametrize("scan", [False, True])
def test_a_loss_that_is_not_finite_stops_with_step_and_rate(tmp_path, scan):
    """The example that turns bad is met at a known step; the checkpoint before it is kept."""
    examples = toys.make_examples(80)
    examples.arrays["inputs"][_row_at(examples, step=6)] = np.nan
    recipe = toys.make_recipe(steps=9, learning_rate=0.02, checkpoint_every=4, scan=scan)
    with pytest.raises(
        TrainingError, match=r"loss nan .* step 7 of 9 with learning rate 0\.02; .* step 4 is kept"
    ):
        run(toys.make_adapted(), streams={"labeled": examples}, recipe=recipe, workdir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000000004"]


def test_a_gradient_that_is_not_finite_stops_at_its_step():
    """The term is 0 everywhere, and its gradient is that of the root of 0, times 0."""

    def root(outputs, batch, context):
        return jnp.sqrt(0.0 * outputs["labeled"]["logits"].sum()), {}

    objective = Objective((cross_entropy(), Term(name="root", weight=1.0, function=root)))
    with pytest.raises(TrainingError, match=r"loss \d.* \(gradient norm nan\) at step 1 of 12"):
        run(toys.make_adapted(), objective=objective)


def test_weights_that_are_not_finite_are_never_saved_or_returned(tmp_path):
    """The first update overflows, and the loss before it is finite."""
    recipe = toys.make_recipe(steps=4, learning_rate=3e38, weight_decay=10.0, warmup=0.0)
    with pytest.raises(
        TrainingError, match=r"weights that are no finite .* step 1 of 1 with .*3e\+38"
    ):
        run(toys.make_adapted(), recipe=dataclasses.replace(recipe, steps=1))
    recipe = dataclasses.replace(recipe, checkpoint_every=1)
    with pytest.raises(TrainingError, match=r"weights that are no finite"):
        run(toys.make_adapted(), recipe=recipe, workdir=tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def _row_at(examples, step):
    from jaxtransfer.data.stream import Stream

    return int(Stream(examples, 8, 0).indices(step)[0])


def test_a_missing_stream_is_named():
    objective = Objective((cross_entropy(), coral()))
    streams = {"labeled": toys.make_examples(), "targets": toys.make_examples()}
    with pytest.raises(ConfigError, match="stream 'target' that is not given; nearest: 'targets'"):
        run(toys.make_adapted(), objective=objective, streams=streams)


def test_an_unknown_criterion_names_the_measured_ones():
    with pytest.raises(
        ConfigError, match="criterion 'accurcy' is not measured; nearest: 'accuracy'"
    ):
        run(
            toys.make_adapted(),
            recipe=toys.make_recipe(criterion="accurcy"),
            validation=toys.make_examples(5, name="v"),
        )


def test_padding_is_kept_out_of_updated_statistics():
    with pytest.raises(ConfigError, match="padding would enter the batch statistics"):
        run(
            toys.make_adapted(norm=True, statistics="updated"),
            recipe=toys.make_recipe(batch_size=6),
            mesh=make_mesh(devices=jax.devices()[:4]),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 must be a positive integer"),
        ({"steps": 10**12}, "steps=1000000000000 must be a 32-bit integer"),
        ({"learning_rate": 0.0}, r"learning_rate=0\.0 must be positive and finite"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be positive and finite"),
        ({"learning_rate": "fast"}, "learning_rate='fast' must be positive and finite"),
        ({"weight_decay": -0.1}, r"weight_decay=-0\.1 must be 0 or more"),
        ({"clip_norm": 0.0}, r"clip_norm=0\.0 must be positive"),
        ({"steps": 2.5}, r"steps=2\.5 must be a positive integer"),
        ({"evaluate_every": -3}, "evaluate_every=-3 must be an integer of at least 0"),
        ({"checkpoint_every": -1}, "checkpoint_every=-1 must be"),
        ({"workers": -1}, "workers=-1 must be"),
        ({"patience": 2}, "set evaluate_every"),
        ({"patience": 2, "evaluate_every": 2, "keep_best": False}, "set keep_best"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        toys.make_recipe(**settings)
