"""Where arrays live: meshes, shardings by path rules, and batches cut over the mesh.

Batches are cut over the axis `data`. Parameters are whole on every device unless a rule gives their
path a `PartitionSpec`, over `model`, over `data` (fully sharded data parallelism), or both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError
from jaxtransfer.train.state import Frozen, TrainState
from jaxtransfer.trees import Rule

DATA = "data"
MODEL = "model"


def make_mesh(
    *, data: int | None = None, model: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh with axes `data` and `model`.

    Args:
      data: devices to cut batches over; all that remain if left out.
      model: devices to cut parameters over, where rules say so.
      devices: the devices to use; all there are if left out.

    Raises:
      ConfigError: if the sizes do not fit the devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    if data is None:
        data = len(devices) // model
    if data < 1 or model < 1 or data * model > len(devices):
        raise ConfigError(
            f"a mesh of data={data} x model={model} needs {data * model} devices; there are"
            f" {len(devices)}"
        )
    grid = np.asarray(devices[: data * model]).reshape(data, model)
    return Mesh(grid, (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def default_mesh() -> Mesh:
    """All accelerators, or one device of a CPU; all devices when there are several processes."""
    if jax.default_backend() == "cpu" and jax.process_count() == 1:
        return make_mesh(devices=jax.devices()[:1])
    return make_mesh()


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_data(mesh: Mesh) -> NamedSharding:
    """Cut along the first axis over `data`."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def variable_shardings(
    variables: Mapping[str, Any], mesh: Mesh, rules: Sequence[Rule] = ()
) -> dict[str, Any]:
    """A tree of shardings like the variables; a leaf without a rule is whole on every device.

    Args:
      variables: nested.
      mesh: see `make_mesh`.
      rules: values are `PartitionSpec`s, or tuples of axis names and None.
    """
    flat = trees.flatten_variables(variables)
    shardings = {path: _spec_of(path, leaf, mesh, rules) for path, leaf in flat.items()}
    return trees.unflatten_variables(shardings, variables)


def check_rules(variables: Mapping[str, Any], rules: Sequence[Rule]) -> None:
    """Raises a RuleError if a sharding rule wins no leaf and is not optional."""
    everything = [*rules, Rule(".*", PartitionSpec(), optional=True)]
    trees.apply_rules(everything, trees.flatten_variables(variables))


def state_shardings(state: TrainState, mesh: Mesh, rules: Sequence[Rule] = ()) -> TrainState:
    """Shardings of a state: an optimizer leaf lies as the trainable leaf it belongs to."""
    whole: Any = replicated(mesh)
    of_trainable = trees.flatten_variables(variable_shardings(state.trainable, mesh, rules))
    shapes = trees.flatten_variables(state.trainable)

    def of_optimizer(path, leaf):
        # Moments mirror the trainable tree: the dict keys at the end of their path are its own.
        names: list[str] = []
        for entry in reversed(path):
            if not isinstance(entry, jax.tree_util.DictKey):
                break
            names.insert(0, str(entry.key))
        name = "/".join(names).removeprefix(f"{trees.PARAMS}/")
        if name in of_trainable and shapes[name].shape == leaf.shape:
            return of_trainable[name]
        return whole

    return TrainState(
        step=whole,
        trainable=variable_shardings(state.trainable, mesh, rules),
        statistics=jax.tree.map(lambda _: whole, state.statistics),
        optimizer=jax.tree_util.tree_map_with_path(of_optimizer, state.optimizer),
        key=whole,
    )


def frozen_shardings(frozen: Frozen, mesh: Mesh, rules: Sequence[Rule] = ()) -> Frozen:
    """Shardings of what a step only reads."""
    reference = frozen.reference
    return Frozen(
        variables=variable_shardings(frozen.variables, mesh, rules),
        reference=None if reference is None else variable_shardings(reference, mesh, rules),
    )


def place(tree: Any, shardings: Any) -> Any:
    """Puts values that every process holds where their shardings say."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def put(leaf, sharding):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda leaf: put(leaf, shardings), tree)
    return jax.tree.map(put, tree, shardings)


def rows_per_process(batch_size: int, mesh: Mesh) -> int:
    """Rows of the global batch that each process makes, after `pad_rows`.

    Raises:
      ConfigError: if the processes do not divide the batch.
    """
    count = jax.process_count()
    if batch_size % count:
        raise ConfigError(f"batch size {batch_size} is not divisible by the {count} processes")
    share = mesh.shape[DATA] // count if count > 1 else mesh.shape[DATA]
    return -(-(batch_size // count) // max(share, 1)) * max(share, 1)


def pad_rows(rows: np.ndarray, size: int, value: Any = None) -> np.ndarray:
    """Appends copies of the last row (or `value`) until there are `size`."""
    missing = size - len(rows)
    if missing <= 0:
        return rows
    filler = rows[-1:] if value is None else np.full_like(rows[-1:], value)
    return np.concatenate([rows, np.repeat(filler, missing, axis=0)])


def place_batch(batch: Mapping[str, Any], mesh: Mesh, batch_size: int) -> dict[str, Any]:
    """Puts this process's rows of a batch on the mesh, padded so that the devices divide them.

    Args:
      batch: `inputs` (dict of (b, ...)), and other arrays (b,) of which `mask` is false where
        padded.
      mesh: see `make_mesh`.
      batch_size: rows of the global batch, before padding.
    """
    size = rows_per_process(batch_size, mesh)
    sharding = over_data(mesh)

    def put(rows, value=None):
        padded = pad_rows(np.asarray(rows), size, value)
        if jax.process_count() == 1:
            return jax.device_put(padded, sharding)
        return jax.make_array_from_process_local_data(sharding, padded)

    placed: dict[str, Any] = {
        name: put(rows, False if name == "mask" else None)
        for name, rows in batch.items()
        if name != "inputs"
    }
    placed["inputs"] = {name: put(rows) for name, rows in batch["inputs"].items()}
    return placed


def to_host(tree: Any) -> Any:
    """Copies a tree to host memory, whole, on every process."""

    def fetch(leaf):
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(fetch, tree)


def _spec_of(path: str, leaf: Any, mesh: Mesh, rules: Sequence[Rule]) -> NamedSharding:
    rule = next((rule for rule in rules if rule.matches(path)), None)
    if rule is None:
        return replicated(mesh)
    spec = PartitionSpec(*rule.value)
    for size, axes in zip(leaf.shape, spec):
        names = (axes,) if isinstance(axes, str) else tuple(axes or ())
        unknown = [name for name in names if name not in mesh.shape]
        if unknown:
            raise ConfigError(
                f"sharding rule {rule.pattern!r} names axis {unknown[0]!r}; the mesh has"
                f" {tuple(mesh.shape)}"
            )
        parts = int(np.prod([mesh.shape[name] for name in names]))
        if size % parts:
            raise ConfigError(
                f"sharding rule {rule.pattern!r} cuts {path!r} {tuple(leaf.shape)} into {parts}"
                f" parts along an axis of {size}; they must divide it"
            )
    if len(spec) > len(leaf.shape):
        raise ConfigError(
            f"sharding rule {rule.pattern!r} has {len(spec)} axes, but {path!r} has"
            f" {len(leaf.shape)}"
        )
    return NamedSharding(mesh, spec)
