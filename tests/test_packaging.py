"""The wheel holds what the package needs, and works from any directory."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "paddle_darts/kernels/csrc").iterdir()
    if path.suffix in (".cpp", ".h")
}
PROBE = """
import json
import paddle_darts
from paddle_darts.engine.recipes import search_settings
from paddle_darts.resources import find_config
config, _ = search_settings({"config": "configs/search/quickstart.yml"})
from paddle_darts.kernels.build import source_files
print(json.dumps({
    "package": paddle_darts.__file__,
    "genotypes": paddle_darts.list_genotypes(),
    "recipe": str(find_config("configs/search/quickstart.yml")),
    "dataset": config.dataset,
    "kernels": sorted(path.name for path in source_files()),
}))
"""


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    own_backend = importlib.util.find_spec("hatchling") is not None
    built = pip(
        "wheel", "--no-deps", *(["--no-build-isolation"] if own_backend else []), "--wheel-dir", str(folder), str(ROOT)
    )
    if built.returncode and not own_backend and "No matching distribution found for hatchling" in built.stderr:
        pytest.skip("hatchling is not installed and cannot be fetched; pip install -e '.[test]' brings it")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_every_data_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"paddle_darts/py.typed"}
    for folder, pattern in (("genotypes", "*.json"), ("configs", "*.yml")):
        files = [path for path in (ROOT / folder).rglob(pattern) if path.is_file()]
        assert files
        expected |= {f"paddle_darts/_resources/{path.relative_to(ROOT).as_posix()}" for path in files}
    templates = [path for path in (ROOT / "paddle_darts/analysis/templates").iterdir() if path.is_file()]
    assert templates
    expected |= {path.relative_to(ROOT).as_posix() for path in templates}
    assert SOURCES, "the C++ kernels are built from them on the user's machine"
    expected |= SOURCES
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "paddle_darts").rglob("*.py")}
    assert not (expected | modules) - names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    top_level = {name.split("/")[0] for name in names}
    assert len(top_level) == 2, f"only the package and its metadata belong into the wheel, got {top_level}"


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is missing; pip install -e '.[test]' brings it"
)
def test_source_distribution_holds_the_kernels(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not SOURCES - names
    assert {"pyproject.toml", "LICENSE", "paddle_darts/kernels/build.py"} <= names


def test_wheel_declares_the_console_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "paddle-darts = paddle_darts.cli:main" in archive.read(entry_points).decode()


def test_installed_wheel_finds_its_files_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    installed = pip("install", "--no-deps", "--target", str(target), str(wheel))
    assert installed.returncode == 0, installed.stderr
    environment = {**os.environ, "PYTHONPATH": str(target)}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert Path(found["package"]).is_relative_to(target)
    assert Path(found["recipe"]).is_relative_to(target)
    assert found["dataset"] == "digits"
    assert found["kernels"] == sorted(Path(source).name for source in SOURCES)
    registered = {
        name
        for path in (ROOT / "genotypes").glob("*.json")
        for name in json.loads(path.read_text(encoding="utf-8"))["cells"]
    }
    assert set(found["genotypes"]) == registered
