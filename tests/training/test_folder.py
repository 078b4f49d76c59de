"""The folder of a run: whose files lie in it, and who may write there."""

import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from quick_runs import draw_bytes, make

import minigan as mg
from minigan import cli
from minigan.errors import CheckpointError, MiniganError
from minigan.training import CHECKPOINT, CONFIG, Config, default_run_dir, from_config, lock, resume_run, start_run
from minigan.training.folder import FILES
from minigan.training.lock import LOCK, locked

OTHERS = [*FILES, "samples/step_12.png", "samples/step_000012.png", "samples/step_1234567.png"]


@pytest.fixture(autouse=True)
def _pictures(monkeypatch):
    draw_bytes(monkeypatch)


def is_refused(make_run, *parts):
    with pytest.raises(MiniganError) as caught:
        make_run()
    message = str(caught.value)
    assert len(message) <= 400, "a line, though paths of tests are long"
    assert "\n" not in message
    for part in parts:
        assert part in message


# -- whose files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_are_no_run_are_not_touched_unless_asked(tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"model": "of someone else"}')
    is_refused(lambda: make(tmp_path), f"already holds {path.name}, of no run that minigan can read", "--overwrite")
    assert path.read_bytes() == b'{"model": "of someone else"}'
    assert os.listdir(tmp_path / "run") == [name.partition("/")[0]]


def test_overwrite_touches_what_a_run_writes_alone(tmp_path):
    folder = tmp_path / "run"
    foreign = ["notes.txt", "samples/step_12.png", "samples/step_0000012.png", "samples/cat.png", ".mine.part"]
    foreign += [".log.csv.part", "samples/.cat.png.12345678.part", ".notes.txt.12345678.part"]
    own = [*FILES, "samples/step_000012.png", "samples/step_1234567.png", ".log.csv.12345678.part"]
    own += ["samples/.step_000012.png.12345678.part"]
    (folder / "samples").mkdir(parents=True)
    for name in (*foreign, *own):
        (folder / name).write_bytes(b"{}")
    (folder / "samples" / "deeper").mkdir()
    run = make(tmp_path, overwrite=True, steps=4)
    run.train(progress=False)
    assert [path.name for path in run.files.frames()] == ["step_000000.png", "step_000004.png"]
    for name in foreign:
        assert (folder / name).read_bytes() == b"{}"
    for name in own:
        assert not (folder / name).exists() or (folder / name).read_bytes() != b"{}"
    assert len(list(folder.rglob("*.12345678.part"))) == 2
    assert (folder / "samples" / "deeper").is_dir()


@pytest.mark.parametrize("name", [*FILES, "samples", "samples/step_000003.png"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "other kind", "pipe"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path, name, kind):
    """Not with --overwrite either, nor where a run goes on."""
    make(tmp_path, steps=4).train(progress=False)
    path, target = tmp_path / "run" / name, tmp_path / "elsewhere"
    is_folder = name == "samples"
    if path.exists():
        path.rename(target)
    elif kind == "link":
        target.write_bytes(b"mine")
    if kind == "link":
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif is_folder:
        path.write_bytes(b"mine")
    else:
        path.mkdir()
    before = sorted(target.iterdir()) if target.is_dir() else target.read_bytes() if target.exists() else None
    wanted = "a link" if "link" in kind else "not a folder" if is_folder else "not a file"
    for overwrite in (False, True):
        is_refused(lambda overwrite=overwrite: make(tmp_path, overwrite=overwrite), f"{path} is {wanted}", "remove it")
    is_refused(lambda: resume_run(tmp_path / "run"), f"{path} is {wanted}")
    assert not (tmp_path / "nowhere").exists()
    assert before == (sorted(target.iterdir()) if target.is_dir() else target.read_bytes() if target.exists() else None)


def test_a_linked_folder_is_a_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    make(tmp_path, steps=4).train(progress=False)
    assert (tmp_path / "disk" / CHECKPOINT).exists()


def test_links_set_after_the_run_was_made_are_seen(tmp_path):
    run = make(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "run" / "samples").symlink_to(tmp_path / "mine")
    is_refused(lambda: run.train(progress=False), "is a link")
    assert os.listdir(tmp_path / "mine") == []


def test_pictures_are_not_written_among_those_that_a_run_learns_from(tmp_path):
    from PIL import Image

    (tmp_path / "run" / "samples").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "run" / "samples" / "cat.png")
    is_refused(lambda: make(tmp_path, data=str(tmp_path / "run" / "samples"), batch_size=1), "lies within the data")
    assert os.listdir(tmp_path / "run") == ["samples"]
    assert os.listdir(tmp_path / "run" / "samples") == ["cat.png"]


# -- where a run goes by default -----------------------------------------------------------------------------------------


def test_a_default_folder_is_one_that_was_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "ring").mkdir(parents=True)
    (tmp_path / "runs" / "ring" / "notes.txt").write_text("mine")
    (tmp_path / "runs" / "ring-2").symlink_to(tmp_path / "nowhere")
    assert default_run_dir("ring").name == "ring-3"
    assert len(os.fsencode(default_run_dir("ä" * 120 + ".npy", "nets-build").name)) < 255
    assert default_run_dir("/").name == "run"


def test_two_starts_at_one_moment_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Config(data="ring", steps=1, batch_size=4, hidden=(4,), backend="textbook")
    runs = [start_run(settings, log=lambda text: None) for _ in range(3)]
    assert not (tmp_path / "runs").exists()
    threads = [threading.Thread(target=run.train, args=(False,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.folder.name for run in runs) == ["ring", "ring-2", "ring-3"]
    assert all(run.step == 1 for run in runs)


def test_a_start_that_fails_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--data", "ring", "--width", "3"]) == 2
    assert os.listdir(tmp_path) == []
    (tmp_path / "runs").write_text("mine")
    assert cli.main(["train", "--data", "ring", "--steps", "1", "--hidden", "3", "--quiet"]) == 2
    assert "cannot make runs/ring" in capsys.readouterr().err


# -- the lock ------------------------------------------------------------------------------------------------------------


def test_one_run_at_a_time_in_a_folder(tmp_path):
    """Also of one process, and however the other comes to it."""
    make(tmp_path, steps=8).train(progress=False)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    others = [resume_run(tmp_path / "run", changes={"steps": 12}), make(tmp_path, overwrite=True)]
    with locked(tmp_path / "run", print):
        for other in others:
            is_refused(
                lambda other=other: other.train(False), f"in use by process {os.getpid()} on {socket.gethostname()}, since 2"
            )
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before
    assert LOCK not in os.listdir(tmp_path / "run")
    assert others[0].train(False)


def test_a_run_that_another_process_took_on_is_not_put_back(tmp_path):
    """Both read the folder before either held it: the later one would write its old state over the newer."""
    make(tmp_path, steps=8).train(progress=False)
    first, second = (resume_run(tmp_path / "run", changes={"steps": 16}) for _ in range(2))
    assert first.train(progress=False)
    with pytest.raises(CheckpointError, match="has gone on in another process"):
        second.train(progress=False)
    new = [make(tmp_path, "new", steps=8) for _ in range(2)]
    assert new[0].train(progress=False)
    is_refused(lambda: new[1].train(progress=False), "already holds a run")


HOLD = """
import os, sys, time
from pathlib import Path
from minigan.training.lock import locked
reading, writing = os.pipe()
with locked(Path(sys.argv[1]), print):
    if os.fork() == 0:
        os.write(writing, b"x")  # after what a fork runs in its child
        time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_blocks_nobody(tmp_path):
    """Nor does a child that it forked and that lives on."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    is_refused(lambda: locked(tmp_path, print).__enter__(), f"in use by process {process.pid}")
    process.kill()
    process.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path, print):
        pass
    assert not (tmp_path / LOCK).exists()


def test_the_file_of_a_lock_is_no_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_text("process 1 on a machine, since long ago\n")
    make(tmp_path, steps=4).train(progress=False)
    assert sorted(os.listdir(tmp_path / "run")) == sorted([*FILES, "samples"])


def test_a_lock_that_was_just_removed_is_not_taken_for_the_new_one(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder ends and removes it: two could each hold one of two files."""
    real, opened = lock._try_to_lock, []

    def late(descriptor):
        opened.append(descriptor)
        if len(opened) == 1:
            (tmp_path / LOCK).unlink()
        return real(descriptor)

    monkeypatch.setattr(lock, "_try_to_lock", late)
    with locked(tmp_path, print):
        assert len(opened) == 2
        is_refused(lambda: locked(tmp_path, print).__enter__(), "in use by")


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch):
    import errno

    monkeypatch.setattr(lock, "_try_to_lock", lambda descriptor: errno.ENOLCK)
    said = []
    make(tmp_path, said=said, steps=4).train(progress=False)
    assert "lies where files cannot be locked (No locks available): start no other run in it" in said[0]


def test_a_damaged_run_is_a_run(tmp_path):
    """As long as its settings can be read."""
    make(tmp_path, steps=4).train(progress=False)
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"damaged")
    is_refused(lambda: make(tmp_path), "already holds a run: --resume")
    (tmp_path / "run" / CONFIG).unlink()
    is_refused(lambda: make(tmp_path), "no run that minigan can read")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == b"damaged"


def test_a_start_without_a_name_takes_the_next_even_if_its_name_was_taken_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taken = []

    def take_first(*parts):
        name = default_run_dir(*parts)
        if not taken:
            taken.append(name)
            os.makedirs("runs")
            make(tmp_path / "runs", name.name, data="ring", steps=1, batch_size=4).train(progress=False)
        return name

    monkeypatch.setattr(from_config, "default_run_dir", take_first)
    settings = Config(data="ring", steps=1, batch_size=4, hidden=(4,), backend="textbook")
    run = start_run(settings, log=lambda text: None)
    assert run.train(progress=False)
    assert (taken[0].name, run.folder.name) == ("ring", "ring-2")


@pytest.mark.parametrize("out", ["pics", "pics/run"])
def test_pictures_of_a_run_from_python_stay_apart_from_its_data(tmp_path, out):
    from PIL import Image

    (tmp_path / "pics").mkdir()
    for index in range(4):
        Image.fromarray(np.full((4, 4), 50 * index, np.uint8)).save(tmp_path / "pics" / f"{index}.png")
    pair = mg.models.mlp((4, 4, 1), 3, 4, "textbook")
    is_refused(
        lambda: mg.train(mg.GAN(*pair), str(tmp_path / "pics"), out=tmp_path / out, steps=1, batch_size=2),
        "lies within the data",
    )
    assert sorted(os.listdir(tmp_path / "pics")) == [f"{index}.png" for index in range(4)]


def test_pictures_stay_out_of_folders_that_the_data_link_to(tmp_path):
    from PIL import Image

    (tmp_path / "elsewhere" / "birds").mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "birds").symlink_to(tmp_path / "elsewhere" / "birds")
    for index in range(4):
        Image.fromarray(np.full((4, 4), 50 * index, np.uint8)).save(tmp_path / "elsewhere" / "birds" / f"{index}.png")
    for out in (tmp_path / "linked" / "birds" / "run", tmp_path / "elsewhere" / "birds"):
        is_refused(
            lambda out=out: make(out.parent, out.name, data=str(tmp_path / "linked"), batch_size=2), "lies within the data"
        )
    assert not {"run", "samples", *FILES} & set(os.listdir(tmp_path / "elsewhere" / "birds"))


def test_a_folder_with_the_name_of_a_dataset_is_no_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--overwrite"], ["--resume", "--steps", "2"]):
        options = "--data ring --hidden 4 --batch-size 4 --backend textbook" if "--resume" not in more else ""
        steps = [] if "--steps" in more else ["--steps", "1"]
        assert cli.main(["train", *options.split(), *steps, "--out", "ring", "--quiet", *more]) == 0


def test_a_folder_needs_a_name():
    with pytest.raises(MiniganError, match="out is '': name a folder"):
        mg.train(mg.GAN(*mg.models.mlp((2,), 3, 4, "textbook")), "ring", out="", steps=1, batch_size=2)
