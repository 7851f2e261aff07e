"""Cached activations: what they are keyed by, where they live, what a damaged file does."""

import dataclasses
import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

from jaxtransfer.adapt.freezing import LinearProbe, TopStages
from jaxtransfer.adapt.lora import LoRA
from jaxtransfer.errors import WorkdirError
from jaxtransfer.models.model import staged_call
from jaxtransfer.train import cache as cache_module
from jaxtransfer.train.cache import ActivationCache

BOUNDARY = 2


def build(cache, *, adapted=None, variables=None, examples=None, boundary=BOUNDARY, **options):
    adapted = toys.make_adapted(LinearProbe()) if adapted is None else adapted
    return cache.examples(
        adapted,
        adapted.variables if variables is None else variables,
        toys.make_examples(10) if examples is None else examples,
        boundary,
        batch_size=4,
        **options,
    )


def test_activations_are_those_of_the_network_in_the_examples_order():
    adapted, examples = toys.make_adapted(LinearProbe()), toys.make_examples(10)
    found = build(ActivationCache(), adapted=adapted, examples=examples)
    expected = adapted.model.apply(adapted.variables, examples.inputs(np.arange(10)), stop=BOUNDARY)
    np.testing.assert_allclose(found.arrays["hidden"], expected["hidden"], atol=1e-6)
    np.testing.assert_array_equal(found.ids, examples.ids)
    np.testing.assert_array_equal(found.labels, examples.labels)


def test_the_same_question_is_answered_from_memory():
    cache = ActivationCache()
    assert build(cache) is build(cache)
    assert cache.builds == 1


def test_leaves_above_the_boundary_do_not_matter():
    cache, adapted = ActivationCache(), toys.make_adapted(LinearProbe())
    build(cache, adapted=adapted)
    build(cache, adapted=toys.make_adapted(TopStages(count=1)))
    variables = jax.tree.map(lambda x: x, adapted.variables)
    variables["params"]["head"]["kernel"] = jnp.ones((8, 3))
    build(cache, adapted=adapted, variables=variables)
    assert cache.builds == 1


def test_everything_the_activations_depend_on_is_in_the_key():
    cache, adapted = ActivationCache(), toys.make_adapted(LinearProbe())
    build(cache, adapted=adapted)
    variables = jax.tree.map(lambda x: x, adapted.variables)
    variables["params"]["encoder"]["block_0"]["dense"]["bias"] = jnp.ones(8)
    build(cache, adapted=adapted, variables=variables)
    build(cache, adapted=adapted, examples=toys.make_examples(10, seed=1))
    build(cache, adapted=adapted, examples=toys.make_examples(10, name="other"))
    build(cache, adapted=adapted, boundary=1)
    build(cache, adapted=adapted, precision="bfloat16")
    assert cache.builds == 6


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (cache_module, "__version__", "another"),
        (jax, "__version__", "another"),
        (jax, "default_backend", lambda: "another"),
    ],
    ids=["package", "jax", "backend"],
)
def test_versions_and_backend_are_in_the_key(monkeypatch, place, name, value):
    cache = ActivationCache()
    build(cache, precision="float32")
    monkeypatch.setattr(place, name, value)
    build(cache, precision="float32")
    assert cache.builds == 2


def test_how_the_module_is_called_is_in_the_key():
    cache, adapted = ActivationCache(), toys.make_adapted(LinearProbe())

    def called(scale):
        def call(module, inputs, **options):
            return staged_call(module, jax.tree.map(lambda x: scale * x, inputs), **options)

        return dataclasses.replace(adapted, model=dataclasses.replace(adapted.model, call=call))

    one, two = (build(cache, adapted=called(scale)) for scale in (1.0, 2.0))
    assert cache.builds == 2
    assert not np.allclose(one.arrays["hidden"], two.arrays["hidden"])


def test_a_method_with_leaves_below_the_boundary_is_in_the_key():
    cache, base = ActivationCache(), toys.make_adapted(LoRA(rank=2, alpha=4.0))
    build(cache, adapted=base, boundary=1)
    louder = dataclasses.replace(base, method=LoRA(rank=2, alpha=8.0))
    build(cache, adapted=louder, boundary=1)
    assert cache.builds == 2


def test_ids_are_in_the_key_whatever_the_fingerprint_says():
    cache = ActivationCache()
    for name in "ab":
        examples = toys.make_examples(10, name=name)
        object.__setattr__(examples, "fingerprint", "the same")
        found = build(cache, examples=examples)
        np.testing.assert_array_equal(found.ids, examples.ids)


def test_weights_at_the_address_of_others_are_not_taken_for_them():
    cache, adapted = ActivationCache(), toys.make_adapted(LinearProbe())
    for count in range(1, 9):
        variables = jax.tree.map(lambda x: x, adapted.variables)
        variables["params"]["encoder"]["block_0"]["dense"]["bias"] = jnp.full(8, float(count))
        build(cache, adapted=adapted, variables=variables)
        del variables
        gc.collect()
        assert cache.builds == count


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    """A file of the draft stands for the full device, which refuses each write."""
    directory = tmp_path / "cache"
    draft = directory / "draft"

    def make(**_):
        draft.mkdir()
        (draft / "hidden").symlink_to("/dev/full")
        return str(draft)

    monkeypatch.setattr(cache_module.tempfile, "mkdtemp", make)
    with pytest.raises(WorkdirError, match=r"cannot write .*cache/\w+: No space left .*free space"):
        build(ActivationCache(directory, memory_budget=0))
    assert list(directory.iterdir()) == []


def test_over_the_budget_files_are_mapped(tmp_path):
    in_memory = build(ActivationCache())
    cache = ActivationCache(tmp_path, memory_budget=0)
    mapped = build(cache)
    assert isinstance(mapped.arrays["hidden"], np.memmap)
    np.testing.assert_array_equal(mapped.arrays["hidden"], in_memory.arrays["hidden"])
    again = ActivationCache(tmp_path, memory_budget=0)
    np.testing.assert_array_equal(build(again).arrays["hidden"], in_memory.arrays["hidden"])
    assert (cache.builds, again.builds) == (1, 0)


def test_bfloat16_activations_survive_the_file(tmp_path):
    cache = ActivationCache(tmp_path, memory_budget=0)
    found = build(cache, precision="bfloat16")
    assert found.arrays["hidden"].dtype == jnp.bfloat16
    exact = build(ActivationCache(), precision="float32")
    np.testing.assert_allclose(
        np.asarray(found.arrays["hidden"], np.float32), exact.arrays["hidden"], atol=0.05
    )


@pytest.mark.parametrize("damage", ["cut", "manifest", "no manifest"])
def test_a_damaged_file_is_built_again(tmp_path, damage):
    expected = np.array(build(ActivationCache(tmp_path, memory_budget=0)).arrays["hidden"])
    (entry,) = tmp_path.iterdir()
    if damage == "cut":
        (entry / "hidden").write_bytes((entry / "hidden").read_bytes()[:-4])
    elif damage == "manifest":
        (entry / "manifest.json").write_text("{}")
    else:
        (entry / "manifest.json").unlink()
    cache = ActivationCache(tmp_path, memory_budget=0)
    np.testing.assert_array_equal(build(cache).arrays["hidden"], expected)
    assert cache.builds == 1


def test_a_build_that_fails_leaves_nothing(tmp_path):
    examples = toys.make_examples(10)
    reads = []

    class Failing:
        ids, labels, fingerprint = examples.ids, examples.labels, "failing"

        def __len__(self):
            return 10

        def inputs(self, indices):
            reads.append(indices)
            if len(reads) == 3:
                raise RuntimeError("the third read fails")
            return examples.inputs(indices)

    with pytest.raises(RuntimeError, match="third read"):
        build(ActivationCache(tmp_path, memory_budget=0), examples=Failing())
    assert list(tmp_path.iterdir()) == []


def test_another_process_that_was_faster_is_believed(tmp_path):
    examples, faster = toys.make_examples(10), []

    class Slow:
        ids, labels, fingerprint = examples.ids, examples.labels, examples.fingerprint

        def __len__(self):
            return 10

        def inputs(self, indices):
            if len(indices) > 1 and not faster:
                faster.append(build(ActivationCache(tmp_path, memory_budget=0), examples=examples))
            return examples.inputs(indices)

    found = build(ActivationCache(tmp_path, memory_budget=0), examples=Slow())
    assert found.arrays["hidden"].filename == faster[0].arrays["hidden"].filename
    np.testing.assert_array_equal(found.arrays["hidden"], faster[0].arrays["hidden"])
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_directory_what_exceeds_the_budget_is_not_cached():
    cache = ActivationCache(memory_budget=0)
    assert build(cache) is None
    assert cache.builds == 0


def test_the_least_recently_used_entry_goes_first():
    size = 10 * 8 * 4
    cache = ActivationCache(memory_budget=2 * size)
    a, b, c = (toys.make_examples(10, name=name) for name in "abc")
    for examples in (a, b, a, c, a):
        build(cache, examples=examples)
    assert cache.builds == 3
    build(cache, examples=b)
    assert cache.builds == 4


def test_a_module_with_other_settings_has_another_key():
    cache, adapted = ActivationCache(), toys.make_adapted(LinearProbe())
    build(cache, adapted=adapted)
    encoder = adapted.model.module.encoder.clone(dropout=0.5)
    module = adapted.model.module.clone(encoder=encoder)
    model = dataclasses.replace(adapted.model, module=module)
    build(cache, adapted=dataclasses.replace(adapted, model=model))
    assert cache.builds == 2
