"""The house keeps its floors: imports go downwards, and importing costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jlstm"

# From the ground up; a module may import from its own floor and from those below.
FLOORS = [
    {"errors", "pytree", "config"},
    {"activations", "kernels", "layers", "gates", "recurrent"},
    {"graph", "forward", "network", "packing", "plan", "auditing", "inspection"}
    | {"statespace", "equilibrium", "linearization"},
    {"golden", "formats", "recording"},
    {"rounding", "recorded", "comparison", "verdict", "validation"}
    | {"runtimes", "conversion"},
    {"remedies", "mistakes", "finding", "explanation", "diagnosis"},
    {"moments", "hits", "metrics", "tally", "evaluation", "evaluating"}
    | {"closedloop", "forecasting"}
    | {"dataset", "scoring", "training", "finetuning", "ensemble"},
    {"stream", "loading", "plots", "plots_training", "plots_time", "report"}
    | {"plots_evaluation", "plots_worst", "plots_forecast"}
    | {"tensorboard", "runs", "bench", "shards"},
    {"demo", "arguments", "cli", "__init__", "__main__"},
]
PRINTERS = {"cli"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The floor's name of a file: its module or package right under jlstm."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    found = [k for k, names in enumerate(FLOORS) if name in names]
    assert found, f"jlstm/{name} stands on no floor: add it to FLOORS"
    return found[0]


def imported(path: Path):
    """Parts of jlstm that a file imports, wherever in the file."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = depth - node.level
            if up < 0:
                raise AssertionError(f"{path} imports from outside the package")
            base = path.relative_to(PACKAGE).parts[:up]
            dotted = [*base, *(node.module or "").split(".")]
            dotted = [name for name in dotted if name]
            yield from [dotted[0]] if dotted else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "jlstm"
        ):
            raise AssertionError(f"{path} imports jlstm by its own name")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    if part(path) == "__init__":
        return  # the table of public names, resolved when they are used
    for name in imported(path):
        if name in ("__init__",):
            continue
        assert floor(name) <= floor(part(path)), f"{path.name} imports jlstm.{name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not calls or part(path) in PRINTERS, f"{path.name} prints in lines {calls}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_changes_the_configuration_of_jax(path):
    text = path.read_text("utf-8")
    assert "config.update" not in text
    assert "os.environ[" not in text


@pytest.mark.parametrize("module", ["jlstm", "jlstm.cli"])
def test_import_does_not_bring_jax(module):
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_public_names_resolve():
    import jlstm

    for name in jlstm.__all__:
        assert getattr(jlstm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        jlstm.nonsense  # noqa: B018


def test_importing_is_light():
    # Not a timing but a count: what `import jlstm` loads beyond Python itself.
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "before = set(sys.modules)\n"
        "import jlstm\n"
        "print(len(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, timeout=60, check=True
    )
    assert int(out.stdout) < 40


def test_every_module_has_a_docstring():
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
