"""Where the data files lie, in a checkout and in a wheel, and how many threads Paddle gets."""

import os
import subprocess
import sys

import pytest

from paddle_darts import resources, threads
from paddle_darts.resources import find_config, resource_dir


def test_the_folders_hold_what_they_should():
    assert any(resource_dir("genotypes").glob("*.json"))
    assert {p.parent.name for p in resource_dir("configs").rglob("*.yml")} >= {"search", "train"}


def test_they_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resource_dir("genotypes").is_dir() and resource_dir("genotypes").is_absolute()


def test_a_wheel_carries_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "paddle_darts"
    for folder in (package / "_resources" / "configs" / "search", tmp_path / "configs", tmp_path / "genotypes"):
        folder.mkdir(parents=True)
    (package / "_resources" / "configs" / "search" / "x.yml").write_text("method: darts\n")
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resource_dir("configs") == package / "_resources" / "configs"
    assert find_config("search/x") == package / "_resources" / "configs" / "search" / "x.yml"
    assert resource_dir("genotypes") == tmp_path / "genotypes"


@pytest.mark.parametrize("name", ["search/quickstart", "search/quickstart.yml", "configs/search/quickstart.yml"])
def test_a_recipe_by_its_place_in_configs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == resource_dir("configs") / "search" / "quickstart.yml"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "search" / "quickstart.yml"
    own.parent.mkdir()
    own.write_text("method: darts\n")
    assert find_config("search/quickstart.yml").resolve() == own
    assert find_config(own) == own


@pytest.mark.parametrize("name", ["search/nothing.yml", "/search/quickstart.yml", "search"])
def test_no_such_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) is None


def test_cores():
    assert 1 <= threads.available_cores() <= (os.cpu_count() or 1)


def run(code, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "argument, before, after",
    [
        ("3", {}, "3"),
        ("0", {}, "1"),
        ("None", {"OMP_NUM_THREADS": "5"}, "5"),
        ("None", {}, str(threads.available_cores())),
    ],
)
def test_threads_are_decided_before_paddle_comes(argument, before, after):
    """Paddle reads the environment when it is imported, so only a fresh process can show it."""
    code = (
        "import os\nfrom paddle_darts.threads import import_paddle\n"
        f"import_paddle({argument})\nprint(os.environ['OMP_NUM_THREADS'])"
    )
    assert run(code, **before) == after


def test_nothing_changes_once_paddle_is_there(monkeypatch):
    import paddle  # noqa: F401

    monkeypatch.setenv("OMP_NUM_THREADS", "unchanged")
    threads.import_paddle(7)
    assert os.environ["OMP_NUM_THREADS"] == "unchanged"


def test_the_kernels_threads_can_be_chosen_later(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.thread_count() == threads.paddle_threads() == 3
    try:
        threads.choose_threads(5)
        assert (threads.thread_count(), threads.paddle_threads()) == (5, 3)
    finally:
        threads.choose_threads(None)
    assert threads.thread_count() == 3
