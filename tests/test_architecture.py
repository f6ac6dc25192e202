"""The architecture as the imports have it: layers, no circles, light packages, few files side by side.

`python -m tests.test_architecture` prints a table of folders: files side by side, imports between the folder's parts,
levels and circles.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge_envs", "agents", "experiments", "benchmarks")
PAPERS = ("lyappo", "dtirs", "eccnoma", "semcom")
FILES_MAX = 10
ROOMS = {
    "paper": ("image_quality", "solvers", "config", "model", "invariants", "bounds", "baselines", "system"),
    "agents": ("worlds", "hyperparameters", "networks", "runs", "evaluation", "sb3_import", "training", "reports"),
}
"""Parts of a paper and of `agents`, from the bottom up; a part imports only parts before it."""
FORBIDDEN_SIDEWAYS = {("invariants", "baselines"), ("evaluation", "sb3_import"), ("training", "reports")}
"""Neighbours of equal rank: the second must not import the first."""
HEAVY = {"torch", "matplotlib", "stable_baselines3", "pygame", "tensorboard", "tyro"}
Graph = Mapping[str, set[str]]


def module_of(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def targets_of(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Modules that a source imports anywhere, in functions and for type checking too; packages by what is taken."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


@cache
def sources() -> dict[str, ast.Module]:
    """Parsed production code by module name."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    files += [ROOT / "train.py", ROOT / "evaluate.py"]
    return {module_of(path): ast.parse(path.read_text()) for path in files}


@cache
def graph() -> dict[str, set[str]]:
    """Module -> modules of the project that it imports."""
    known = set(sources())
    return {
        name: {target for target in targets_of(tree, known) if target in known and target != name}
        for name, tree in sources().items()
    }


def circles(edges: Graph) -> list[set[str]]:
    """Strongly connected components with more than one node."""
    reach = {node: closure(node, edges) for node in edges}
    found = {frozenset({node, *(other for other in reach[node] if node in reach[other])}) for node in edges}
    return [set(each) for each in found if len(each) > 1]


def closure(start: str, edges: Graph) -> set[str]:
    """All nodes that can be reached from a node."""
    seen: set[str] = set()
    front = {start}
    while front:
        front = {other for node in front for other in edges.get(node, ())} - seen
        seen |= front
    return seen


def levels(edges: Graph) -> int:
    """Nodes on the longest path of an acyclic graph."""

    @cache
    def depth(node: str) -> int:
        return 1 + max((depth(other) for other in edges[node]), default=0)

    return max(map(depth, edges), default=0)


def rooms(folder: str) -> dict[str, set[str]]:
    """Imports between the parts of a folder: its files, and its subfolders as wholes."""

    def part(module: str) -> str | None:
        inside = module.startswith(f"{folder}.")
        return module.removeprefix(f"{folder}.").split(".")[0] if inside else None

    edges: dict[str, set[str]] = {}
    for module, targets in graph().items():
        if (own := part(module)) is not None:
            others = {each for target in targets if (each := part(target)) not in (None, own)}
            edges.setdefault(own, set()).update(each for each in others if each is not None)
    return edges


def folders() -> Iterator[tuple[Path, list[Path]]]:
    """Folders with their source files."""
    for package in (*PACKAGES, "tests"):
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            yield folder, list(folder.glob("*.py"))


def test_the_reader_sees_every_import():
    """In functions, for type checking, and of modules out of packages."""
    source = (
        "from agents.runs import folder\nif TYPE_CHECKING:\n    import agents.worlds\ndef f():\n    from train import a"
    )
    assert list(targets_of(ast.parse(source), {"agents.runs.folder"})) == [
        "agents.runs.folder",
        "agents.worlds",
        "train",
    ]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]
    assert levels({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == 3


def test_no_circles():
    assert circles(graph()) == []


FOLDERS = ("edge_envs.core", *(f"edge_envs.{paper}" for paper in PAPERS), "agents", "experiments", "benchmarks")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circles_between_rooms(folder):
    assert circles(rooms(folder)) == []


def test_layers():
    """core <- papers <- agents <- scripts; no paper imports another."""
    for module, targets in graph().items():
        top, _, rest = module.partition(".")
        part = rest.split(".")[0]
        for target in targets:
            to, _, inner = target.partition(".")
            if top == "edge_envs":
                allowed = {"core"} if part == "core" else {"core", part} if part else {"core", ""}
                assert to == "edge_envs", f"{module} imports {target}"
                assert inner.split(".")[0] in allowed, f"{module} imports {target}"
            elif top == "agents":
                assert to == "agents" or inner.split(".")[0] in ("", "core"), f"{module} imports {target}"
                assert to in ("edge_envs", "agents"), f"{module} imports {target}"
            else:
                assert to not in ("train", "evaluate") or top == to, f"{module} imports {target}"


def check_order(edges: Graph, order: Iterable[str]) -> None:
    """Raise AssertionError if a part imports one that comes after it, or a neighbour of equal rank."""
    rank = {name: i for i, name in enumerate(order)}
    for own, others in edges.items():
        for other in others:
            if own in rank and other in rank:
                assert rank[other] < rank[own], f"{own} imports {other}"
                assert (other, own) not in FORBIDDEN_SIDEWAYS, f"{own} imports {other}"


@pytest.mark.parametrize("paper", PAPERS)
def test_order_within_a_paper(paper):
    """config, solvers <- model <- invariants, baselines <- system."""
    edges = rooms(f"edge_envs.{paper}")
    check_order(edges, ROOMS["paper"])
    assert not edges["solvers"] & {"config", "model"}


def test_order_within_agents():
    check_order(rooms("agents"), ROOMS["agents"])


@pytest.mark.parametrize("paper", PAPERS)
def test_models_and_solvers_are_plain(paper):
    """Neither knows Gymnasium, torch or CVXPY; references may."""
    for module, tree in sources().items():
        if module.startswith((f"edge_envs.{paper}.model", f"edge_envs.{paper}.solvers")):
            tops = {target.split(".")[0] for target in targets_of(tree, set())}
            assert not tops & {"gymnasium", "torch", "cvxpy"}, module


def test_the_package_is_light():
    """No file of edge_envs outside the codec and split training imports a heavy package at its top level."""
    for module, tree in sources().items():
        neural = module.startswith(("edge_envs.semcom.jscc", "edge_envs.dtirs.split_training"))
        if module.startswith("edge_envs") and not neural:
            statements = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
            top = {target.split(".")[0] for target in targets_of(statements, set())}
            assert not top & HEAVY, module


def test_few_files_side_by_side():
    crowded = {str(folder.relative_to(ROOT)): len(files) for folder, files in folders() if len(files) > FILES_MAX}
    assert crowded == {}


if __name__ == "__main__":
    print(f"{'folder':<24}{'files':>6}{'parts':>6}{'imports':>8}{'levels':>7}{'circles':>8}")
    for name in FOLDERS:
        edges = rooms(name)
        beside = len(list((ROOT / name.replace(".", "/")).glob("*.py")))
        loops = circles(edges)
        depth = "-" if loops else levels(edges)
        print(f"{name:<24}{beside:>6}{len(edges):>6}{sum(map(len, edges.values())):>8}{depth:>7}{len(loops):>8}")
