import itertools

import numpy as np
import pytest

from jaxtransfer.data.examples import Examples
from jaxtransfer.data.folders import ImageFiles
from jaxtransfer.data.source import Table, from_arrays
from jaxtransfer.data.stream import PADDING, Stream, eval_batches
from jaxtransfer.errors import DataError


def examples(count):
    values = np.arange(2.0 * count).reshape(count, 2)
    return Examples(from_arrays(values, np.arange(count) % 2, classes=("even", "odd")))


def equal(a, b):
    np.testing.assert_array_equal(a["inputs"]["inputs"], b["inputs"]["inputs"])
    for key in ("label", "mask", "id"):
        np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize(("count", "batch"), [(7, 3), (6, 3), (1, 1), (3, 8)])
def test_every_example_occurs_once_an_epoch(count, batch):
    stream = Stream(examples(count), batch, seed=5)
    for epoch in range(3):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        rows = np.concatenate([stream.indices(step) for step in steps])
        assert len(rows) == batch * stream.steps_per_epoch
        assert sorted(rows[rows != PADDING].tolist()) == list(range(count))


def test_epochs_have_different_orders_unless_not_shuffled():
    shuffled, plain = Stream(examples(20), 20), Stream(examples(20), 20, shuffle=False)
    assert shuffled.indices(0).tolist() != shuffled.indices(1).tolist()
    assert plain.indices(0).tolist() == plain.indices(1).tolist() == list(range(20))


def test_a_batch_is_a_function_of_seed_and_step():
    again = Stream(examples(20), 4, seed=1)
    equal(Stream(examples(20), 4, seed=1).batch(7), again.batch(7))
    assert again.indices(7).tolist() != Stream(examples(20), 4, seed=2).indices(7).tolist()


def test_rows_of_a_batch_belong_together_and_padding_repeats_a_real_row():
    batch = Stream(examples(3), 5, seed=0).batch(0)
    assert batch["mask"].tolist() == [True] * 3 + [False] * 2
    assert batch["id"].tolist()[3:] == [PADDING] * 2
    rows = batch["id"][:3]
    np.testing.assert_array_equal(batch["inputs"]["inputs"][:3, 0], 2.0 * rows)
    np.testing.assert_array_equal(batch["label"][:3], rows % 2)
    np.testing.assert_array_equal(batch["inputs"]["inputs"][3:], batch["inputs"]["inputs"][[0, 0]])
    assert batch["label"].dtype == batch["id"].dtype == np.int32


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_make_the_global_batch(processes):
    data = examples(10)
    for step in range(6):
        parts = [
            Stream(data, 4, 3, process_index=index, process_count=processes).batch(step)
            for index in range(processes)
        ]
        whole = Stream(data, 4, 3).batch(step)
        assert len(whole["id"]) == 4
        inputs = [part.pop("inputs")["inputs"] for part in parts]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        equal({"inputs": {"inputs": np.concatenate(inputs)}, **joined}, whole)


def test_starting_late_equals_skipping():
    stream = Stream(examples(7), 3, seed=2)
    late = list(stream.iterate(4, 9))
    skipped = list(itertools.islice(stream.iterate(), 4, 9))
    assert len(late) == 5
    for step, (a, b) in enumerate(zip(late, skipped), start=4):
        equal(a, b)
        equal(a, stream.batch(step))


def test_iterating_without_a_stop_does_not_end_with_the_epoch():
    stream = Stream(examples(3), 2)
    batches = stream.iterate(prefetch=1)
    for step in range(7):
        equal(next(batches), stream.batch(step))
    batches.close()


def jitter(scale):
    def augment(arrays, generator):
        return {key: value + scale * generator.normal(size=2) for key, value in arrays.items()}

    return augment


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_batches(workers):
    stream = Stream(examples(7), 3, seed=2, augment=jitter(1.0))
    batches = list(stream.iterate(1, 6, workers=workers))
    assert len(batches) == 5
    for step, batch in enumerate(batches, start=1):
        equal(batch, stream.batch(step))


def test_augmentation_depends_on_seed_step_and_id_and_not_on_the_place_in_the_batch():
    data = examples(6)
    noise = {}
    for batch_size in (2, 6):
        stream = Stream(data, batch_size, 3, shuffle=False, augment=jitter(1.0))
        batch = stream.batch(0)
        noise[batch_size] = (batch["inputs"]["inputs"] - data.inputs(batch["id"])["inputs"])[:2]
    np.testing.assert_array_equal(noise[2], noise[6])
    assert not np.allclose(noise[2][0], noise[2][1])
    third = data.take([2])
    alone = Stream(third, 1, 3, augment=jitter(1.0)).batch(0)["inputs"]["inputs"][0]
    among = Stream(data, 6, 3, shuffle=False, augment=jitter(1.0)).batch(0)["inputs"]["inputs"][2]
    np.testing.assert_array_equal(alone, among)
    stream = Stream(data, 6, 3, shuffle=False, augment=jitter(1.0))
    assert not np.allclose(*(stream.batch(step)["inputs"]["inputs"] for step in (0, 1)))


def test_evaluation_has_every_example_once_in_order():
    batches = list(eval_batches(examples(7), 3))
    assert {batch["mask"].shape for batch in batches} == {(3,)}
    seen = np.concatenate([batch["id"][batch["mask"]] for batch in batches])
    assert seen.tolist() == list(range(7))


def test_evaluation_shares_rows_among_processes():
    parts = [
        list(eval_batches(examples(7), 4, process_index=index, process_count=2))
        for index in range(2)
    ]
    ids = [np.concatenate([a["id"], b["id"]]).tolist() for a, b in zip(*parts)]
    assert ids == [[0, 1, 2, 3], [4, 5, 6, PADDING]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_named_through_the_pipeline(tmp_path, workers):
    path = tmp_path / "bad.png"
    path.write_bytes(b"not an image")
    data = Examples(Table(ids=np.array(["bad.png"]), inputs=ImageFiles([path])))
    with pytest.raises(DataError, match=r"bad\.png is not an image"):
        next(Stream(data, 1).iterate(0, 1, workers=workers))


def test_what_cannot_be_batched_is_refused():
    with pytest.raises(DataError, match="no examples"):
        Stream(examples(2).take([]), 1)
    with pytest.raises(DataError, match="batch size 3 must be positive and divisible"):
        Stream(examples(2), 3, process_count=2)
    with pytest.raises(DataError, match="process 2 is not among the 2"):
        Stream(examples(2), 2, process_index=2, process_count=2)
    with pytest.raises(DataError, match="step -1 is negative"):
        Stream(examples(2), 2).batch(-1)
