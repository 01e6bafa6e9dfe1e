"""The public names, what importing them costs, and that the rooms keep to their floors."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import paddle_darts as pdarts

PACKAGE = Path(pdarts.__file__).parent
MODULES = sorted(
    ".".join(("paddle_darts", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
#: A room imports from lower floors and from itself, never from its own floor's other rooms.
FLOORS = {
    **dict.fromkeys(("errors", "memory", "resources", "threads"), 0),
    **dict.fromkeys(("io", "nn", "kernels", "registry"), 1),
    **dict.fromkeys(("genotypes", "data"), 2),
    "spaces": 3,
    **dict.fromkeys(("networks", "controllers"), 4),
    **dict.fromkeys(("analysis", "search_space"), 5),
    "methods": 6,
    "engine": 7,
    **dict.fromkeys(("benchmark", "flags", "leaderboard", "nas"), 8),
    "cli": 9,
}
#: The room that only the extra [torch] can enter.
NEEDS_TORCH = "paddle_darts.benchmark.torch_peer"


def python(code, *flags):
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)


# ------------------------------------------------------------------------------------------ names
@pytest.mark.parametrize("name", pdarts.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pdarts, name) is not None
    assert name in dir(pdarts)


def test_public_names_are_those_of_the_rooms():
    from paddle_darts import data, engine, genotypes, methods, networks, spaces

    for room in (data, engine, genotypes, methods, networks, spaces):
        assert all(hasattr(room, name) for name in room.__all__)
    assert pdarts.search is engine.search and pdarts.build_network is networks.build_network
    assert {name for names in pdarts._HOMES.values() for name in names} == set(pdarts.__all__) - {"__version__"}


def test_unknown_name():
    with pytest.raises(AttributeError, match="'paddle_darts' has no attribute 'serch'"):
        pdarts.serch  # noqa: B018
    with pytest.raises(ImportError):
        from paddle_darts import serch  # noqa: F401


def test_the_example_of_the_documentation():
    cell = pdarts.genotype("DARTS_PADDLE")
    assert isinstance(cell, pdarts.Genotype) and cell.name == "DARTS_PADDLE"
    network = pdarts.build_network(cell, num_classes=7, init_channels=4, layers=3, auxiliary=True)
    import paddle

    logits, aux = network(paddle.zeros([2, 3, 32, 32]))
    assert logits.shape == aux.shape == [2, 7]
    network.eval()
    assert network(paddle.zeros([2, 3, 32, 32]))[1] is None


def test_a_network_from_whatever_means_a_genotype(tmp_path):
    import json

    from paddle_darts.genotypes import genotype_document

    cell = pdarts.genotype("PDARTS")
    (tmp_path / "genotype.json").write_text(json.dumps(genotype_document(cell)))
    sizes = []
    for arch in (cell, "PDARTS", "p_darts/PDARTS", str(cell), tmp_path, tmp_path / "genotype.json"):
        network = pdarts.build_network(arch, 3, 4, 2)
        sizes.append({name: tuple(p.shape) for name, p in network.named_parameters()})
    assert all(size == sizes[0] for size in sizes)
    with pytest.raises(ValueError, match="did you mean"):
        pdarts.build_network("DARTS_V3")


def test_listings():
    assert "darts" in pdarts.list_methods() and "darts" in pdarts.list_spaces()
    assert {"cifar10", "cifar100", "digits"} <= set(pdarts.list_datasets())
    assert "PC_DARTS_cifar" in pdarts.list_genotypes("*cifar*")
    for listing in (pdarts.list_methods, pdarts.list_spaces, pdarts.list_datasets, pdarts.list_genotypes):
        names = listing()
        assert names == sorted(names) and all(isinstance(name, str) for name in names)


def test_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


# ------------------------------------------------------------------------------------------ importing
def test_without_paddle_one_sentence_says_what_to_do():
    """-S leaves the installed packages out, so that there is no Paddle."""
    done = python("import paddle_darts", "-S")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: paddle_darts needs PaddlePaddle 3.0 or newer: run `pip install")
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize(
    "code",
    [
        "import paddle_darts",
        "import paddle_darts.cli",
        "import paddle_darts; paddle_darts.genotype('DARTS_V2'); paddle_darts.list_genotypes()",
        "from paddle_darts.genotypes import parse_genotype",
    ],
)
def test_paddle_is_not_imported_before_it_is_needed(code):
    done = python(f"{code}\nimport sys\nprint('paddle' in sys.modules)")
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_every_module_imports_on_its_own():
    """In one fresh process, each time without the rest of the package, so that no circle can hide."""
    there = [m for m in MODULES if not m.startswith(NEEDS_TORCH) or importlib.util.find_spec("torch")]
    code = f"""
import importlib, sys
import paddle
for name in {there!r}:
    for loaded in [m for m in sys.modules if m.split(".")[0] == "paddle_darts"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        print(name, repr(error))
"""
    done = python(code)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


# ------------------------------------------------------------------------------------------ floors
def imports(module):
    """(imported module, whether at module level) for everything of this package that ``module`` imports."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    outside = {id(node) for node in ast.walk(tree) for node in runtime(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            found = [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]
        elif isinstance(node, ast.Import):
            found = [a.name for a in node.names if a.name != "paddle_darts"]  # its version is for all
        else:
            continue
        for name in found:
            if name.split(".")[0] == "paddle_darts":
                yield name, id(node) not in outside


def runtime(node):
    """The nodes inside a function or an `if TYPE_CHECKING`, which importing does not run."""
    guarded = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    if guarded or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from ast.walk(node)


def room(module):
    return module.split(".")[1]


INSIDE = [module for module in MODULES if module != "paddle_darts"]


def test_every_room_has_a_floor():
    assert {room(module) for module in INSIDE} <= set(FLOORS)
    assert len(MODULES) > 50


@pytest.mark.parametrize("module", INSIDE)
def test_a_room_imports_only_from_below(module):
    for name, _ in imports(module):
        assert name != "paddle_darts", f"{module} must import from the room itself"
        if room(name) != room(module):
            assert FLOORS[room(name)] < FLOORS[room(module)], f"{module} imports {name}"


def test_the_top_of_the_package_imports_no_room_at_once():
    assert not [name for name, at_once in imports("paddle_darts") if at_once]


def test_no_circles():
    graph = {module: {name for name, at_once in imports(module) if at_once} for module in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done or module not in graph:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        done.add(path.pop())

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("tool", sorted((PACKAGE.parent / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_tools_only_hand_over_to_the_command_line(tool):
    tree = ast.parse(tool.read_text(encoding="utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in found if name.split(".")[0] == "paddle_darts"} == {"paddle_darts.cli"}
    assert len(tool.read_text(encoding="utf-8").splitlines()) < 40
