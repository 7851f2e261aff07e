"""Corruptions of images are functions of (seed, id, kind, severity), and what their definitions say."""

import colorsys
import io
import itertools
import os
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from jaxtransfer.data import Examples, ImagePreprocess, from_arrays
from jaxtransfer.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corrupted, corruption
from jaxtransfer.data.corruptions.blur import (
    bilinear,
    gaussian_matrix,
    motion_positions,
    pixel_matrix,
)
from jaxtransfer.data.corruptions.geometry import turned
from jaxtransfer.data.corruptions.keys import key_words
from jaxtransfer.data.corruptions.light import brightness, clouds
from jaxtransfer.data.corruptions.noise import poisson_quantile
from jaxtransfer.errors import DataError

SHAPE = (14, 12, 3)
IDS = [f"image-{number}" for number in range(70)]
KINDS = list(CORRUPTIONS["image"])


@pytest.fixture(scope="module")
def images():
    """Smooth random pictures, (70, 14, 12, 3) uint8; more than a block of 64."""
    rng = np.random.default_rng(0)
    rough = rng.random((len(IDS), *SHAPE))
    smooth = ndimage.gaussian_filter(rough, (0, 2, 2, 0))
    low, high = smooth.min(axis=(1, 2, 3)), smooth.max(axis=(1, 2, 3))
    scaled = (smooth - low[:, None, None, None]) / (high - low)[:, None, None, None]
    return (20 + 215 * scaled).astype(np.uint8)


def of(images, kind, severity, ids=IDS, seed=0):
    return np.stack(corrupt(images, ids[: len(images)], kind=kind, severity=severity, seed=seed))


def parts(images):
    """The same first image, among few and among many."""
    return (images[:2], IDS[:2]), (images[:65], IDS[:65])


def test_the_registry_has_what_is_promised_in_five_severities():
    assert len(KINDS) == 13
    names = [*KINDS, *CORRUPTIONS["text"]]
    assert len(set(names)) == len(names) == 20
    for name in names:
        assert len(corruption(name).values) == len(SEVERITIES)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_dtype_stay_and_severity_zero_is_the_identity(images, kind):
    few = images[:3]
    assert np.array_equal(of(few, kind, 0), few)
    result = of(few, kind, 3)
    assert result.dtype == np.uint8
    assert result.shape == few.shape
    assert not np.array_equal(result, few)
    real = corrupt(few / 255, IDS[:3], kind=kind, severity=3, seed=0)
    assert real[0].dtype == np.float64
    assert min(map(np.min, real)) >= 0
    assert max(map(np.max, real)) <= 1
    assert np.abs(np.stack(real) * 255 - result).max() < 0.51


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_does_not_depend_on_the_batch_or_its_order(images, kind):
    whole = of(images, kind, 4)
    order = np.random.default_rng(1).permutation(len(images))
    shuffled = corrupt(images[order], np.array(IDS)[order], kind=kind, severity=4, seed=0)
    assert np.array_equal(np.stack(shuffled), whole[order])
    (alone,) = corrupt([images[66]], [IDS[66]], kind=kind, severity=4, seed=0)
    assert np.array_equal(alone, whole[66])
    real = [corrupt(x / 255, y, kind=kind, severity=4, seed=0)[0] for x, y in parts(images)]
    assert np.array_equal(*real)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("gaussian_blur", "pixelate")])
def test_chance_differs_by_id_and_seed_where_there_is_any(images, kind):
    same = np.stack([images[0]] * 8)
    by_id = of(same, kind, 5)
    if kind in ("contrast", "brightness", "jpeg_compression"):
        assert (by_id == by_id[0]).all()
    else:
        assert len({image.tobytes() for image in by_id}) > (1 if kind == "rotation" else 4)
        assert not np.array_equal(by_id, of(same, kind, 5, seed=1))


def test_another_process_draws_the_same(images):
    program = (
        "import numpy as np, sys\n"
        "from jaxtransfer.data.corruptions import corrupt\n"
        "x = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(14, 12, 3)\n"
        "out = corrupt([x], ['image-5'], kind='impulse_noise', severity=2, seed=0)[0]\n"
        "sys.stdout.buffer.write(out.tobytes())"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "PYTHONHASHSEED": "7"}
    environment |= {"JAX_THREEFRY_PARTITIONABLE": "0", "JAX_ENABLE_X64": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=images[5].tobytes(),
        capture_output=True,
        env=environment,
        check=True,
    )
    assert done.stdout == of(images, "impulse_noise", 2)[5].tobytes()


def test_keys_are_pinned():
    # Changing how keys are made would change every corrupted data set ever measured.
    assert key_words(0, "fog", "a").tolist() == [2757333409, 3985627889]
    assert key_words(1, "fog", "a").tolist() != key_words(0, "fog", "a").tolist()
    assert key_words(0, "fog", "1a").tolist() != key_words(0, "fog1", "a").tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_severer_is_farther_from_the_clean_image(images, kind):
    distances = [np.abs(of(images, kind, s) - images.astype(float)).mean() for s in SEVERITIES]
    assert distances[4] > 1.1 * distances[0]
    # Fog's fourth step is a rougher cloud of the same amount; cells of a pixelation may fit edges.
    if kind not in ("fog", "pixelate"):
        assert all(a < b for a, b in itertools.pairwise(distances)), distances


def test_noise_has_its_scale():
    grey = np.full((64, *SHAPE), 0.5)
    noisy = np.stack(corrupt(grey, IDS[:64], kind="gaussian_noise", severity=2, seed=0))
    assert noisy.std() == pytest.approx(0.12, rel=0.02)
    assert stats.kstest((noisy.ravel() - 0.5) / 0.12, "norm").pvalue > 0.001
    impulse = np.stack(corrupt(grey, IDS[:64], kind="impulse_noise", severity=5, seed=0))
    shares = [(impulse == v).mean() for v in (0.0, 1.0)]
    assert shares == pytest.approx([0.135, 0.135], abs=0.01)
    assert ((impulse == 0) | (impulse == 1) | (impulse == 0.5)).all()
    shot = np.stack(corrupt(0.3 * grey, IDS[:64], kind="shot_noise", severity=1, seed=0))
    assert shot.mean() == pytest.approx(0.15, rel=0.01)
    assert shot.var() == pytest.approx(0.15 / 60, rel=0.03)


def test_poisson_counts_are_the_quantiles_of_scipy():
    level = (np.arange(2000) + 0.5) / 2000
    for expected in (0.0, 0.3, 4.0, 31.7):
        counts = poisson_quantile(level.astype(np.float32), np.full(2000, expected, np.float32), 60)
        assert np.array_equal(counts, np.minimum(stats.poisson.ppf(level, expected), 60))


def test_severities_share_their_noise(images):
    lesser, severer = (of(images, "impulse_noise", s) for s in (2, 5))
    hit = lesser != images
    assert np.array_equal(severer[hit], lesser[hit])
    small, large = (of(images, "occlusion", s) == 128 for s in (1, 5))
    assert small.any()
    assert large[small].all()


def test_blur_is_that_of_scipy():
    image = np.random.default_rng(0).random((17, 9))
    rows, columns = gaussian_matrix(17, 1.7), gaussian_matrix(9, 1.7)
    expected = ndimage.gaussian_filter(image, 1.7, mode="nearest")
    np.testing.assert_allclose(rows @ image @ columns.T, expected, atol=1e-6)


def test_rotation_and_positions_between_pixels_are_those_of_scipy():
    image = np.random.default_rng(0).random((13, 10, 1)).astype(np.float32)
    for degrees in (-30.0, 11.0):
        expected = ndimage.rotate(image[:, :, 0], degrees, reshape=False, order=1, mode="nearest")
        np.testing.assert_allclose(turned(image, degrees)[:, :, 0], expected, atol=2e-5)
    rows, columns = np.mgrid[:13, :10] + np.array([0.3, -1.6])[:, None, None]
    expected = ndimage.shift(image[:, :, 0], (-0.3, 1.6), order=1, mode="nearest")
    moved = bilinear(image, rows.astype(np.float32), columns.astype(np.float32))
    np.testing.assert_allclose(moved[:, :, 0], expected, atol=1e-6)


def test_motion_blur_spreads_a_point_along_a_line_of_its_length():
    image = np.zeros((41, 41), np.float32)
    image[20, 20] = 1
    (blurred,) = corrupt([image], ["a"], kind="motion_blur", severity=5, seed=0)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    positions = motion_positions(25.0, (41, 41))[0]
    rows, columns = np.mgrid[:41, :41] - 20.0
    covariance = np.cov(np.stack([rows.ravel(), columns.ravel()]), aweights=blurred.ravel(), ddof=0)
    across, along = np.linalg.eigvalsh(covariance)
    assert along == pytest.approx(np.var(positions), rel=0.05)
    length = 25 * (41 / 224) ** 0.5
    assert np.ptp(positions) == pytest.approx(length)
    assert along == pytest.approx(length**2 / 12, rel=0.2)
    assert across < 0.4


def test_pixelation_is_a_mean_over_blocks():
    image = np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)
    small = Image.fromarray(image).resize((4, 4), Image.Resampling.BOX)
    expected = np.asarray(small.resize((12, 12), Image.Resampling.NEAREST), float)
    matrix = pixel_matrix(12, 4)
    # Pillow rounds after the rows and after the columns.
    assert np.abs(matrix @ image @ matrix.T - expected).max() <= 1
    uneven = pixel_matrix(14, 5)
    np.testing.assert_allclose(uneven.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(uneven, axis=0)) == 5


def test_brightness_keeps_hue_and_saturation():
    image = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    image[0, 0] = 0
    result = np.asarray(brightness(image, None, 0.2))
    for before, after in zip(image.reshape(-1, 3), result.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.2))
        np.testing.assert_allclose(after, expected, atol=1e-6)


def test_contrast_keeps_the_mean(images):
    result = np.stack(corrupt(images / 255, IDS, kind="contrast", severity=2, seed=0))
    before, after = (x.mean(axis=(1, 2)) for x in (images / 255, result))
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert result.std(axis=(1, 2)) == pytest.approx(0.3 * (images / 255).std(axis=(1, 2)), rel=1e-4)


def test_fog_has_its_spectrum():
    spectra = []
    for number in range(20):
        field = np.asarray(clouds(jax.random.key(number), (64, 64), 1.5))
        assert (field.min(), field.max()) == pytest.approx((0, 1), abs=1e-6)
        spectra.append(np.abs(np.fft.rfft2(field - field.mean()))[0, 1:30] ** 2)
    slope = np.polyfit(np.log(np.arange(1, 30)), np.log(np.mean(spectra, axis=0)), 1)[0]
    assert slope == pytest.approx(-3, abs=0.4)


def test_fog_is_mixed_as_its_table_says(images):
    parameters = corruption("fog").parameters
    assert parameters(1, SHAPE[:2]) == pytest.approx((0.6, 2.0))
    assert parameters(5, SHAPE[:2]) == pytest.approx((0.75, 1 + np.log2(1.4)))
    black, white = (np.full((1, *SHAPE), value) for value in (0.0, 1.0))
    dark, bright = (
        np.stack(corrupt(x, ["a"], kind="fog", severity=1, seed=0)) for x in (black, white)
    )
    np.testing.assert_allclose(bright - dark, 0.4, atol=1e-6)
    assert (dark.min(), dark.max()) == pytest.approx((0, 0.6), abs=1e-6)


def test_what_is_covered_lies_inside_and_has_its_area():
    image = np.zeros((20, 30))
    for name in map(str, range(40)):
        for share, severity in ((0.04, 1), (0.36, 5)):
            (covered,) = corrupt([image], [name], kind="occlusion", severity=severity, seed=0)
            rows, columns = np.nonzero(covered)
            assert len(rows) == 600 * share
            assert np.ptp(rows) + 1 == 20 * share**0.5
            assert np.ptp(columns) + 1 == 30 * share**0.5


def test_jpeg_is_pillows(images):
    with io.BytesIO() as file:
        Image.fromarray(images[0]).save(file, format="JPEG", quality=15, subsampling=2)
        expected = np.asarray(Image.open(file))
    assert np.array_equal(of(images[:1], "jpeg_compression", 3)[0], expected)
    with pytest.raises(DataError, match="image 'a': a JPEG has 1 or 3 channels, not 4"):
        corrupt([np.zeros((8, 8, 4))], ["a"], kind="jpeg_compression", severity=1, seed=0)


def test_translation_moves_whole_pixels_by_its_share(images):
    image = np.zeros((25, 25), np.uint8)
    image[12, 12] = 255
    places = []
    for name in map(str, range(40)):
        (moved,) = corrupt([image], [name], kind="translation", severity=4, seed=0)
        assert np.count_nonzero(moved) == 1
        places.append(np.argwhere(moved)[0] - 12)
    distances = np.linalg.norm(places, axis=1)
    assert np.abs(distances - 4).max() <= 0.75
    assert len(np.unique(np.sign(places), axis=0)) >= 7


def test_grey_images_and_mixed_sizes_keep_their_shapes(images):
    mixed = [images[0], images[1][:, :, 0], images[2][:9, :, :1], Image.fromarray(images[3])]
    results = corrupt(mixed, IDS[:4], kind="contrast", severity=1, seed=0)
    assert [r.shape for r in results] == [(14, 12, 3), (14, 12), (9, 12, 1), (14, 12, 3)]


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([np.zeros((3, 3))], {"kind": "gausian_noise"}, "unknown corruption .*'gaussian_noise'"),
        ([np.zeros((3, 3))], {"severity": 6}, "severity is 6; give 0 "),
        ([np.zeros((3, 3))], {"severity": 1.5}, "severity is 1.5"),
        ([np.zeros((3, 3))], {"seed": 1.5}, "seed is 1.5; give a whole number"),
        ([np.full((3, 3), 7.0)], {}, r"image 'a' has values from 7 to 7; floats are in \[0, 1\]"),
        ([np.full((3, 3), np.nan)], {}, "image 'a' has values from nan"),
        ([np.zeros((3, 3), int)], {}, "image 'a' has dtype int64"),
        ([np.zeros(3)], {}, r"image 'a' has shape \(3,\)"),
        (["text"], {}, "'fog' corrupts images, but 'a' is a str; of texts there are"),
        ([np.zeros((3, 3))] * 2, {}, "2 inputs have 1 ids"),
    ],
)
def test_bad_input_is_named(inputs, options, message):
    with pytest.raises(DataError, match=message):
        corrupt(inputs, ["a"], **{"kind": "fog", "severity": 1, "seed": 0} | options)


def test_a_corrupted_table_feeds_examples_in_any_order(images):
    clean = from_arrays(images, np.arange(70) % 2, ids=IDS)
    table = corrupted(clean, kind="impulse_noise", severity=2, seed=0)
    assert table.ids.tolist() == IDS
    assert np.array_equal(table.labels, clean.labels)
    expected = of(images, "impulse_noise", 2)
    assert np.array_equal(table.inputs[69], expected[69])
    assert np.array_equal(table.inputs[-1], expected[-1])
    with pytest.raises(IndexError):
        table.inputs[70]
    preprocess = ImagePreprocess(SHAPE[:2])
    rows = np.array([68, 3, 3])
    got = Examples(pickle.loads(pickle.dumps(table)).take([3, 68]), preprocess).inputs([1, 0, 0])
    assert np.array_equal(got["image"], preprocess(expected[rows])["image"])


def test_rows_taken_are_the_same_and_no_others_are_made(images):
    asked = []

    class Watched(list):
        def __getitem__(self, index):
            asked.append(index)
            return images[index]

    watched = Watched(images)
    lazy = corrupted(from_arrays([0] * 70, ids=IDS), kind="contrast", severity=2, seed=0)
    lazy.inputs.base = watched
    taken = lazy.take([66, 3])
    assert np.array_equal(np.stack(list(taken.inputs)), of(images, "contrast", 2)[[66, 3]])
    assert asked == [66, 3]
    assert taken.take([1]).fingerprint == lazy.take([3]).fingerprint


def test_fingerprints_tell_corruptions_apart(images):
    clean = from_arrays(images[:3], np.arange(3), ids=IDS[:3])
    prints = {
        corrupted(clean, kind=kind, severity=severity, seed=seed).fingerprint
        for kind, severity, seed in (
            ("fog", 1, 0),
            ("fog", 2, 0),
            ("fog", 1, 1),
            ("contrast", 1, 0),
        )
    }
    assert len(prints | {clean.fingerprint}) == 5
    # Hashing needs no corrupted pixel.
    assert corrupted(clean, kind="fog", severity=1, seed=0).inputs._blocks == {}


def test_a_table_of_many_sizes_is_scaled_to_one(images):
    mixed = from_arrays([images[0], images[1][:9], images[2][:, :, 0]], np.arange(3))
    table = corrupted(mixed, kind="contrast", severity=0, seed=0, size=8)
    assert [image.shape for image in table.inputs] == [(8, 8, 3), (8, 8, 3), (8, 8, 1)]
    expected = ImagePreprocess(8, (0, 0, 0), (1, 1, 1))([images[0]])["image"][0] * 255
    assert np.array_equal(table.inputs[0], np.rint(expected))
    with pytest.raises(DataError, match="'swap' corrupts texts, which have no size 8"):
        corrupted(mixed, kind="swap", severity=1, seed=0, size=8)
