"""LoRA against peft, on a small BERT and on a convolution, with peft's A and B."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.adapt import LoRA, adapt, merge
from jaxtransfer.models.bert import Bert
from jaxtransfer.models.bert_names import RULES
from jaxtransfer.models.model import Model, from_module
from jaxtransfer.pretrained.names import rename
from jaxtransfer.trees import Rule

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
]

SIZES = {"vocabulary": 50, "width": 32, "layers": 2, "heads": 4, "hidden": 48, "positions": 16}
TOKENS = np.random.default_rng(0).integers(1, 50, size=(3, 9)).astype(np.int32)
MASK = (np.arange(9)[None] < np.array([9, 5, 7])[:, None]).astype(np.int32)


def randomised(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def peers():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    base = transformers.BertModel(config, add_pooling_layer=False).eval()
    arrays = {k: v.detach().numpy().copy() for k, v in base.state_dict().items()}
    lora = peft.LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=["query", "key", "value", "dense", "word_embeddings"],
        rank_pattern={"key": 2},
    )
    return arrays, randomised(peft.get_peft_model(base, lora))


def delta_of(model, method, ours):
    """Our delta from peft's A and B; `ours` gives the name of a module in our tree."""
    state = {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}
    shapes = trees.flatten(method.init(jax.random.key(0), ours))
    flat = {}
    for name, leaf in state.items():
        found = re.fullmatch(r"base_model\.model\.(.*)\.lora_(?:embedding_)?([AB])\..*", name)
        if not found:
            continue
        module, which = found.groups()
        (path,) = rename({f"{module}.weight": np.zeros((1, 1))}, RULES)
        path = f"{path.rpartition('/')[0]}/lora_{which.lower()}"
        # Linear: A (r, in), B (out, r). Embedding: A (r, V), B (D, r).
        flat[path] = jnp.asarray(leaf.T)
    assert {p: x.shape for p, x in flat.items()} == {p: x.shape for p, x in shapes.items()}
    return trees.unflatten(flat)


def test_forward_and_merged_weights_of_a_bert_are_pefts(peers):
    arrays, peer = peers
    tree = trees.unflatten(rename(arrays, RULES))
    module = Bert(**SIZES)
    tokens = jax.ShapeDtypeStruct((2, 9), jnp.int32)
    model = Model(
        name="bert",
        module=module,
        variables={"params": jax.tree.map(jnp.asarray, tree)},
        example={"input_ids": tokens, "attention_mask": tokens},
        stages=module.stages,
    )
    targets = (Rule(".*/key", 2), r"layer_\d+/attention/\w+", r".*/mlp/\w+", "embeddings/word")
    method = LoRA(rank=4, alpha=12.0, targets=targets, head=None)
    adapted = adapt(model, method, rng=jax.random.key(0))
    variables = {**adapted.variables, "delta": delta_of(peer, method, model)}
    inputs = {"input_ids": jnp.asarray(TOKENS), "attention_mask": jnp.asarray(MASK)}
    ours = jax.jit(lambda v: adapted.apply(v, inputs)[0]["hidden"])(variables)
    with torch.no_grad():
        theirs = peer(
            input_ids=torch.tensor(TOKENS).long(), attention_mask=torch.tensor(MASK).long()
        ).last_hidden_state.numpy()
    kept = MASK.astype(bool)
    np.testing.assert_allclose(ours[kept], theirs[kept], atol=1e-5)

    merged = trees.flatten(merge(adapted, variables).variables["params"])
    state = peer.merge_and_unload().state_dict()
    expected = rename({k: v.detach().numpy() for k, v in state.items()}, RULES)
    assert merged.keys() == expected.keys()
    for path, leaf in merged.items():
        np.testing.assert_allclose(leaf, expected[path], atol=1e-5, err_msg=path)


def test_forward_and_merged_kernel_of_a_convolution_are_pefts():
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Conv2d(3, 5, (3, 2), stride=2, padding=1))
    kernel = base[0].weight.detach().numpy().transpose(2, 3, 1, 0).copy()
    bias = base[0].bias.detach().numpy().copy()
    lora = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"])
    peer = randomised(peft.get_peft_model(base, lora))
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype(np.float32)
    layer = nn.Conv(5, (3, 2), strides=2, padding=1)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    model = from_module(layer, {"params": params}, jnp.asarray(x), name="conv")
    method = LoRA(rank=2, alpha=6.0, targets=("",), head=None)
    adapted = adapt(model, method, rng=jax.random.key(0))
    state = {k: v.detach().numpy() for k, v in peer.state_dict().items()}
    a = next(v for k, v in state.items() if "lora_A" in k)
    b = next(v for k, v in state.items() if "lora_B" in k)
    delta = {
        "lora_a": jnp.asarray(a.transpose(2, 3, 1, 0).reshape(-1, 2)),
        "lora_b": jnp.asarray(b[:, :, 0, 0].T),
    }
    variables = {**adapted.variables, "delta": delta}
    ours = adapted.apply(variables, {"inputs": jnp.asarray(x)})[0]["logits"]
    with torch.no_grad():
        theirs = peer(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    merged = merge(adapted, variables).variables["params"]["kernel"]
    expected = peer.merge_and_unload()[0].weight.detach().numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(merged, expected, atol=1e-6)
