"""The report of a run: complete, self-contained, escaped, and alive in a browser."""

import html.parser
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from analysis_run import BEST, DARTS_V2, NASNET, NB201, SPARSE, make_run
from PIL import Image

from paddle_darts.analysis import refresh_plots, write_report
from paddle_darts.analysis.charts import ticks
from paddle_darts.analysis.facts import best_row, duration, epoch_table, flat, short, true_table
from paddle_darts.errors import RunError
from paddle_darts.genotypes import Genotype, genotype


class Page(html.parser.HTMLParser):
    """Tags with their attributes, headings, and the text of the page."""

    VOID = ("meta", "img", "line", "circle", "polyline", "br", "link")

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("runs") / "demo", epochs=6)
    refresh_plots(run, final=True)
    return write_report(run)


def test_report_has_every_part(finished):
    page = Page(finished)
    assert page.open == [] and page.all("html")[0]["lang"] == "en"
    assert str(Genotype.from_dict(DARTS_V2)) in page.text
    assert "paddle-darts train --dataset cifar10 --arch runs/demo" in page.text
    for part in ("PC-DARTS on CIFAR-10", "3.74 M", "3,738,574", "normalise.mean", "3.3.1", "Learning rate"):
        assert part in page.text, part
    sections = [a.get("aria-labelledby") for a in page.all("section")]
    names = ["h-cells", "h-next", "h-curves", "h-weights", "h-film", "h-epochs", "h-config", "h-env"]
    assert sections == [None, *names]
    assert len([a for a in page.all("td") if a.get("class") == "kept"]) == 16
    assert len([a for a in page.all("td") if "--v" in a.get("style", "")]) == 2 * 14 * 8
    assert all(image["alt"] for image in page.all("img")) and len(page.all("img")) == 3


def test_report_loads_nothing(finished):
    page = Page(finished)
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
    source = finished.read_text()
    assert "url(" not in source and "@import" not in source and "http" not in source.replace("http-equiv", "")
    assert any("default-src 'none'" in attrs.get("content", "") for attrs in page.all("meta"))


def test_report_escapes_everything(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>\"'{{7*7}}"
    run = make_run(tmp_path / "run", epochs=2)
    (run / "config.yaml").write_text(yaml.safe_dump({"data": evil, evil: [evil]}))
    (run / "environment.json").write_text(json.dumps({evil: {evil: evil}}))
    summary = {"tool": evil, "title": evil, "next_command": evil, "result": {evil: evil}}
    (run / "summary.json").write_text(json.dumps(summary))
    row = {"epoch": 0, "train_loss": 1.0, "stage": evil, evil: evil, "valid_top1": evil}
    (run / "history.jsonl").write_text(json.dumps(row) + "\n")
    alphas = {
        "epoch": evil,
        "ops": [evil, "none"],
        "probabilities": {evil: [[0.5, 0.5]]},
        "edge_labels": {evil: [evil]},
    }
    (run / "alphas.jsonl").write_text(json.dumps(alphas) + "\n")
    (run / "genotype.json").write_text(json.dumps({"space": evil, "genotype": evil, "network": {evil: evil}}))
    page = Page(write_report(run))
    assert page.open == [] and page.all("img") == []
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.text.count(evil) > 10


@pytest.mark.parametrize("epochs", [0, 1])
def test_report_of_a_run_that_just_began(tmp_path, epochs):
    run = make_run(tmp_path / "young", epochs=epochs, done=False)
    page = Page(write_report(run))
    assert "In progress" in page.text and f"{epochs} epoch" in page.text
    assert page.all("img") == []


def test_report_of_an_empty_directory(tmp_path):
    page = Page(write_report(tmp_path))
    assert page.open == [] and tmp_path.name in page.text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(RunError, match="nowhere"):
        write_report(tmp_path / "nowhere")


def test_report_survives_damaged_files(tmp_path):
    run = make_run(tmp_path / "run", epochs=3)
    for name in ("config.yaml", "environment.json", "genotype.json", "summary.json"):
        (run / name).write_text('{"a": [')
    with (run / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')
    assert "3 epochs" in Page(write_report(run)).text


def test_report_says_when_no_genotype_was_derived(tmp_path):
    run = make_run(tmp_path / "run", epochs=2)
    (run / "genotype.json").write_text(json.dumps({"schema": 1, "space": "darts", "genotype": None}))
    assert "No genotype could be derived" in Page(write_report(run)).text


def test_report_shows_a_genotype_of_an_unknown_space_as_text(tmp_path):
    run = make_run(tmp_path / "run", epochs=2)
    (run / "genotype.json").write_text(json.dumps({"schema": 1, "space": "sizes", "genotype": "8:16:24:32:40"}))
    assert "8:16:24:32:40" in Page(write_report(run)).text


def test_report_of_a_run_with_one_kind_of_cells(tmp_path):
    run = make_run(tmp_path / "run", epochs=6, genotype=NB201, truth=True)
    refresh_plots(run, final=True)
    page = Page(write_report(run))
    assert page.open == [] and str(genotype(NB201)) in page.text
    sections = [a.get("aria-labelledby") for a in page.all("section")]
    names = ["h-cells", "h-next", "h-curves", "h-truth", "h-weights", "h-film", "h-epochs", "h-config", "h-env"]
    assert sections == [None, *names]
    assert len(page.all("img")) == 2, "the cell and the animation"
    assert len([a for a in page.all("td") if a.get("class") == "kept"]) == 6
    assert len([a for a in page.all("td") if "--v" in a.get("style", "")]) == 6 * 5
    assert "Cell cell" not in page.text and "The cell" in page.text and "c_in → c_out" in page.text


def test_report_says_the_truth_about_the_latest_architecture(tmp_path):
    run = make_run(tmp_path / "run", epochs=4, genotype=NB201, truth=True)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    table = true_table(history)
    assert [row[0] for row in table] == ["cifar10 test", "cifar100 test"]
    for (_, accuracy, rank, percentile, best), column in zip(table, BEST, strict=True):
        key, last = f"true_{column}", history[-1]
        assert (accuracy, rank) == (f"{last[key]:.2f}", f"{last[key + '_rank']:,}")
        assert (percentile, best) == (f"{last[key + '_percentile']:.2f}", f"{BEST[column]:.2f}")
    headings = epoch_table(history)["headings"]
    assert "True cifar10 test rank" in headings and "True cifar10 test best" not in headings
    text = Page(write_report(run)).text
    assert all(cell in text for row in table for cell in row) and "True accuracy, cifar100 test (%)" in text
    assert true_table([{"epoch": 0, "valid_top1": 3.0}]) == []


def test_numbers_in_words():
    assert [duration(v) for v in (41.52, 830, 7500, None)] == ["41.5 s", "13 min 50 s", "2 h 05 min", "–"]
    assert [short(v) for v in (3738574, 595847808, 1234, 7)] == ["3.74 M", "596 M", "1.23 K", "7"]
    assert flat({"a": {"b": [1, 2], "c": None}, "d": [{"e": True}]}) == [
        ("a.b", "1, 2"), ("a.c", "–"), ("d[0].e", "yes")
    ]  # fmt: skip
    assert best_row([{"x": 1.0}, {"x": None}, {"x": 3.0}, {"x": 3.0}], "x") == 2
    assert best_row([{}], "x") is None


@pytest.mark.parametrize("low, high", [(0.12, 2.03), (31.0, 89.9), (0.001, 0.025), (5.0, 5.0), (0.0, 0.0), (-3.0, 1.0)])
def test_ticks_enclose_the_values(low, high):
    found = ticks(low, high, 5)
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 9 and found == sorted(set(found))


def browser(*arguments, profile):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium or google-chrome is installed")
    switches = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
    switches += ("disable-background-networking", "disable-component-update", "hide-scrollbars")
    flags = [f"--{name}" for name in (*switches, "virtual-time-budget=3000")]
    command = [program, *flags, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_report_works_in_a_browser(finished, tmp_path):
    probe = """
    <script>
    const svg = document.querySelector(".chart > svg");
    svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"}));
    svg.dispatchEvent(new KeyboardEvent("keydown", {key: "Home"}));
    const reading = document.querySelector(".reading");
    document.documentElement.dataset.reading = reading.hidden ? "hidden" : reading.textContent;
    document.querySelector("[data-copy]").click();
    document.documentElement.dataset.overflow = document.documentElement.scrollWidth > innerWidth;
    </script></body>"""
    copy = tmp_path / "probed.html"
    copy.write_text(finished.read_text().replace("</body>", probe))
    dom = browser("--dump-dom", "--window-size=420,900", copy.as_uri(), profile=tmp_path / "profile")
    root = dom[: dom.index(">", dom.index("<html"))]
    assert 'data-ready="true"' in root and "data-failed" not in root
    assert 'data-reading="Epoch 0\ntrain  2.0' in root
    assert 'data-overflow="false"' in root


def test_report_is_drawn_by_a_browser(finished, tmp_path):
    shot = tmp_path / "shot.png"
    size = "--window-size=1280,1600"
    browser(f"--screenshot={shot}", size, finished.as_uri(), profile=tmp_path / "profile")
    colours = Image.open(shot).convert("RGB").getcolors(1 << 24)
    assert len(colours) > 200
    assert max(count for count, _ in colours) < 0.9 * 1280 * 1600


def test_templates_are_packaged():
    import paddle_darts.analysis

    folder = Path(paddle_darts.analysis.__file__).parent / "templates"
    assert {p.name for p in folder.iterdir()} == {"report.html.j2", "report.css", "report.js"}


def test_nasnet_report(tmp_path):
    run = make_run(tmp_path / "run", epochs=2)
    (run / "genotype.json").write_text(json.dumps({"schema": 1, "space": "darts", "genotype": NASNET}))
    refresh_plots(run)
    page = Page(write_report(run))
    assert "sep_conv_7x7" in page.text and not [a for a in page.all("td") if a.get("class") == "kept"]


def test_a_sparse_genotype(tmp_path):
    run = make_run(tmp_path / "run", epochs=3, genotype=SPARSE)
    refresh_plots(run, final=True)
    page = Page(write_report(run))
    assert str(Genotype.from_dict(SPARSE)) in page.text
    assert len([a for a in page.all("td") if a.get("class") == "kept"]) == 6 + 6
