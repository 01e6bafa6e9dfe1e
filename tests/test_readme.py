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
from paddle_darts.engine import EvaluateConfig, SearchConfig, TrainConfig, parsing, recipes
from paddle_darts.genotypes import entry, genotype, list_genotypes
from paddle_darts.genotypes.registry import Entry
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
}
TABLE = re.compile(r"(?<=<!-- genotypes:begin -->\n).*?(?=<!-- genotypes:end -->)", re.DOTALL)
#: Stand for the reader's own files in commands.
PLACEHOLDERS = ("runs/YOUR_", "path/to/")
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}


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


@pytest.mark.parametrize("command", all_commands())
def test_command_parses(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = tool_call(command)
    if call is None:
        words = shlex.split(command)
        assert words[0] in ("pip", "pytest", "visualdl"), f"what is {words[0]}?"
        for extra in re.findall(r"\.\[([\w,]+)\]", command):
            known = re.search(r"optional-dependencies\](.*?)\n\[", text("pyproject.toml"), re.DOTALL)[1]
            assert all(re.search(rf"^{name} = ", known, re.MULTILINE) for name in extra.split(","))
        assert "--goldens" not in words or "--goldens" in text("tests/conftest.py")
        return
    name, argv = call
    assert name in cli.COMMANDS
    if name == "visualize":
        if argv[0].startswith(PLACEHOLDERS):
            return
        monkeypatch.chdir(tmp_path)
        assert cli.visualize_command([*argv, "--backend", "networkx"]) == 0
        assert len(list(tmp_path.rglob("*.svg"))) == 2
        return
    argv = [word for word in argv if word != "--dry_run"]
    if name == "benchmark":
        peer = [] if importlib.util.find_spec("torch") else ["--peer", "torch"]
        shown = [word for word in argv if word not in peer]
        assert cli.benchmark_command([*shown, "--dry_run"]) == 0
        return
    check_settings(name, argv)


def check_settings(name: str, argv: list[str]) -> None:
    """The flags exist, have the right types and name things that are there."""
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
def test_table_of_published_cells_is_that_of_the_registry(page: str) -> None:
    assert TABLE.search(text(page))[0] == table(page), "run `python tests/test_readme.py`"


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


def table(page: str) -> str:
    """The table of published cells; the rows are the same in both languages."""
    english = page.endswith("_en.md")
    head = (
        "| cell | other names | source | reported top-1 (by) | parameters | multiply-adds |"
        if english
        else "| 单元 | 别名 | 来源 | 报告的 top-1（来源） | 参数量 | 乘加次数 |"
    )
    rows = [head, "|" + "---|" * 6, *(row(entry(name)) for name in list_genotypes())]
    return "\n".join(rows) + "\n"


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


if __name__ == "__main__":
    for readme in READMES:
        path = ROOT / readme
        path.write_text(TABLE.sub(lambda _, page=readme: table(page), text(readme)), encoding="utf-8")
