"""A result of `ranks` as tables and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from benchmarks.ranks.command import HERE, ONE, PREDICTED
from benchmarks.report import Result, duration, markdown

_SCALED = {"strong": "batch {batch}", "weak": "{batch} each"}


def table(result: Result) -> str:
    """What was measured, the exchanges, what is predicted, and where more ranks stop paying."""
    return "\n\n".join([_measured(result), *_exchanges(result), _predicted(result), *_verdicts(result)])


def _measured(result: Result) -> str:
    points = [point for point in result["points"] if point["scaling"] != "shares"]
    names = [name for name in dict.fromkeys(n for p in points for n in p["seconds"]) if "ranks" not in name]
    head = ["images per second", *names, "ranks of one thread", "in exchanges", "predicted", "with busy cores"]
    return markdown(head, (_row(point, names) for point in points))


def _row(point: Result, names: list[str]) -> list[str]:
    """Rates; those of the other groups with how many times as fast the ranks are. The model's figures, and time / model's."""
    label, seconds = point["label"], point["seconds"]
    own_batch = point["batch"] // (point["ranks"] if point["scaling"] == "weak" else 1)  # of one process
    cells = []
    for name in names:
        if name not in seconds:
            cells.append("–")
            continue
        speed = point["speed"][name]
        cells.append(f"{own_batch / seconds[name]:,.0f} (**{speed['median']:.2f}**, {speed['low']:.2f}–{speed['high']:.2f})")
    cells.append(f"{point['batch'] / seconds[label]:,.0f}")
    model = point["predicted_exchange"] / point["predicted"]
    cells.append(f"{point['exchange_share']:.1%} (model {model:.1%})")
    for name in ("predicted", "predicted_busy"):
        cells.append(f"{point['batch'] / point[name]:,.0f} ({seconds[label] / point[name]:.2f})")
    return [point["title"], *cells]


def _exchanges(result: Result) -> Iterator[str]:
    exchange = result["exchange"]
    costs, measured = exchange["costs"], exchange["measured"]
    yield (
        "In brackets beside images per second: how many times as fast the ranks are, in the same round (median, quartiles); "
        "beside predictions: measured time / predicted. The share in exchanges includes the wait for the other ranks. "
        "“With busy cores” computes as fast as all cores do at once, each by itself."
    )
    rate = f"{1e-9 / costs['byte']:.2g} GB/s" if costs["byte"] else "no cost of bytes"
    yield (
        f"An exchange ({result['machine']['mpi']}, fitted to {len(measured)} medians, {_bytes(measured[0]['bytes'])} to "
        f"{_bytes(measured[-1]['bytes'])}): "
        f"{duration(costs['call'])} a call, latency {duration(costs['latency'])}, {rate}; adding {1e-9 / costs['adding']:.2g} "
        f"GB/s. The fit is off by {exchange['median_error']:.0%} (median), {exchange['largest_error']:.0%} at most."
    )
    for game, step in result["steps"].items():
        sizes = Counter(step["messages"])
        listed = ", ".join(f"{count} × {_bytes(n)}" for n, count in sorted(sizes.items()))
        yield (
            f"A step of {game} exchanges {sizes.total()} times, {_bytes(sum(step['messages']))} in all: {listed}. Its "
            f"random numbers take {duration(step['drawing'])} an image, and every rank draws those of the whole batch."
        )


def _bytes(count: int) -> str:
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _title(row: Result, links: int) -> str:
    scaled = _SCALED[row["scaling"]].format(**row)
    return f"{row['game']}, {scaled}" + (f", {row['link']}" if links > 1 else "")


def _predicted(result: Result) -> str:
    rows = result["predictions"]
    links = len({row["link"] for row in rows})

    def cell(row: Result, size: str) -> str:
        if size not in row["images_per_s"]:
            return "–"
        return f"{row['images_per_s'][size]:,.0f} ({row['efficiency'][size]:.2f})"

    sizes = [str(size) for size in PREDICTED]
    head = ["predicted images per second (efficiency)", *(f"{size} ranks" for size in sizes)]
    return markdown(head, ([_title(row, links), *(cell(row, size) for size in sizes)] for row in rows))


def _verdicts(result: Result) -> Iterator[str]:
    rows = result["predictions"]
    links = len({row["link"] for row in rows})
    yield "\n".join(f"- {_title(row, links)}: {verdict(row)}." for row in rows)


def verdict(row: Result) -> str:
    """Where more ranks stop paying."""
    rates = {int(size): rate for size, rate in row["images_per_s"].items()}
    last, quickest, efficient = max(rates), row["quickest"], row["efficient"]
    if quickest == 1:
        return "does not pay: one rank is the quickest"
    times = f"{rates[quickest] / rates[1]:.3g} times one rank"
    if quickest < last:
        words = f"more than {quickest} ranks ({times}) are slower"
    elif row["scaling"] == "strong":
        words = f"quickest on all {last} ranks, one image each ({times})" if last == row["batch"] else f"{last} ranks: {times}"
    else:
        words = f"still grows at {last:,} ranks ({times})"
    if efficient == last:
        return f"{words}, with an efficiency above one half"
    return f"{words}; the efficiency falls below one half beyond {efficient} rank{'s' if efficient > 1 else ''}"


def headline(result: Result) -> list[list[str]]:
    """Rows of the summary: ranks against threads, and how far the model goes wrong."""
    rows = []
    for point in result["points"]:
        if point["scaling"] == "shares":
            continue
        for name, r in point["speed"].items():
            if name != ONE or point["scaling"] == "weak":
                words = f"{point['title']}: images per second / those of 1 process of {name}"
                rows.append([words, f"{r['median']:.2f} ({r['low']:.2f}–{r['high']:.2f})"])
        rows.append([f"{point['title']}: time / the model's", f"{point['seconds'][point['label']] / point['predicted']:.2f}"])
    for row in result["predictions"]:
        if row["link"] == HERE:
            rows.append([f"{_title(row, 1)}: the most ranks with an efficiency of one half or more", f"{row['efficient']:,}"])
    return rows
