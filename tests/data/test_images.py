import pickle

import numpy as np
import pytest

from jaxtransfer.data.images import ImagePreprocess
from jaxtransfer.errors import DataError

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def triangle(source, target):
    """Weights (target, source) of a tent as wide as one target pixel, or one source pixel."""
    scale = max(source / target, 1.0)
    centres = (np.arange(target) + 0.5) * source / target
    distance = np.abs(np.arange(source)[None] + 0.5 - centres[:, None]) / scale
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("source", "target"), [((8, 6), (4, 3)), ((5, 7), (9, 4)), ((4, 4), (4, 4))]
)
def test_stretching_is_the_antialiased_tent_filter_up_to_rounding(source, target):
    image = np.random.default_rng(0).integers(0, 256, (*source, 3), np.uint8)
    rows, columns = triangle(source[0], target[0]), triangle(source[1], target[1])
    expected = np.einsum("yh,hwc,xw->yxc", rows, image, columns)
    result = ImagePreprocess(target, **PLAIN, resize="stretch")([image])["image"][0] * 255
    assert result.shape == (*target, 3)
    # Rounded to whole pixel values after each of two passes.
    assert np.abs(result - expected).max() <= 1.01


def test_normalisation_of_a_constant_image_is_exact():
    image = np.full((10, 12, 3), (255, 0, 51), np.uint8)
    batch = ImagePreprocess(4, mean=(0.5, 0.25, 0.1), std=(0.5, 0.5, 0.2))([image])["image"]
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.full((1, 4, 4, 3), (1, -0.5, 0.5)), rtol=0, atol=1e-6)


def test_cropping_keeps_proportions_and_takes_the_middle():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 2:6] = 255
    batch = ImagePreprocess(4, **PLAIN)([image])["image"]
    np.testing.assert_array_equal(batch, np.ones((1, 4, 4, 3)))


def test_crop_fraction_cuts_the_border():
    image = np.zeros((8, 8, 3), np.uint8)
    image[2:6, 2:6] = 255
    batch = ImagePreprocess(4, **PLAIN, crop_fraction=0.5)([image])["image"]
    np.testing.assert_array_equal(batch, np.ones((1, 4, 4, 3)))


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1)])
def test_greyscale_is_repeated_over_the_channels(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = ImagePreprocess(6, **PLAIN)([image])["image"]
    for channel in range(3):
        np.testing.assert_allclose(batch[0, :, :, channel] * 255, image.reshape(6, 6), atol=1e-4)
    single = ImagePreprocess(6, mean=(0,), std=(1,))([image])["image"]
    np.testing.assert_array_equal(single, batch[..., :1])


def test_images_of_different_sizes_make_one_batch():
    images = [np.zeros((5, 9, 3), np.uint8), np.zeros((20, 5), np.uint8)]
    assert ImagePreprocess((2, 3), **PLAIN)(images)["image"].shape == (2, 2, 3, 3)
    assert ImagePreprocess(2, **PLAIN)([])["image"].shape == (0, 2, 2, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "image 0 has dtype float32, not uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"image 0 has shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"image 0 has shape \(0, 4, 3\)"),
        (
            np.zeros((4, 3), np.uint8),
            r"image 0 has shape \(4, 3\), as a row of pixels .* \[image\]",
        ),
        (np.zeros(4, np.uint8), r"image 0 has shape \(4,\).* \[image\]"),
    ],
)
def test_what_is_not_an_image_is_named(image, message):
    with pytest.raises(DataError, match=message):
        ImagePreprocess(4)([image])


def test_colour_is_not_made_grey_in_passing():
    with pytest.raises(DataError, match="is in colour, but one channel is asked for"):
        ImagePreprocess(4, mean=(0,), std=(1,))([np.zeros((4, 4, 3), np.uint8)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is"),
        ({"size": 4, "mean": (0, 0)}, "one value each for 1 or 3 channels"),
        ({"size": 4, "std": (1, 1, 0)}, "std positive"),
        ({"size": 4, "resize": "pad"}, "choose 'crop' or 'stretch'"),
        ({"size": 4, "crop_fraction": 1.5}, "crop_fraction is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        ImagePreprocess(**options)


def test_fingerprint_covers_every_setting_and_equal_settings_are_equal():
    base = ImagePreprocess(4)
    assert base == ImagePreprocess((4, 4))
    assert base.fingerprint == pickle.loads(pickle.dumps(base)).fingerprint
    others = [
        ImagePreprocess(5),
        ImagePreprocess(4, mean=(0, 0, 0)),
        ImagePreprocess(4, std=(1, 1, 1)),
        ImagePreprocess(4, resize="stretch"),
        ImagePreprocess(4, crop_fraction=0.9),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "HSV", "YCbCr", "L", "LA", "1"])
def test_an_image_of_pil_is_read_as_its_colours_and_not_as_the_numbers_that_stand_for_them(mode):
    from PIL import Image

    red = Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode)
    expected = np.asarray(red.convert("RGB"))
    found = ImagePreprocess(4, **PLAIN)([red])["image"]
    np.testing.assert_allclose(found[0] * 255, expected, atol=1e-4)


def test_an_image_of_pil_with_more_bits_is_refused():
    from PIL import Image

    with pytest.raises(DataError, match="image 0 has pixel mode 'I;16'"):
        ImagePreprocess(4)([Image.new("I;16", (4, 4))])
