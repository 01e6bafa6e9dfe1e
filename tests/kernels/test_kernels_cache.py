"""Where built kernels are kept, and which folders are refused because what lies there is executed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from paddle_darts.kernels import cache
from paddle_darts.kernels import library as kernels
from paddle_darts.kernels.cache import Place, PlaceError


@pytest.mark.parametrize("level", ["cache", "cache/paddle_darts", "cache/paddle_darts/kernels", "key"])
def test_a_folder_that_others_may_write_to_is_refused(room, compiler, said, level):
    kernels.library(room / "csrc")
    (key,) = (room / "cache" / "paddle_darts" / "kernels").iterdir()
    refused = key if level == "key" else room / level
    refused.chmod(0o777)
    kernels.reset()
    assert kernels.library(room / "csrc") is not None
    texts = said("INFO")
    assert any(f"{refused} can be written to by" in text for text in texts)
    loaded = [text for text in texts if text.startswith("CPU kernels: ")][-1]
    assert str(room / "temporary") in loaded
    assert not said("WARNING")


def test_a_folder_of_someone_else_is_refused(room, compiler, monkeypatch, only_warning):
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert kernels.library(room / "csrc") is None
    assert "no private folder" in only_warning() and "belongs to another user" in only_warning()
    assert not list(room.rglob("*.so"))


def test_a_link_in_place_of_a_folder_is_refused(room):
    (room / "elsewhere").mkdir(mode=0o700)
    (room / "cache").mkdir()
    (room / "cache" / "paddle_darts").symlink_to(room / "elsewhere")
    with pytest.raises(PlaceError, match="is not a folder"):
        Place(room / "cache", ("paddle_darts", "kernels")).folder("key")


def test_groups_and_sticky_folders(room):
    room.chmod(0o1777)
    assert Place(room, ("one",)).folder("key").is_dir()
    room.chmod(0o770)
    assert Place(room, ("two",)).folder("key").is_dir()
    (room / "two").chmod(0o770)
    with pytest.raises(PlaceError, match="can be written to by others"):
        Place(room, ("two",)).folder("key")


def test_a_place_that_cannot_be_written_to(room, compiler, said):
    (room / "cache").write_text("a file is in the way")
    assert kernels.library(room / "csrc") is not None
    loaded = [text for text in said("INFO") if text.startswith("CPU kernels: ")]
    assert str(room / "temporary") in loaded[0]
    assert any(text.startswith("the CPU kernels cannot be kept in") for text in said("INFO"))


def test_a_full_disk_elsewhere_is_none_here(room, wrapped):
    wrapped.before(f'case "$*" in *{room}/cache*) echo "No space left on device" >&2; exit 1;; esac')
    assert kernels.library(room / "csrc") is not None
    assert not list((room / "cache").rglob("*.so")) and list((room / "temporary").rglob("*.so"))


def test_nothing_may_be_executed_there(room, compiler, monkeypatch, said):
    real = kernels.ctypes.CDLL

    def mounted_noexec(name):
        if str(room / "cache") in str(name):
            raise OSError(f"{name}: failed to map segment from shared object")
        return real(name)

    monkeypatch.setattr(kernels.ctypes, "CDLL", mounted_noexec)
    assert kernels.library(room / "csrc") is not None
    assert any("nothing may be executed from" in text for text in said("INFO"))


def test_places_in_order(room, monkeypatch):
    home, xdg = room / "home", room / "xdg"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(xdg))
    shared = room / "temporary" / f"paddle_darts-{os.geteuid()}" / "kernels"
    first, second, third = map(str, cache.places())
    assert (first, second) == (f"{room}/cache/paddle_darts/kernels", str(shared))
    assert Path(third).parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("PADDLE_DARTS_CACHE")
    assert str(next(cache.places())) == f"{xdg}/paddle_darts/kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert str(next(cache.places())) == f"{home}/.cache/paddle_darts/kernels"
    monkeypatch.setenv("PADDLE_DARTS_CACHE", "~/mine")
    assert str(next(cache.places())) == f"{home}/mine/paddle_darts/kernels"


def test_no_place_at_all(room, compiler, monkeypatch, only_warning):
    def no_temporary_directory():
        raise FileNotFoundError(2, "No usable temporary directory found")

    (room / "cache").write_text("a file is in the way")
    monkeypatch.setattr(tempfile, "gettempdir", no_temporary_directory)
    assert kernels.library(room / "csrc") is None
    assert "set PADDLE_DARTS_CACHE" in only_warning()
