"""The benchmark measures what it says: it refuses sides that do other work, reports missing ones, and writes what it prints."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cuda_on_host
import numpy as np
import pytest
import sides_in_one_process

from benchmarks import commands, report, rounds, summary, tasks
from benchmarks.__main__ import main
from benchmarks.rounds import BenchmarkError, Process, Settings, Sides, prove_same_work, ratio
from benchmarks.sides import SIDES
from minigan.errors import MiniganError
from minigan.models import mlp

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="reads Linux's /proc and affinities")

QUICK = Settings(rounds=2, seconds=0.01, threads=1, sides=("numpy", "textbook"))


def test_steps_prints_a_table_and_writes_json_and_a_chart(tmp_path, capsys):
    arguments = "steps --games mlp --batches 2,4 --rounds 2 --seconds 0.01 --threads 1 --sides numpy,textbook,cupy,products"
    assert main([*arguments.split(), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| mlp, batch 2 |" in printed
    result = json.loads((tmp_path / "steps.json").read_text())
    assert {"date", "cpu", "cores", "threads", "blas", "numpy", "python"} <= result["machine"].keys()
    first = result["points"][0]
    assert first["seconds"].keys() == {"numpy", "textbook", "products"} - result["missing"].keys()
    assert len(first["rounds"]["numpy"]) == 2
    assert min(first["rounds"]["numpy"]) > 0
    if "cupy" in result["missing"]:
        assert "`cupy`: missing: backend 'cupy' cannot run here" in printed
    assert (tmp_path / "steps.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_other_commands_on_small_work(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "ceiling_task", lambda: tasks.ceiling_task(64))
    monkeypatch.setattr(commands, "TRAINED_STEPS", {"mlp": 2})
    small = [tasks.layer_task("Conv2d", (4, 8, 8, 3), channels=4, **tasks.STRIDED), tasks.layer_task("Adam", (1000,))]
    result, table = commands.layers(QUICK, small)
    assert [point["call"] for point in result["points"]] == ["forward", "input_grad", "weight_grad", "update"]
    assert "GFLOP/s" in table
    assert result["most"]["product"]["numpy"] > 0
    report.write(result, tmp_path)
    result, table = commands.scaling(QUICK, {"width": [(4, {"batch": 2, "width": 4}), (8, {"batch": 2, "width": 8})]})
    assert all(point["peak_mib"]["numpy"] > 0 for point in result["points"])
    report.write(result, tmp_path)
    result, table = commands.sampling(QUICK, ["mlp"], [3])
    assert "mlp, batch 3" in table
    report.write(result, tmp_path)
    result, table = commands.penalties(QUICK, [2], width=4)
    assert "| D with R1, batch 2 |" in table
    assert re.search(r"With R1 / without, batch 2: numpy \*\*\d+\.\d\d\*\* ", table)
    costs = result["points"][1]["costs"]
    for side, cost in costs.items():
        with_r1, without = (point["rounds"][side] for point in reversed(result["points"]))
        assert cost["rounds"] == [a / b for a, b in zip(with_r1, without, strict=True)]
    report.write(result, tmp_path)
    assert "D with R1, batch 2 / without, minigan, backend numpy" in summary.summary(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.{kind}" for name in ("layers", "scaling", "sampling") for kind in ("json", "png")),
        "penalties.json",
    }


@pytest.mark.slow
def test_memory_counts_growth(monkeypatch):
    monkeypatch.setattr(commands, "GROWTH_STEPS", 20)
    monkeypatch.setattr(commands, "SETTLED_STEPS", 5)
    monkeypatch.setattr(commands, "PEAKS", [("dcgan", 2), ("recipe", 2)])
    settings = Settings(rounds=1, seconds=0.01, threads=1, sides=("numpy",))
    result, table = commands.memory(settings, [("mlp", 2)])
    assert [point["title"] for point in result["points"]] == ["dcgan, batch 2", "recipe, batch 2", "mlp, batch 2"]
    assert all(point["peak_mib"]["numpy"] > 1 for point in result["points"][:2])
    assert "mlp, batch 2" in table
    assert abs(result["points"][2]["growth_mib"]["numpy"]) < 5


def test_sides_that_do_other_work_are_refused():
    good = {"loss": np.array([1.0, 2.0])}
    prove_same_work({}, {"textbook": good, "numpy": {"loss": np.array([1.0, 2.0 + 1e-5])}})
    for wrong in (
        {"loss": np.array([1.0, 2.001])},
        {"loss": np.array([1.0, np.nan])},
        {"loss": np.array([1.0])},
        {"x": good["loss"]},
    ):
        with pytest.raises(BenchmarkError, match=r"Nothing was timed|differ on"):
            prove_same_work({}, {"textbook": good, "numpy": wrong})


@pytest.mark.parametrize(
    "fault", ["weights", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bias", "noise", "average", "penalty"))]
)
def test_a_planted_fault_in_the_work_is_seen(fault, tmp_path, monkeypatch):
    """One side gets another bias, weight, noise, decay or weight of R1: its evidence gives it away, and nothing is timed."""
    of_fault = {"average": tasks.game_task("step", "recipe", 4, width=4), "penalty": tasks.d_step_task(4, width=4)}
    task = of_fault.get(fault, tasks.game_task("step", "mlp", 8))
    ask = Process.ask

    def tampered(self, do, **request):
        if do == "prepare" and self.name == "numpy" and fault == "average":
            request["task"] = {**request["task"], "config": {**request["task"]["config"], "ema": 0.1}}
        elif do == "prepare" and self.name == "numpy" and fault == "penalty":
            request["task"] = {**request["task"], "r1": 1.01 * request["task"]["r1"]}
        elif do == "prepare" and self.name == "numpy":
            with np.load(request["inputs"]) as file:
                arrays = dict(file)
            if fault == "weights":
                arrays["generator.0.weight"] = arrays["generator.0.weight"] * 1.01
            if fault == "noise":
                arrays["z"] = arrays["z"][:, ::-1] * 1.01
            if fault == "bias":
                arrays["discriminator.3.bias"] = arrays["discriminator.3.bias"] + 0.02
            path = tmp_path / "tampered.npz"
            np.savez(path, **arrays)
            request["inputs"] = str(path)
        return ask(self, do, **request)

    monkeypatch.setattr(Process, "ask", tampered)
    with Sides(("numpy", "textbook"), 1) as sides, pytest.raises(BenchmarkError, match="do not do the same work"):
        sides.prepare(task)


def test_ratios_are_taken_round_by_round():
    told = ratio([2.0, 4.0, 30.0], [1.0, 2.0, 10.0])
    assert (told.median, told.low, told.high) == (2.0, 2.0, 2.5)


@pytest.mark.slow
def test_every_side_gets_the_same_threads_and_cores():
    script = "import os, numpy; print(len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])"
    process = Process.__new__(Process)
    process._cores = sorted(os.sched_getaffinity(0))[:1]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", script], env=env, preexec_fn=process._limit, capture_output=True, text=True)
    assert out.stdout.split() == ["1", "1"]
    with Sides(("numpy",), 1) as sides:
        assert "1 core" in sides.versions["numpy"]["device"]
        assert "1 thread" in sides.versions["numpy"]["device"]


@pytest.mark.slow
def test_waiting_sides_are_stopped():
    with Sides(("numpy", "textbook"), 1) as sides:
        sides.prepare(tasks.game_task("step", "mlp", 2))
        for process in sides._processes.values():
            stat, deadline = Path(f"/proc/{process._process.pid}/stat"), time.monotonic() + 10
            while stat.read_text().rpartition(")")[2].split()[0] != "T":  # a signal may take a moment on a busy machine
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_side_that_dies_is_named():
    with Sides(("numpy",), 1) as sides:
        sides._processes["numpy"]._process.kill()
        sides._processes["numpy"]._process.wait()
        with pytest.raises(BenchmarkError, match="numpy: its process ended with status -9"):
            sides.ask("numpy", "memory")


def test_gpu_without_a_device_says_so_and_writes_nothing(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('not here')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    command = [sys.executable, "-m", "benchmarks", "gpu", "--out", str(tmp_path / "results")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    words = "error: backend 'cupy' cannot run here: the package CuPy does not import (not here)"
    assert done.stderr.startswith(f"python -m benchmarks: {words}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


STAND_IN = """
import sys
import cublas_on_host, guarded
from minigan.backends.cupy import cublas
cublas.load_library = lambda cupy: cublas_on_host.Library()
sys.modules["cupy"] = guarded.cupy
"""


@pytest.mark.slow
@pytest.mark.skipif(cuda_on_host.missing is not None, reason=str(cuda_on_host.missing))
def test_gpu_on_device_arrays_of_the_tests(device, tmp_path, capsys, monkeypatch):
    """The whole command on stand-ins for device arrays, in its workers too: graph, launches and numpy do the same work."""
    (tmp_path / "cupy.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parent / "support"), os.getcwd()]))
    points = [
        ("mlp", 2, 4, "float32", ()),
        ("mlp", 2, 4, "tf32", ("numpy", "torch-gpu")),
        ("mlp", 2, 4, "tf33", ("numpy", "torch-gpu", "cupy-launches")),
        (commands.D_STEP, 2, 4, "float32", ("torch-gpu",)),
    ]
    monkeypatch.setattr(commands, "GPU_POINTS", points)
    monkeypatch.setattr(commands, "_gpu_tests", lambda folder: {"passed": True, "summary": "3 passed"})
    options = f"gpu --out {tmp_path} --rounds 1 --seconds 0.01 --threads 1 --sides cupy,cupy-launches,numpy,torch-gpu"
    assert main(options.split()) == 0
    printed = capsys.readouterr().out
    assert "| mlp, batch 2, width 4, float32 |" in printed
    assert "- `mlp, batch 2, width 4, tf33`: missing: cupy: BackendError: unknown precision 'tf33'" in printed
    assert "Tests on the GPU: 3 passed." in printed
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert [list(point["seconds"]) for point in result["points"]] == [
        ["cupy", "cupy-launches", "numpy"],
        ["cupy", "cupy-launches"],
        *[["cupy", "cupy-launches", "numpy"]] * 2,
    ]
    assert "| dcgan's D alone, batch 2, width 4, float32, with R1 |" in printed
    assert result["points"][0]["ratios"]["cupy"]["median"] == 1
    assert result["machine"]["gpu"]["compute capability"] == "9.0"
    assert "torch-gpu, mlp, batch 2, width 4, float32" in result["missing"]
    assert (tmp_path / "gpu.png").read_bytes()[:4] == b"\x89PNG"
    assert "GPU, mlp, batch 2, width 4, float32: numpy / minigan" in summary.summary(tmp_path)


def test_a_side_that_does_not_answer_has_failed():
    process = Process("numpy", 1, patience=60)
    process.greet()
    process._patience = 0.3
    process._signal("SIGSTOP")
    with pytest.raises(BenchmarkError, match="numpy: no answer within 0 s"):
        process._read()
    assert process._process.returncode is not None


@pytest.mark.slow
def test_gpu_tests_that_fail_or_take_too_long_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which take most of the time of these small runs
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    (tmp_path / "tests").mkdir()
    test = tmp_path / "tests" / "test_it.py"
    for body, seconds, passed, told in (
        ("pass", 60, True, "1 passed"),
        ("assert 0", 60, False, "1 failed"),
        ("import time; time.sleep(9)", 0.2, False, "not done after 0.2 s"),
    ):
        test.write_text(f"import pytest\n@pytest.mark.gpu\ndef test_it():\n    {body}\n")
        monkeypatch.setattr(commands, "GPU_TEST_SECONDS", seconds)
        outcome = commands._gpu_tests(tmp_path)
        assert outcome["passed"] is passed
        assert told in outcome["summary"]


def test_the_products_are_those_of_a_step(monkeypatch):
    """The list of the products side against what a step of the textbook really multiplies."""
    from benchmarks.sides.products_side import ProductsSide

    task = tasks.game_task("step", "mlp", 8)
    inputs = tasks.game_inputs(task)
    listed = sorted((m, k, n) for m, k, n, _ in ProductsSide.shapes(task, inputs))
    import minigan as mg

    backend = mg.backends.base.Backend()
    seen = []
    matmul = backend.matmul
    monkeypatch.setattr(
        backend, "matmul", lambda a, b, *where, **how: seen.append((*a.shape, b.shape[1])) or matmul(a, b, *where, **how)
    )
    gan = mg.GAN(*mlp(backend=backend))
    gan.step(inputs["real"][0], inputs["z"][0])
    assert listed == sorted(seen)


def test_layer_work_counts_multiplications_twice():
    operations, moved = tasks.layer_work(tasks.CONV_TRIPLE, "forward")
    assert operations == 2 * 128 * 7 * 7 * 128 * 4 * 4 * 64
    assert moved == 4 * (128 * 14 * 14 * 64 + 128 * 7 * 7 * 128 + 4 * 4 * 64 * 128)


def test_summary_reads_what_is_there(tmp_path, capsys):
    assert main(["summary", "--out", str(tmp_path)]) == 2
    assert "no results in" in capsys.readouterr().err
    assert main(["imports", "--rounds", "1", "--baseline", str(rounds.ROOT), "--out", str(tmp_path)]) == 0
    shown = summary.summary(tmp_path)
    assert "import, whole process: minigan / numpy" in shown
    assert "import, whole process: baseline / minigan" in shown
    assert "Warning: imports: 2 rounds are too few" in shown
    for damaged in ("{", "[" * 5000, "[]", '{"command": "imports"}', '{"command": "imports", "points": 1}'):
        (tmp_path / "imports.json").write_text(damaged)
        assert main(["summary", "--out", str(tmp_path)]) == 2
        assert_one_line(capsys.readouterr().err)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Another checkout: a copy of this one that calls itself by another version."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("minigan", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(rounds.ROOT / name, folder / name, ignore=ignored)
    file = folder / "minigan" / "__init__.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace('__version__ = "0.1.0"', '__version__ = "0.0.9"'), encoding="utf-8"
    )
    return folder


@pytest.mark.slow
def test_another_checkout_is_a_side(checkout, tmp_path, capsys):
    arguments = (
        f"steps --games mlp,recipe,vae --batches 2 --rounds 1 --seconds 0.01 --threads 1 --sides numpy --baseline {checkout}"
    )
    assert main([*arguments.split(), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "- `baseline`: minigan of another checkout" in printed
    result = json.loads((tmp_path / "steps.json").read_text())
    assert [point["ratios"].keys() for point in result["points"]] == [{"numpy", "baseline"}] * 3
    assert result["versions"]["baseline"]["minigan"] == "0.0.9"
    assert result["versions"]["numpy"]["minigan"] != "0.0.9"


def test_another_checkout_that_does_other_work_is_refused(checkout, monkeypatch):
    file = checkout / "minigan" / "optim.py"
    text = file.read_text(encoding="utf-8")
    assert text.count("return w - rate * ") == 1
    try:
        file.write_text(text.replace("return w - rate * ", "return w - 1.1 * rate * "), encoding="utf-8")
        refused = pytest.raises(BenchmarkError, match="baseline and textbook do not do the same work")
        with Sides(("textbook", "baseline"), 1, baseline=checkout) as sides, refused:
            sides.prepare(tasks.game_task("step", "mlp", 8))
    finally:
        file.write_text(text, encoding="utf-8")


def test_the_side_of_another_checkout_needs_its_folder(capsys):
    assert main(["steps", "--sides", "baseline", "--threads", "1"]) == 2
    assert "name its folder by --baseline PATH" in capsys.readouterr().err


def assert_one_line(message):
    assert message.startswith("python -m benchmarks: ")
    assert message.count("\n") == 1
    assert len(message) <= 301
    assert "Traceback" not in message


MANY_DIGITS = "9" * 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: COMMAND"),
        ("stepps", "invalid choice"),
        ("steps --sides nunpy", "did you mean 'numpy'"),
        ("steps --sides ,", "unknown side ''"),
        (f"steps --sides {'x' * 400}", "unknown side 'xxx"),
        ("steps --games gan", "unknown game 'gan'"),
        ("steps --games mlp,", "unknown game ''"),
        *(
            (f"steps --batches {text}", "from 1 up to 4,096")
            for text in ("0", "-1", "x", "1,,2", "1.5", MANY_DIGITS, "9" * 5000)
        ),
        *((f"layers --rounds {text}", "from 1 up to 10,000") for text in ("0", "-3", "two", "0.5", MANY_DIGITS)),
        *((f"layers --seconds {text}", "above 0 up to 3,600") for text in ("0", "-1", "nan", "inf", "1e308", MANY_DIGITS)),
        *((f"steps --threads {text}", "from 1 up to 1,024") for text in ("0", "-1", "two", MANY_DIGITS)),
        ("steps --threads 1024", "this process may use"),
        ("memory --growth-batch 0", "from 1 up to 4,096"),
        ("memory --rounds 3", "unknown argument '--rounds'"),
        ("steps --batch 3", "did you mean --batches?"),
        ("layers --baseline .", "unknown argument '--baseline'"),
        ("steps --baseline nowhere", "expected a checkout of this repository"),
        (f"steps --baseline {'x' * 300}", "expected a checkout of this repository"),
        (f"steps --out {__file__}", "is a file"),
        (f"steps --out {__file__}/results", "is a file"),
        (f"steps --out {'x' * 300}", "name another folder by --out"),
        ("steps --out /proc/results", "name another folder by --out"),
        ("summary --out nowhere", "no results in 'nowhere'"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    written = capsys.readouterr().err
    assert message in written
    assert_one_line(written)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["0", "-1", "two", "²", MANY_DIGITS, "1024"])
def test_a_bad_number_of_threads_in_the_environment_is_refused(value, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGAN_NUM_THREADS", value)
    assert main(["steps", "--games", "mlp", "--batches", "2", "--sides", "numpy"]) == 2
    written = capsys.readouterr().err
    assert "MINIGAN_NUM_THREADS is " in written
    assert_one_line(written)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_threads_of_the_environment_are_those_of_every_side(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGAN_NUM_THREADS", "1")
    arguments = "steps --games mlp --batches 2 --rounds 1 --seconds 0.01 --sides numpy,products,torch"
    assert main(arguments.split()) == 0
    result = json.loads((tmp_path / "benchmark-results" / "steps.json").read_text())
    assert result["machine"]["threads"] == 1
    told = result["versions"]
    assert told["numpy"]["device"].endswith("1 thread")
    assert told["numpy"]["BLAS threads"] == "1"
    assert told.get("torch", {"threads": "1"})["threads"] == "1"
    assert "Warning: 1 round is too few" in capsys.readouterr().out
    before = (tmp_path / "benchmark-results" / "steps.json").read_bytes()
    assert main(arguments.split()) == 2  # what was measured before is kept
    assert "'benchmark-results' holds steps.json already: --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "benchmark-results" / "steps.json").read_bytes() == before
    assert main([*arguments.replace(",products,torch", "").split(), "--overwrite"]) == 0
    assert (tmp_path / "benchmark-results" / "steps.json").read_bytes() != before


def test_every_library_is_told_the_number_of_threads():
    told = rounds.environment("jax", 3)
    assert {told[name] for name in told if name.endswith(("_NUM_THREADS", "_MAXIMUM_THREADS", "NPROC"))} == {"3"}
    assert {"MINIGAN_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"} <= told.keys()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1.0], ["1 round is too few"]),
        ([1.0, 1.0], ["2 rounds are too few"]),
        ([1.0, 1.0, 1.0], []),
        ([1.0, 1.1, 1.2], []),
        ([1.0, 1.0, 9.0, 1.0, 1.0], []),  # a single disturbed round moves no quartile
        ([1.0, 2.0, 3.0], ["rounds spread widely (numpy, it: third quartile 1.67 times the first)"]),
        ([1.0, 9.0], ["2 rounds are too few", "rounds spread widely"]),
    ],
)
def test_doubtful_rounds_are_told(times, expected):
    warnings = report.warnings_about([{"title": "it", "rounds": {"numpy": times}}, {"title": "memory"}])
    assert [words in told for words, told in zip(expected, warnings, strict=True)] == [True] * len(expected)


def test_an_interrupted_benchmark_writes_nothing_and_leaves_no_process(tmp_path, monkeypatch, capsys):
    processes = []
    ask = Process.ask

    def interrupted(self, do, **request):
        processes.append(self._process)
        if do == "time":
            raise KeyboardInterrupt
        return ask(self, do, **request)

    monkeypatch.setattr(Process, "ask", interrupted)
    arguments = f"steps --games mlp --batches 2 --sides numpy,textbook --threads 1 --out {tmp_path / 'results'}"
    assert main(arguments.split()) == 130
    assert_one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
    assert all(process.returncode is not None for process in processes)


def test_a_process_that_is_interrupted_as_it_starts_is_ended(monkeypatch):
    started = []

    def interrupted(self):
        started.append(self._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(Process, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Process("numpy", 1).greet()
    assert started[0].returncode is not None


def test_a_missing_package_is_told_with_what_to_install(tmp_path, monkeypatch, capsys):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    arguments = f"steps --games mlp --batches 2 --sides torch --threads 1 --out {tmp_path / 'results'}"
    assert main(arguments.split()) == 2
    written = capsys.readouterr().err
    assert "no side that was asked for can run here (torch: the package torch is not installed: pip install" in written
    assert_one_line(written)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_work_that_no_side_has_is_refused(tmp_path, capsys):
    arguments = f"sampling --games mlp --batches 2 --sides products --threads 1 --out {tmp_path / 'results'}"
    assert main(arguments.split()) == 2
    assert "none of products has such work" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_result_that_cannot_be_written_is_printed_all_the_same(tmp_path, monkeypatch, capsys):
    def fails(path, data):
        raise MiniganError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr(report, "write_atomically", fails)
    assert main(["imports", "--rounds", "1", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "| whole process |" in printed.out
    assert "no space left" in printed.err


@pytest.mark.slow
def test_the_side_and_the_backend_of_the_readme(checkout):
    """The worked example of benchmarks/README.md: its file and its line of the table make a side that is measured."""
    text = (rounds.ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    module, line = re.findall(r"```python\n(.*?)```", text.partition("## A backend or a side of your own")[2], re.DOTALL)[:2]
    command = re.search(r"`python -m benchmarks (steps .* --sides textbook,numpy,einsum)`", text)[1]
    sides = checkout / "benchmarks" / "sides"
    (sides / "einsum_side.py").write_text(module, encoding="utf-8")
    table = (sides / "__init__.py").read_text(encoding="utf-8")
    assert table.count("SIDES = {\n") == 1
    try:
        (sides / "__init__.py").write_text(table.replace("SIDES = {\n", f"SIDES = {{\n{line}"), encoding="utf-8")
        words = [sys.executable, "-m", "benchmarks", *command.split(), "--rounds", "1", "--seconds", "0.01", "--threads", "1"]
        env = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(words, cwd=checkout, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "- `einsum`: minigan, products by np.einsum (minigan" in done.stdout
        (point,) = json.loads((checkout / "benchmark-results" / "steps.json").read_text())["points"]
        assert point["seconds"].keys() == {"textbook", "numpy", "einsum"}
        assert (checkout / "benchmark-results" / "steps.png").is_file()
    finally:
        (sides / "__init__.py").write_text(table, encoding="utf-8")


@pytest.mark.slow
def test_the_sides_that_are_installed_agree():
    """PyTorch and JAX, where installed, do the same steps and layers as minigan."""
    several = [
        tasks.game_task("step", "mlp", 4),
        tasks.game_task("step", "dcgan", 4, width=8),
        tasks.game_task("step", "recipe", 4, width=8),
        tasks.game_task("step", "points", 4, width=8),
        tasks.d_step_task(4, width=8),
        tasks.game_task("sample", "dcgan", 3, width=8, train=2),
        tasks.layer_task("Dense", (5, 7), units=3),
        tasks.layer_task("Conv2d", (2, 8, 6, 3), channels=4, **tasks.STRIDED),
        tasks.layer_task("ConvTranspose2d", (2, 4, 3, 3), channels=4, **tasks.STRIDED),
        tasks.layer_task("BatchNorm", (4, 3, 3, 5)),
        tasks.layer_task("LeakyReLU", (4, 3, 3, 5), slope=0.2),
        tasks.layer_task("Adam", (50,)),
    ]
    names = ["textbook", "numpy", "torch", "torch-last", "jax"]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        evidence, missing = pool.submit(sides_in_one_process.evidence_of, names, several).result()
    if missing.keys() >= {"torch", "jax"}:
        pytest.skip("neither PyTorch nor JAX is installed")
    for task, of_sides in zip(several, evidence, strict=True):
        expected = {"textbook", "numpy", "torch", "jax"} - missing.keys()
        assert of_sides.keys() >= expected
        prove_same_work(task, of_sides)


def test_rounds_module_says_what_the_reference_is():
    assert {rounds.REFERENCE, rounds.OURS} <= SIDES.keys()
