"""Imports within the package point down only."""

import ast
import pathlib

import jaxtransfer

ROOT = pathlib.Path(jaxtransfer.__file__).parent
LAYERS = (
    ("errors", "version"),
    ("trees",),
    ("partition", "tasks"),
    ("optim",),
    ("pretrained",),
    ("data",),
    ("models",),
    ("adapt", "objectives", "evaluation"),
    ("train",),
    ("api",),
    ("protocol",),
    ("cli",),
    ("__init__", "__main__"),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path: pathlib.Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, *inner = name.split(".")
            if package == ROOT.name and inner and inner[0] in HEIGHT:
                parts.add(inner[0])
    return parts


def test_every_part_has_its_layer():
    assert {part_of(path) for path in ROOT.rglob("*.py")} == set(HEIGHT)


def test_imports_point_down():
    upward = [
        f"{path.relative_to(ROOT)} imports {part}"
        for path in sorted(ROOT.rglob("*.py"))
        for part in sorted(imported_parts(path))
        if part != part_of(path) and HEIGHT[part] >= HEIGHT[part_of(path)]
    ]
    assert upward == []
