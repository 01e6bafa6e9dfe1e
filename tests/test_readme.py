"""The READMEs and docs say what the code does: commands parse, names exist, both languages agree.

``python tests/test_readme.py`` writes the tables of published cells anew from the registry.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import paddle
import pytest

import paddle_darts
from paddle_darts import cli
from paddle_darts.analysis.nats import COLUMNS, NatsTable, costs, write_table
from paddle_darts.controllers import ControllerServer, RandomController
from paddle_darts.engine import EvaluateConfig, SearchConfig, TrainConfig, parsing, recipes
from paddle_darts.errors import DataError
from paddle_darts.flags import read_command_line
from paddle_darts.genotypes import NasBench201Genotype, entry, genotype, list_genotypes
from paddle_darts.genotypes.registry import Entry
from paddle_darts.leaderboard import LeaderboardConfig
from paddle_darts.leaderboard.entries import plan
from paddle_darts.leaderboard.settings import leaderboard_settings
from paddle_darts.methods import METHODS
from paddle_darts.methods.base import Batch
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.resources import find_config

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README_en.md")
PAGES = (*READMES, "CHANGELOG.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md"))))
TOOLS = {
    "train_search.py": "search",
    "train.py": "train",
    "evaluate.py": "evaluate",
    "visualize.py": "visualize",
    "benchmark.py": "benchmark",
    "query.py": "query",
    "leaderboard.py": "leaderboard",
}
#: Stand for the reader's own files in commands.
PLACEHOLDERS = ("runs/YOUR_", "path/to/")
#: The reader's table of true accuracies in commands, and the folder of the official benchmark.
NATS_TABLE, OFFICIAL_FOLDER = "path/to/nats_table.csv", "path/to/NATS-tss-v1_0-3ffb9-simple"
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet", "imagenet16-120": "ImageNet16-120"}


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Every command of the bash blocks; those joined by && apart."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines for part in line.split("&&") if part.strip() and not part.startswith("#")]


def all_commands() -> list[str]:
    return sorted({command for page in PAGES for command in commands(page)})


def tool_call(command: str) -> tuple[str, list[str]] | None:
    """The command of `paddle-darts` and its flags; None for another program."""
    words = shlex.split(command)
    if words[0] == "python" and words[1].startswith("tools/"):
        assert (ROOT / words[1]).is_file(), f"{command}: there is no {words[1]}"
        return TOOLS[Path(words[1]).name], words[2:]
    return (words[1], words[2:]) if words[0] == "paddle-darts" else None


def test_both_languages_show_the_same_commands() -> None:
    chinese, english = ([*commands(page), *blocks(page, "python")] for page in READMES)
    without_comments = [[re.sub(r"  # .*", "", block) for block in page] for page in (chinese, english)]
    assert without_comments[0] == without_comments[1]
    assert len(chinese) > 15


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which NATS_TABLE exists, with made-up accuracies."""
    folder = tmp_path_factory.mktemp("reader")
    table = folder / NATS_TABLE
    table.parent.mkdir(parents=True)
    accuracies = np.random.default_rng(0).uniform(10, 94, size=(len(COLUMNS), 15625)).round(2)
    write_table(NatsTable(dict(zip(COLUMNS, accuracies, strict=True))), table)
    return folder


@pytest.mark.parametrize("command", all_commands())
def test_command_parses(
    command: str, tmp_path: Path, reader_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    call = tool_call(command)
    if call is None:
        words = shlex.split(command)
        assert words[0] in ("pip", "pytest", "visualdl"), f"what is {words[0]}?"
        for extra in re.findall(r"\.\[([\w,]+)\]", command):
            known = re.search(r"optional-dependencies\](.*?)\n\[", text("pyproject.toml"), re.DOTALL)[1]
            assert all(re.search(rf"^{name} = ", known, re.MULTILINE) for name in extra.split(","))
        for option in ("--goldens", "--nats_table"):
            assert option not in words or option in text("tests/conftest.py")
        return
    name, argv = call
    assert name in cli.COMMANDS
    if name == "visualize":
        if argv[0].startswith(PLACEHOLDERS):
            return
        monkeypatch.chdir(tmp_path)
        assert cli.visualize_command([*argv, "--backend", "networkx"]) == 0
        assert len(list(tmp_path.rglob("*.svg"))) == len(genotype(argv[0]).kinds)
        return
    if name == "query":
        monkeypatch.chdir(reader_folder)
        if OFFICIAL_FOLDER in argv:
            with pytest.raises(DataError, match="no such table"):
                cli.query_command(argv)
        else:
            assert cli.query_command(argv) == 0
            shown = capsys.readouterr().out
            assert ("cifar10_test" in shown) == ("--nats_table" in argv)
        return
    argv = [word for word in argv if word != "--dry_run"]
    if name == "benchmark":
        peer = [] if importlib.util.find_spec("torch") else ["--peer", "torch"]
        shown = [word for word in argv if word not in peer]
        assert cli.benchmark_command([*shown, "--dry_run"]) == 0
        return
    check_settings(name, argv)


def check_leaderboard(argv: list[str]) -> None:
    """The entries can be planned."""
    given, _ = read_command_line(argv, [LeaderboardConfig], "leaderboard.py", {})
    entries = plan(leaderboard_settings(given))
    assert entries and {entry.settings["space"] for entry in entries} == {"nas_bench_201"}


def check_settings(name: str, argv: list[str]) -> None:
    """The flags exist, have the right types and name things that are there."""
    if name == "leaderboard":
        check_leaderboard(argv)
        return
    if name == "evaluate":
        recipes.evaluate_settings(parsing.read_flags(argv, [EvaluateConfig], name))
        return
    method = METHODS[argv[argv.index("--method") + 1] if "--method" in argv else SearchConfig.method]
    classes = [SearchConfig, method.options_class] if name == "search" else [TrainConfig]
    known = parsing.field_names(classes)
    unknown = [n for n in parsing.flag_names(argv, known) if n not in known]
    assert not unknown
    given = parsing.read_flags(argv, classes, name)
    assert "config" not in given or find_config(given["config"]) is not None
    if name == "search":
        recipes.search_settings(given)
    else:
        arch = recipes.train_settings(given).arch
        assert arch.startswith(PLACEHOLDERS) or genotype(arch)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    content = text(page)
    headings = re.findall(r"^#+ (.*)$", content, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    targets = re.findall(r"\]\(([^)]+)\)", content) + re.findall(r'src="([^"]+)"', content)
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors, f"{page}: no heading {target}"
        elif not target.startswith("https://"):
            assert (ROOT / page).parent.joinpath(target.split("#")[0]).exists(), f"{page}: {target} is missing"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    folders = "configs|docs|genotypes|paddle_darts|tests|tools"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+?)/?`", text(page)))
    missing = [path for path in sorted(named) if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", READMES)
def test_every_method_stands_in_the_table(page: str) -> None:
    rows = [line for line in text(page).splitlines() if line.startswith("|")]
    for method in METHODS:
        assert any(row.startswith(f"| `{method}`") for row in rows), f"{page} does not list {method}"
        assert f"`{method}`" in text("docs/methods.md")


@pytest.mark.parametrize("page", READMES)
@pytest.mark.parametrize("space", ["darts", "nas_bench_201"])
def test_table_of_published_cells_is_that_of_the_registry(page: str, space: str) -> None:
    assert region(space).search(text(page))[0] == table(page, space), "run `python tests/test_readme.py`"


def test_the_table_of_benchmark_cells_reads_back() -> None:
    """The text of a cell survives the table: in it every bar is escaped."""
    lines = [line for line in table("README_en.md", "nas_bench_201").splitlines() if "`nas_bench_201/" in line]
    assert len(lines) == sum(entry(name).genotype.space == "nas_bench_201" for name in list_genotypes()) > 0
    for line in lines:
        name, _, cell = re.split(r"(?<!\\) \| ", line.strip("| "))[:3]
        assert genotype(cell.strip("`").replace("\\|", "|")) == entry(name.strip("`")).genotype


def test_python_example_uses_what_exists() -> None:
    block = next(b for b in blocks("README_en.md", "python") if "import paddle_darts as pdarts" in b)
    assert set(re.findall(r"pdarts\.(\w+)", block)) <= set(paddle_darts.__all__)
    cheap = block.split("found =")[0]
    exec(compile(cheap, "README_en.md", "exec"), {"images": paddle.zeros([1, 3, 32, 32])})
    for name, settings in (("search", recipes.search_settings), ("train", recipes.train_settings)):
        arguments = re.search(rf"pdarts\.{name}\((.*)\)", block)[1].replace("found.run_dir", "'runs/x'")
        settings(eval(f"dict({arguments})"))


def test_method_example_works() -> None:
    block = next(b for b in blocks("README_en.md", "python") if "class ColdDarts" in b)
    namespace: dict = {}
    exec(compile(block, "README_en.md", "exec"), namespace)
    spec = SupernetSpec(in_channels=1, num_classes=3, init_channels=2, layers=3, steps=2, multiplier=2)
    method = namespace["ColdDarts"](spec, namespace["ColdOptions"](tau_min=0.2), 3, RandomSource(0))
    batch = Batch(paddle.rand([2, 1, 8, 8]), paddle.to_tensor([0, 2]))
    temperatures = []
    for epoch in range(3):
        before = method.probabilities()["normal"]
        method.begin_epoch(epoch)
        assert np.isfinite(method.step(batch, batch).loss)
        assert not np.array_equal(before, method.probabilities()["normal"])
        temperatures.append(method.facts()["temperature"])
    assert temperatures == pytest.approx([1.0, 0.6, 0.2])


def test_guide_for_paddleslim_users_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks in order, in one program; what is the reader's own is given: rewards, a model, data, a server."""
    monkeypatch.chdir(tmp_path)
    teaser = [block for block in blocks("README_en.md", "python") if "SANAS" in block]
    found = teaser + blocks("docs/controllers.md", "python")
    assert len(teaser) == 1 and len(found) >= 6
    with ControllerServer(RandomController([5] * 6, seed=3), search_steps=4) as server:
        namespace: dict = {
            "accuracy_of": lambda network: sum(p.size for p in network.parameters()) % 97 / 97,
            "allowed": lambda tokens: 3 in tokens,
            "host": server.ip(),
            "port": server.port(),
            "key": server.key,
            "supernet": SupernetSpec(in_channels=1, num_classes=3, init_channels=2, layers=3, steps=2, multiplier=2),
            "train_images": Images(0),
            "valid_images": Images(1),
        }
        for block in found:
            exec(compile(block, "docs/controllers.md", "exec"), namespace)
        assert server.done
    assert namespace["best"](num_classes=10)(paddle.rand([1, 3, 8, 8]))[0].shape == [1, 10]
    assert namespace["result"].genotype == genotype(str(tmp_path / "runs/found"))


class Images(paddle.io.Dataset):
    """Nine images of three classes."""

    def __init__(self, seed: int) -> None:
        self.images = np.random.default_rng(seed).normal(size=(9, 1, 8, 8)).astype("float32")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.images[index], index % 3


def region(space: str) -> re.Pattern[str]:
    """The table of the cells of a space in a page."""
    mark = "genotypes" if space == "darts" else f"genotypes {space}"
    return re.compile(rf"(?<=<!-- {mark}:begin -->\n).*?(?=<!-- {mark}:end -->)", re.DOTALL)


def table(page: str, space: str) -> str:
    """The table of published cells of a space; the rows are the same in both languages."""
    english = page.endswith("_en.md")
    if space == "darts":
        head = "cell | other names | source | reported top-1 (by) | parameters | multiply-adds"
        head = head if english else "单元 | 别名 | 来源 | 报告的 top-1（来源） | 参数量 | 乘加次数"
    else:
        head = "cell | source | architecture | reported top-1 (by) | parameters | multiply-adds"
        head = head if english else "单元 | 来源 | 结构 | 报告的 top-1（来源） | 参数量 | 乘加次数"
    line = row if space == "darts" else benchmark_row
    cells = [found for found in map(entry, list_genotypes()) if found.genotype.space == space]
    return "\n".join([f"| {head} |", "|" + "---|" * 6, *map(line, cells)]) + "\n"


def row(cell: Entry) -> str:
    """A line of the table; of several reports on one data set the first stands for all."""
    reported: dict[str, str] = {}
    for report in cell.reported:
        top1 = f"{report.top1:.2f} ± {report.spread:.2f}" if report.spread else f"{report.top1:g}"
        where = "supernet on " if report.network == "supernet" else ""
        label = where + DATASETS[report.dataset]
        reported.setdefault(label, f"{label} {top1} ({report.by})")
    networks = ("cifar10_C36_L20", "imagenet_C48_L14")
    params = " / ".join(f"{cell.params[n].no_aux / 1e6:.2f} M" for n in networks)
    macs = " / ".join(f"{cell.macs[n].conv_linear / 1e6:.0f} M" for n in networks)
    names = ", ".join(f"`{alias}`" for alias in cell.aliases if "/" not in alias) or "–"
    columns = (f"`{cell.full_name}`", names, cell.source, "; ".join(reported.values()) or "–", params, macs)
    return "| " + " | ".join(columns) + " |"


def benchmark_row(cell: Entry) -> str:
    """A line of the table of NAS-Bench-201; sizes are those of the benchmark's network for CIFAR-10."""
    assert isinstance(cell.genotype, NasBench201Genotype) and not cell.aliases
    (by,) = {report.by for report in cell.reported}
    reported = ", ".join(f"{DATASETS[report.dataset]} {report.top1:.2f}" for report in cell.reported)
    size = costs(cell.genotype, "cifar10")
    architecture = str(cell.genotype).replace("|", "\\|")
    sizes = (f"{size.params / 1e6:.2f} M", f"{size.macs / 1e6:.0f} M")
    columns = (f"`{cell.full_name}`", cell.source, f"`{architecture}`", f"{reported} ({by})", *sizes)
    return "| " + " | ".join(columns) + " |"


def write_tables() -> None:
    for readme in READMES:
        content = text(readme)
        for space in ("darts", "nas_bench_201"):
            content = region(space).sub(lambda _, page=readme, one=space: table(page, one), content)
        (ROOT / readme).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write_tables()
