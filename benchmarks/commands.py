"""The sub-commands: what each measures, and the table that it makes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import training
from benchmarks.games import GAMES
from benchmarks.machine import describe
from benchmarks.ranks import command as of_ranks
from benchmarks.ranks import words
from benchmarks.report import Result, cell, duration, markdown, timing_table, warnings_about, write
from benchmarks.rounds import OURS, ROOT, BenchmarkError, Settings, Sides, ratio
from benchmarks.sides import BASELINE
from benchmarks.sides.base import COPIED
from benchmarks.tasks import CONV_TRIPLE, LAYERS, Task, ceiling_task, d_step_task, game_task, layer_title, layer_work
from minigan.backends import get_backend
from minigan.backends.numpy.threads import thread_count
from minigan.progress import tqdm_bar

GROWTH_STEPS = 1000
SETTLED_STEPS = 100  # before growth is counted: pools are full, caches warm
TRAINED_STEPS = {"mlp": 200, "dcgan": 40, "recipe": 40}  # of the G that samples are drawn from, which these games have


def _open(settings: Settings) -> Sides:
    return Sides(settings.sides, settings.threads, settings.patience, settings.baseline)


def _result(command: str, settings: Settings, sides: Sides | None, points: list[Result], **more: Any) -> Result:
    return {
        "command": command,
        "warnings": warnings_about(points),
        "machine": describe(settings.threads),
        "settings": {"rounds": settings.rounds, "seconds": settings.seconds, "sides": list(settings.sides)},
        "versions": sides.versions if sides else {},
        "missing": sides.missing if sides else {},
        "points": points,
        **more,
    }


def _timed_points(sides: Sides, task: Task, settings: Settings, title: Callable[[str], str], ours: str = OURS) -> list[Result]:
    """One point for each call of the task: medians in seconds, and ratios to ours round by round."""
    figures = sides.time(sides.prepare(task), settings)
    calls = dict.fromkeys(call for side in figures.values() for call in side)
    points = []
    for call in calls:
        rounds = {name: side[call] for name, side in figures.items() if call in side}
        ratios = {name: vars(ratio(times, rounds[ours])) for name, times in rounds.items()} if ours in rounds else {}
        seconds = {name: statistics.median(times) for name, times in rounds.items()}
        points.append(
            {
                **{"task": task, "call": call, "title": title(call), "ours": ours},
                **{"seconds": seconds, "ratios": ratios, "rounds": rounds},
            }
        )
    return points


def _progress(tasks: Sequence[Any], what: str) -> Iterable[Any]:
    return tqdm_bar(tasks, desc=what, unit="task", file=sys.stderr, disable=None)


# -- steps and sampling ------------------------------------------------------------------------------------------------


def steps(settings: Settings, games: Sequence[str], batches: Sequence[int] | None) -> tuple[Result, str]:
    """One full training step of each game, at these batch sizes or at the game's own."""
    points = []
    with _open(settings) as sides:
        for game, batch in _progress([(g, b) for g in games for b in batches or GAMES[g].batches], "steps"):
            task = game_task("step", game, batch)
            points += _timed_points(sides, task, settings, lambda call, game=game, batch=batch: f"{game}, batch {batch}")
        result = _result("steps", settings, sides, points)
    return result, timing_table(points)


def sampling(settings: Settings, games: Sequence[str], batches: Sequence[int]) -> tuple[Result, str]:
    """Images per second out of a trained G."""
    points = []
    with _open(settings) as sides:
        for game, batch in _progress([(g, b) for g in games for b in batches], "sampling"):
            task = game_task("sample", game, batch, train=TRAINED_STEPS[game])
            points += _timed_points(sides, task, settings, lambda call, game=game, batch=batch: f"{game}, batch {batch}")
        result = _result("sampling", settings, sides, points)
    names = [name for name in settings.sides if any(name in point["seconds"] for point in points)]

    def rates(point: Result) -> list[str]:
        return [cell(point, name, lambda seconds: f"{point['task']['batch'] / seconds:,.0f}") for name in names]

    return result, markdown(["images per second", *names], ([p["title"], *rates(p)] for p in points))


# -- penalties ---------------------------------------------------------------------------------------------------------


def penalties(settings: Settings, batches: Sequence[int], width: int = 0) -> tuple[Result, str]:
    """D's step with R1 and without: what the gradient of a gradient costs each side."""
    points = []
    with _open(settings) as sides:
        for batch in _progress(batches, "penalties"):
            task = d_step_task(batch, width)
            points += _timed_points(sides, task, settings, lambda call, batch=batch: f"{call}, batch {batch}")
        result = _result("penalties", settings, sides, points)
    pairs = list(zip(points[::2], points[1::2], strict=True))
    lines = []
    for plain, with_r1 in pairs:
        costs = {name: ratio(with_r1["rounds"][name], times) for name, times in plain["rounds"].items()}
        words = ", ".join(f"{name} **{cost.median:.2f}** ({cost.low:.2f}–{cost.high:.2f})" for name, cost in costs.items())
        lines.append(f"With R1 / without, batch {plain['task']['batch']}: {words}.")
        with_r1["costs"] = {name: vars(cost) for name, cost in costs.items()}
    return result, "\n\n".join([timing_table(points), *lines])


# -- on a GPU ----------------------------------------------------------------------------------------------------------

GPU_TEST_SECONDS, GPU_SECONDS = 210, 400  # for the tests, and for all that is begun
GPU_TEST_PROCESSES = 12  # each holds half a gibibyte of the device
NONE_FOUND = 5  # pytest's status where no test was to be run
GPU_PATIENCE = 90.0  # for one answer of a side, compilation included
D_STEP = "dcgan's D alone"  # d_step_task, in the place of a game
GPU_POINTS = [  # game, batch, width (0: the reference's), precision, sides that would take too long or are of no interest
    ("mlp", 128, 0, "float32", ()),
    ("dcgan", 128, 0, "float32", ()),
    ("dcgan", 1024, 256, "float32", ("numpy", "torch-gpu-compile", "cupy-launches")),
    ("dcgan", 1024, 256, "tf32", ("numpy", "torch-gpu-compile", "cupy-launches")),
    ("dcgan", 128, 0, "tf32", ("numpy",)),
    (D_STEP, 64, 0, "float32", ("numpy", "torch-gpu-compile", "cupy-launches")),
]


def gpu(settings: Settings, folder: Path) -> tuple[Result, str]:
    """The proof on a GPU, then one training step of the reference games there, and of a large one, beside PyTorch and JAX.

    The tests that need a GPU run first, their output in gpu-tests.txt. Raises BackendError where there is no GPU.
    """
    backend, since = get_backend("cupy"), time.perf_counter()
    tests = _gpu_tests(folder)
    points: list[Result] = []
    missing: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {}

    def result() -> Result:
        measured = _result("gpu", settings, None, points, ours="cupy", tests=tests)
        measured["machine"]["gpu"] = {"device": backend.device, **backend.versions}
        return {**measured, "missing": missing, "versions": versions}

    for game, batch, width, precision, without in _progress(GPU_POINTS, "gpu"):
        title = f"{game}, batch {batch}{f', width {width}' if width else ''}, {precision}"
        if time.perf_counter() - since > GPU_SECONDS:
            missing[title] = f"left out, {GPU_SECONDS} s had gone by"
            continue
        try:
            # New processes for every point, so that no side's memory is in the way of another's.
            names = [name for name in settings.sides if name not in without]
            with Sides(names, settings.threads, GPU_PATIENCE) as sides:
                options = {"width": width, "precision": precision}
                task = d_step_task(batch, **options) if game == D_STEP else game_task("step", game, batch, **options)
                titles = {"step": title, "D": title, "D with R1": f"{title}, with R1"}
                points += _timed_points(sides, task, settings, titles.__getitem__, ours="cupy")
                missing.update({f"{name}, {title}": why for name, why in sides.missing.items()})
                versions.update(sides.versions)
        except BenchmarkError as error:  # the other points are worth having all the same
            missing[title] = str(error)
        write(result(), folder)  # what is there by now, should the rest fail
    return result(), f"{timing_table(points)}\n\nTests on the GPU: {tests['summary']}."


def _gpu_tests(folder: Path) -> dict[str, Any]:
    """Run the tests that are marked gpu: whether they passed, and pytest's last lines. Its output goes to gpu-tests.txt.

    Those that watch the device's memory run alone, the others in several processes, which take turns on the GPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, deadline = folder / "gpu-tests.txt", time.monotonic() + GPU_TEST_SECONDS
    print(f"tests on the GPU, up to {GPU_TEST_SECONDS} s: {log}", file=sys.stderr)
    passed, summaries = True, []
    with log.open("w+", encoding="utf-8") as file:
        for which, processes in (("gpu and alone", 0), ("gpu and not alone", min(GPU_TEST_PROCESSES, thread_count()))):
            command = [sys.executable, "-m", "pytest", f"-n{processes}", "-m", which, "-rfE", "--tb=short", "tests"]
            start = file.tell()
            try:
                left = max(0.1, deadline - time.monotonic())
                status = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, timeout=left).returncode
            except subprocess.TimeoutExpired:
                return {"passed": False, "summary": f"not done after {GPU_TEST_SECONDS} s, see {log.name}"}
            file.seek(start)
            lines = [line for line in file.read().splitlines() if line.strip()]
            passed &= status in (0, NONE_FOUND)
            if status != NONE_FOUND:
                summaries.append(lines[-1].strip("= ") if lines else f"ended with status {status}")
    return {"passed": passed, "summary": "; ".join(summaries) or "none found"}


# -- layers ------------------------------------------------------------------------------------------------------------


def layers(settings: Settings, tasks: Sequence[Task] = tuple(LAYERS)) -> tuple[Result, str]:
    """Each layer's passes, beside the most that the machine can do."""
    with _open(settings) as sides:
        ceiling = ceiling_task()
        ceilings = _timed_points(sides, ceiling, settings, lambda call: call)
        most = {point["call"]: _most(point, ceiling) for point in ceilings}
        points = []
        for task in _progress(tasks, "layers"):
            for point in _timed_points(sides, task, settings, lambda call, task=task: f"{layer_title(task)}: {call}"):
                operations, moved = layer_work(task, point["call"])
                seconds = point["seconds"].get(OURS)
                point.update(
                    gflops=operations / seconds / 1e9 if seconds and operations else None,
                    gbytes=moved / seconds / 1e9 if seconds else None,
                )
                points.append(point)
        triple = _triple(points)
        result = _result("layers", settings, sides, points, ceilings=ceilings, most=most, triple=triple)
    names = [name for name in settings.sides if any(name in point["seconds"] for point in points)]

    def achieved(point: Result) -> list[str]:
        return ["" if point[key] is None else f"{point[key]:.0f}" for key in ("gflops", "gbytes")]

    head = ["", *names, f"{OURS}: GFLOP/s", "GB/s"]
    table = markdown(head, ([p["title"], *(cell(p, n, duration) for n in names), *achieved(p)] for p in points))
    lines = [
        table,
        "",
        "The machine's own ceiling, in the same run: " + "; ".join(_ceiling_words(most, call) for call in most) + ".",
    ]
    if triple:
        words = ", ".join(f"{name} {duration(t['seconds'])} (**{t['ratio']:.2f}**)" for name, t in triple.items())
        lines.append(f"The three passes of {layer_title(CONV_TRIPLE)} together: {words}.")
    return result, "\n".join(lines)


def _most(point: Result, task: Task) -> dict[str, float]:
    """GFLOP/s of the product, or GB/s of the copy, by side."""
    work = 2.0 * task["size"] ** 3 if point["call"] == "product" else 2.0 * 4 * COPIED
    return {name: work / seconds / 1e9 for name, seconds in point["seconds"].items()}


def _ceiling_words(most: dict[str, dict[str, float]], call: str) -> str:
    unit = "GFLOP/s" if call == "product" else "GB/s"
    return f"{call} " + ", ".join(f"{name} {value:.0f}" for name, value in most[call].items()) + f" {unit}"


def _triple(points: Sequence[Result]) -> dict[str, dict[str, float]]:
    """The conv triple: forward and both gradients added up round by round, by side."""
    passes = [point for point in points if point["task"] == CONV_TRIPLE]
    names = [name for name in (passes[0]["rounds"] if passes else {}) if all(name in point["rounds"] for point in passes)]
    sums = {name: [sum(times) for times in zip(*(p["rounds"][name] for p in passes), strict=True)] for name in names}
    if OURS not in sums:
        return {}
    return {n: {"seconds": statistics.median(s), "ratio": ratio(s, sums[OURS]).median} for n, s in sums.items()}


# -- scaling and memory ------------------------------------------------------------------------------------------------

SWEEPS = {
    "batch size": [(batch, {"batch": batch}) for batch in (1, 4, 16, 64, 256)],
    "image size": [(image, {"batch": 32, "image": image}) for image in (16, 28, 40, 64)],
    "width": [(width, {"batch": 32, "width": width}) for width in (16, 32, 64, 128)],
}


def scaling(settings: Settings, sweeps: dict[str, list[tuple[int, dict[str, int]]]] = SWEEPS) -> tuple[Result, str]:
    """How the cost of dcgan's step grows. New processes for every point, for the peak is a process's own."""
    points = []
    for sweep, size, options in _progress([(n, s, o) for n, sizes in sweeps.items() for s, o in sizes], "scaling"):
        with _open(settings) as sides:
            (point,) = _timed_points(sides, game_task("step", "dcgan", **options), settings, lambda call: "")
            memory = {name: _steps_and_memory(sides, name) for name in point["seconds"]}
        peaks = {name: m["peak"] - m["idle"] for name, m in memory.items()}
        points.append({**point, "title": f"{sweep} {size}", "sweep": sweep, "size": size, "peak_mib": peaks})
    result = _result("scaling", settings, sides, points)
    names = [name for name in settings.sides if any(name in point["seconds"] for point in points)]

    def costs(point: Result, name: str) -> str:
        def text(seconds: float) -> str:
            return f"{duration(seconds / point['task']['batch'])}, {point['peak_mib'][name]:.0f} MiB"

        return cell(point, name, text, ratio=False)

    return result, markdown(["time per image, peak", *names], ([p["title"], *(costs(p, n) for n in names)] for p in points))


def _steps_and_memory(sides: Sides, name: str) -> dict[str, float]:
    """The worker's memory after ten steps, the first of them not counted."""
    sides.ask(name, "time", call="step", calls=1, warmup=0)
    sides.ask(name, "forget_peak")
    sides.ask(name, "time", call="step", calls=9, warmup=0)
    return sides.ask(name, "memory")


PEAKS = (("dcgan", 128), ("mlp", 128), ("recipe", 64), ("colour", 64))  # game, batch


def memory(settings: Settings, growth: Sequence[tuple[str, int]]) -> tuple[Result, str]:
    """Peak resident memory of a step, above the idle process, and its growth over many steps."""
    points = []
    for game, batch in _progress(list(dict.fromkeys([*PEAKS, *growth])), "memory"):
        with _open(settings) as sides:
            calls = sides.prepare(game_task("step", game, batch))
            peak_mib, growth_mib = {}, {}
            for name in calls:
                if "step" not in calls[name] or name == "products":
                    continue
                used = _steps_and_memory(sides, name)
                peak_mib[name] = used["peak"] - used["idle"]
                if (game, batch) in growth:
                    sides.ask(name, "time", call="step", calls=SETTLED_STEPS, warmup=0)
                    before = sides.ask(name, "memory")["now"]
                    sides.ask(name, "time", call="step", calls=GROWTH_STEPS, warmup=0)
                    growth_mib[name] = sides.ask(name, "memory")["now"] - before
        points.append({"title": f"{game}, batch {batch}", "peak_mib": peak_mib, "growth_mib": growth_mib})
    result = _result("memory", settings, sides, points)
    names = [name for name in settings.sides if any(name in point["peak_mib"] for point in points)]

    def peaks_of(point: Result, name: str) -> str:
        if name not in point["peak_mib"]:
            return "–"
        grown = f", {point['growth_mib'][name]:+.2f}" if name in point["growth_mib"] else ""
        return f"{point['peak_mib'][name]:.0f}{grown}"

    head = f"peak above idle in MiB, growth over {GROWTH_STEPS:,} steps"
    return result, markdown([head, *names], ([p["title"], *(peaks_of(p, n) for n in names)] for p in points))


# -- imports -----------------------------------------------------------------------------------------------------------


def imports(settings: Settings) -> tuple[Result, str]:
    """Whole processes that only import: minigan against numpy alone, and against minigan of another checkout."""
    processes = {"numpy": ("numpy", ROOT), "minigan": ("minigan", ROOT)}
    if settings.baseline:
        processes[BASELINE] = ("minigan", settings.baseline)
    rounds: dict[str, list[float]] = {name: [] for name in processes}
    for turn in _progress(range(2 * settings.rounds + 1), "imports"):
        shift = turn % len(processes)
        for name in [*processes][shift:] + [*processes][:shift]:
            module, folder = processes[name]
            start = time.perf_counter()
            command = [sys.executable, "-c", f"import {module}"]  # -c looks in the working folder first
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
            if done.returncode:
                last = done.stderr.strip().rpartition("\n")[2]
                raise BenchmarkError(f"{name}: `import {module}` ended with status {done.returncode}: {last}")
            if turn:  # the first reads files from disk and may write bytecode
                rounds[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(times) for name, times in rounds.items()}
    ratios = {"minigan / numpy": ratio(rounds["minigan"], rounds["numpy"])}
    if settings.baseline:
        ratios["baseline / minigan"] = ratio(rounds[BASELINE], rounds["minigan"])
    point = {"title": "import", "seconds": seconds, "ratios": {n: vars(r) for n, r in ratios.items()}, "rounds": rounds}
    result = _result("imports", settings, None, [point])
    head = [
        "",
        *(f"import {module}{'' if name == module else f', {name}'}" for name, (module, _) in processes.items()),
        *ratios,
    ]
    cells = [f"**{r.median:.2f}**, {r.low:.2f}–{r.high:.2f}" for r in ratios.values()]
    return result, markdown(head, [["whole process", *map(duration, seconds.values()), *cells]])


# -- whole trainings ---------------------------------------------------------------------------------------------------


def train(settings: Settings, asked: training.Asked) -> tuple[Result, str]:
    """Whole commands from an empty start to samples of the wanted quality on disk, and the peak memory of each."""
    with _open(settings) as sides:  # which of them can run here, and their versions; their processes end at once
        names = list(sides.versions)
    with tempfile.TemporaryDirectory(prefix="minigan-benchmark-") as folder:
        work = training.Work(asked.options, Path(folder))
        training.prove(work, names, settings.threads)
        looks: list[tuple[int, float]] = []
        steps = asked.steps
        if steps is None:
            steps, looks = work.find_steps(asked, lambda looks: _progress(looks, "steps to the distance"))
        point = training.timed_point(work, names, steps, asked, settings, lambda turns: _progress(turns, "train"))
        commands = {name: work.command_in_words(name, steps) for name in names}
    options = {**asked.options, "distance": asked.distance, "within": training.WITHIN * asked.distance}
    return _result("train", settings, sides, [point], looks=looks, commands=commands, options=options), training.table(point)


# -- several processes -------------------------------------------------------------------------------------------------


def ranks(settings: Settings, asked: of_ranks.Asked) -> tuple[Result, str]:
    """Ranks that share each batch beside one process, and what is predicted of more of them."""
    result = of_ranks.measure(settings, asked, _progress)
    return result, words.table(result)
