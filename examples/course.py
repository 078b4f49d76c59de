"""What the numbered examples share: their options, their figures, and one-line messages for mistakes."""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from minigan.backends import BACKENDS, get_backend
from minigan.cli.entry import discard_what_cannot_be_written, prepare_streams
from minigan.cli.parser import INTERRUPTED, USER_ERROR, Parser, one_line, whole_number
from minigan.errors import MiniganError
from minigan.training.plots import save_image

FORWARD, BACKWARD = "tab:blue", "tab:red"  # what flows forward and what comes back, in every figure
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def arguments(doc, seed=0, steps=None, **texts):
    """The options of the example whose docstring is `doc`, from the command line; in a notebook, from sys.argv as it sets it.

    .backend: a Backend; .out: the figure's Path, by default the example's own name in the current folder; .seed; .quick: to run
    the shortened form of the tests; .steps, where the example names its number of steps: with --quick a twentieth of it and at
    least 20, unless --steps says otherwise; texts: further options that take a text, by name with their defaults. Prints the
    device first. From here on, a MiniganError ends the example in one line on stderr and status 2 (a notebook: the cell).
    """
    notebook = _notebook()
    if notebook:
        notebook.set_custom_exc((MiniganError,), _tell_in_notebook)
    else:
        prepare_streams()
        sys.excepthook = _tell
    parser = Parser(prog=_script().name, description=doc, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "--backend", default="auto", help=f"{', '.join(BACKENDS)} or auto: a GPU if one answers (default: auto)"
    )
    parser.add_argument("--out", type=Path, default=Path(_script().stem + ".png"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--seed", type=whole_number(0), default=seed, metavar="N", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="a shortened form that shows only that all runs")
    if steps is not None:
        parser.add_argument("--steps", type=whole_number(1), metavar="N", help=f"default: {steps:,}")
    for name, text in texts.items():
        parser.add_argument(f"--{name}", default=text, metavar="NAME", help="default: %(default)s")
    options = parser.parse_args()
    if options.out.suffix.lower() != ".png" or not options.out.parent.is_dir():
        raise MiniganError(f"--out is {str(options.out)!r}: expected a name that ends in .png, in a folder that exists")
    options.backend = get_backend(options.backend)
    if steps is not None and options.steps is None:
        options.steps = max(20, steps // 20) if options.quick else steps
    print(f"backend {options.backend.name}: {options.backend.device}")
    return options


def figure(rows=1, columns=1, width=9.0, height=3.5, **options):
    """(figure, axes) of width × height inches at 100 dots an inch; options, and the form of axes: as for Figure.subplots."""
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    matplotlib.rcParams.update(STYLE)
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def diagram(axes, nodes, edges):
    """A computation graph: nodes {name: (x, y)}, edges [(from, to, value, gradient)], both as text along the edge.

    What flows forward is blue and stands above, what comes back is red and stands below. A name that ends in · is an operation.
    """
    places = list(nodes.values())
    for start, end, *texts in edges:
        value, gradient = (text.replace("-", "−") for text in texts)
        (x0, y0), (x1, y1) = nodes[start], nodes[end]
        axes.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": "0.6", "shrinkA": 13, "shrinkB": 13})
        middle = {
            "xy": (0.55 * x0 + 0.45 * x1, 0.55 * y0 + 0.45 * y1),
            "ha": "center",
            "bbox": {"fc": "white", "ec": "none", "pad": 0.6},
        }
        axes.annotate(value, **middle, xytext=(0, 1), textcoords="offset points", va="bottom", color=FORWARD)
        axes.annotate(gradient, **middle, xytext=(0, -2), textcoords="offset points", va="top", color=BACKWARD)
    for name, place in nodes.items():
        box = {"boxstyle": "circle,pad=0.3", "fc": "#eef2f7", "ec": "0.4"} if name.endswith("·") else None
        axes.annotate(name.rstrip("·"), place, ha="center", va="center", fontsize=10, bbox=box)
    x, y = zip(*places, strict=True)
    axes.set(xlim=(min(x) - 0.3, max(x) + 0.3), ylim=(min(y) - 0.4, max(y) + 0.4))
    axes.axis("off")


def save(fig, options):
    """Write the figure to options.out, whole or not at all, and say so; equal figures give equal bytes. A notebook shows it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    with Image.open(buffer) as picture:
        save_image(options.out, picture.convert("RGB").quantize(256, dither=Image.Dither.NONE))  # a third of the bytes
    print(f"figure: {options.out}")
    show(options.out)


def show(path):
    """In a notebook, show a picture or play a sound that was written; elsewhere nothing happens."""
    if _notebook():
        from IPython.display import Audio, Image, display

        display((Audio if path.suffix == ".wav" else Image)(path.read_bytes()))


def _notebook():
    """The shell of the notebook that this runs in, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def _script():
    return Path(sys.argv[0])


def _tell(kind, error, traceback):
    """In place of Python's own last words on an error that nobody caught."""
    if issubclass(kind, (KeyboardInterrupt, BrokenPipeError)):
        discard_what_cannot_be_written()  # the reader of a pipe may have gone away, as in `… | head -1`
        sys.exit(INTERRUPTED if kind is KeyboardInterrupt else USER_ERROR)
    if not issubclass(kind, MiniganError):
        sys.__excepthook__(kind, error, traceback)
        return
    print(one_line(f"{_script().name}: error: {error}", sys.stderr.encoding or "ascii"), file=sys.stderr)
    sys.exit(USER_ERROR)


def _tell_in_notebook(shell, kind, error, traceback, tb_offset=None):
    """In place of a traceback under the cell."""
    print(one_line(f"{_script().name}: error: {error}", "utf-8"), file=sys.stderr)
