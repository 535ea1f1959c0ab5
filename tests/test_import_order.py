"""The layers of the package, lowest first: modules import only from their own or lower layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import soundloom

PACKAGE = Path(soundloom.__file__).parent
LAYERS = (
    ("errors", "version", "atomic", "cores", "folders", "memory", "prompts", "settings", "temporary", "untrusted"),
    ("audio",),
    ("config",),
    ("datasets",),
    ("text", "diffusion", "autoregressive", "checkpoints"),
    ("lora",),
    ("engines",),
    ("pipeline",),
    ("evaluation",),
    ("quantization", "training"),
    ("testing",),
    ("bench",),
    ("serving",),
    ("client",),
    ("cli",),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Frameworks take seconds to load, so only files in these folders import them at the top.
# Training is PyTorch's, but adapters also train on MLX where PyTorch is not installed.
HOMES = {
    "torch": ("engines/torch", "evaluation/embedders/networks", "training"),
    "mlx": ("engines/mlx", "training/lora/mlx"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("soundloom", *(parts[:-1] if parts[-1] == "__init__" else parts)))


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(statement: ast.stmt) -> Iterator[str]:
    """Yield the modules that an import statement names."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.module:
        for alias in statement.names:
            name = f"{statement.module}.{alias.name}"
            yield name if name in FILES else statement.module


def all_imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports, including inside functions."""
    tree = ast.parse(FILES[name].read_text())
    found = {module for node in ast.walk(tree) for module in imported(node)}
    return {module for module in found if module in FILES and module != name}


def layer(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("name", [name for name in FILES if layer(name) not in ("", "__main__")])
def test_a_module_imports_no_higher_layer(name):
    rank = RANKS[layer(name)]
    higher = {
        module
        for module in all_imports(name)
        if RANKS.get(layer(module), 99) > rank
        or (RANKS.get(layer(module)) == rank > 0 and layer(module) != layer(name))
    }
    assert not higher


def test_there_are_no_import_cycles():
    left = {name: all_imports(name) for name in FILES}
    while leaves := [name for name, modules in left.items() if not modules]:
        for leaf in leaves:
            del left[leaf]
        left = {name: modules - set(leaves) for name, modules in left.items()}
    assert not left


def test_training_on_mlx_imports_no_pytorch():
    left = [name for name in FILES if name.startswith("soundloom.training.lora.mlx")]
    seen = set()
    while left:
        name = left.pop()
        if name in seen or name not in FILES:
            continue
        seen.add(name)
        packages = [name.rpartition(".")[0]] if "." in name else []
        left += packages + [module for node in ast.parse(FILES[name].read_text()).body for module in imported(node)]
        assert "torch" not in {module.partition(".")[0] for module in left}, name


@pytest.mark.parametrize("framework", HOMES)
def test_frameworks_are_imported_at_the_top_only_in_their_folders(framework):
    elsewhere = {
        str(path.relative_to(PACKAGE))
        for path in FILES.values()
        if not path.relative_to(PACKAGE).as_posix().startswith(HOMES[framework])
        for statement in ast.parse(path.read_text()).body
        if any(module.partition(".")[0] == framework for module in imported(statement))
    }
    assert not elsewhere
