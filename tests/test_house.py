"""The house's own rules: imports, and how large a module or a room may be. Which room may import which is
import-linter's business (`make lint`)."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "featurestore", "heads", "zoo", "etl", "evaluation")
MOST_LINES = 400
LARGEST_SHARE = 0.3

_DEFERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {"strata": ROOT / "strata.py"}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield the project's own modules that one imports: name, line, and whether inside a function.

    What only a type checker reads (`if TYPE_CHECKING:`) is left out.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += [(child, inside) for child in node.orelse]
            continue
        for name in imported(node):
            yield name, node.lineno, inside  # type: ignore[attr-defined]  # an import has a line
        waiting += [(child, inside or isinstance(node, _DEFERS)) for child in ast.iter_child_nodes(node)]


def imported(node: ast.AST) -> set[str]:
    """The project's own modules that a statement imports; `from a import b` is a.b where that is a module."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in modules() else node.module for name in whole]
    return {name for name in names if name in modules()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle in their order, none where there is no circle."""
    done: set[str] = set()
    trail: list[str] = []

    def follow(name: str) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        trail.append(name)
        for other in sorted(graph[name]):
            if found := follow(other):
                return found
        done.add(trail.pop())
        return []

    return next((found for name in graph if (found := follow(name))), [])


def code_lines(path: Path) -> int:
    """Lines that are neither empty nor a comment."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_no_function_imports_the_projects_own_modules():
    # The commands of a cli.py import what they run, so that `strata --help` starts fast.
    found = [
        f"{path.relative_to(ROOT)}, line {line}: {name}"
        for path in modules().values()
        if path.name != "cli.py"
        for name, line, inside in imports(path)
        if inside
    ]
    assert found == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        module: {name for name, _, inside in imports(path) if not inside}
        for module, path in modules().items()
    }
    assert circle(graph) == []


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_an_import_inside_a_function_would_be_found(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "import json\nfrom core import errors\nif TYPE_CHECKING:\n    from core import lazy\n"
        "class A:\n    def f(self):\n        with x:\n            from core.params import load\n"
    )
    assert sorted(imports(path)) == [("core.errors", 2, False), ("core.params", 8, True)]


def test_no_module_is_too_long():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_no_room_holds_most_of_the_code():
    by_room = dict.fromkeys((*ROOMS, "strata"), 0)
    for name, path in modules().items():
        by_room[name.partition(".")[0]] += code_lines(path)
    whole = sum(by_room.values())
    assert {room: n / whole for room, n in by_room.items() if n > LARGEST_SHARE * whole} == {}
