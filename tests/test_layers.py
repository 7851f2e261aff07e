"""The shape of the package: imports point down only, and a module has one subject."""

import ast
import pathlib

import pytest

import jaxtransfer

ROOT = pathlib.Path(jaxtransfer.__file__).parent
NAME = ROOT.name

LAYERS = (
    {"__main__"},
    {"cli", "api", "__init__"},
    {"protocol", "fitted"},
    {"analyse"},
    {"train", "evaluation"},
    {"adapt", "objectives", "models", "data", "given", "pretrained"},
    {
        "checking",
        "optim",
        "partition",
        "tasks",
        "trees",
        "errors",
        "host_memory",
        "json_text",
        "version",
    },
)
"""Top layer first. A part may import parts of lower layers; within a layer there are no cycles."""
DEPTH = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}

NOTHING_IN_PARTICULAR = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST = 400


def name_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def part_of(module: str) -> str:
    """The subpackage or top-level module that a module belongs to."""
    below = module.split(".")[1:]
    return below[0] if below else "__init__"


def imported(module: str) -> list[str]:
    """What a module names in its imports, those inside functions too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in MODULES else str(node.module) for name in names]
    return found


EDGES = {
    (part_of(module), part_of(other)): f"{module} imports {other}"
    for module in MODULES
    for other in imported(module)
    if other.split(".")[0] == NAME and part_of(other) != part_of(module)
}
"""Pairs of parts of which the first imports the second, each with one import that does."""


def parts_below(part: str) -> set[str]:
    return {below for above, below in EDGES if above == part}


def test_every_part_has_a_layer():
    assert {part_of(module) for module in MODULES} == set(DEPTH)


def test_imports_point_down():
    assert not [why for (part, other), why in EDGES.items() if DEPTH[other] < DEPTH[part]]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "-".join(sorted(layer)))
def test_parts_of_one_layer_import_each_other_in_one_direction(layer):
    waiting = set(layer)
    while waiting:
        free = {part for part in waiting if not parts_below(part) & waiting}
        assert free, f"a cycle among {sorted(waiting)}"
        waiting -= free


def test_evaluation_knows_predictions_and_no_models():
    assert parts_below("evaluation") == {"errors"}


def test_training_knows_no_evaluation():
    assert "evaluation" not in parts_below("train")


def test_the_command_line_reaches_the_rest_through_the_protocol():
    assert parts_below("cli") <= {
        "protocol",
        "checking",
        "evaluation",
        "errors",
        "host_memory",
        "json_text",
        "version",
    }


def test_orbax_is_imported_by_checkpoints_alone():
    users = {module for module in MODULES for name in imported(module) if name.startswith("orbax")}
    assert users == {f"{NAME}.train.checkpoint"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_one_subject(module):
    text = MODULES[module].read_text()
    assert not NOTHING_IN_PARTICULAR & set(module.split("."))
    assert ast.get_docstring(ast.parse(text)), f"{module} does not say what it is for"
    assert len(text.splitlines()) <= LONGEST
