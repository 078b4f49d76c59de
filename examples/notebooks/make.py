"""Makes the notebooks of this folder, all from their sources: python examples/notebooks/make.py

Every numbered example becomes one: its title in examples/README.md and its docstring are the first cell, comments that stand at
the head of a paragraph are text too, and each paragraph of code is a cell of its own. in_ten_minutes.py, which is written for a
notebook, becomes in_ten_minutes.ipynb. Outputs are stripped, and equal sources give equal bytes.
"""

import ast
import re
import sys
from pathlib import Path

import jupytext
import nbformat

from minigan.errors import MiniganError
from minigan.files import write_atomically

HERE = Path(__file__).parent
EXAMPLES = HERE.parent
LESSONS = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
TEN_MINUTES = HERE / "in_ten_minutes.py"
SOURCES = [TEN_MINUTES, *LESSONS]
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
KERNEL |= {"language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"}}
RULER = re.compile(r"# -- (.*?) -+")
CODE = re.compile(r"(`[^`]+`|https?://[^\s)]+)")
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
LESSON = re.compile(r"\b(\d\d_\w+)\.py\b")


def as_markdown(text):
    """A docstring or comment as Markdown that shows the same: indented lines verbatim or as a list, signs as they stand."""
    lines, parts = text.split("\n"), []
    while lines:
        indented = lines[0].startswith("  ")
        size = next((i for i, line in enumerate(lines) if line and line.startswith("  ") != indented), len(lines))
        part, lines = lines[:size], lines[size:]
        parts.append(_indented(part) if indented else "\n".join(map(_escaped, part)))
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(parts)).strip()


def _indented(lines):
    """A list, where lines are a name and what it means, with further lines under that; else as it stands."""
    lines = [line.rstrip() for line in lines]
    while not lines[-1]:
        lines.pop()
    margin = min(len(line) - len(line.lstrip()) for line in lines if line)
    heads = [re.match(rf" {{{margin}}}(\S.*?) {{2,}}(?=\S)", line) for line in lines]
    columns = {head.end() for head in heads if head}
    deeper = {len(line) - len(line.lstrip()) for line, head in zip(lines, heads, strict=True) if not head}
    if not deeper or not deeper <= columns:
        return "\n".join(["```text", *(line[margin:] for line in lines), "```"])
    items = []
    for line, head in zip(lines, heads, strict=True):
        start = f"- **{_escaped(head[1])}**: " if head else "  "
        items.append(start + _escaped(line[head.end() :] if head else line.lstrip()))
    return "\n".join(items)


def _escaped(line):
    """A line of prose in which Markdown sees nothing but code, addresses, papers and other lessons."""
    parts = CODE.split(line)
    for at in range(0, len(parts), 2):
        pieces = LESSON.split(PAPER.sub(r"[\g<0>](https://arxiv.org/abs/\1)", parts[at]))
        pieces[::2] = [re.sub(r"[\\*_~<$]", r"\\\g<0>", piece) for piece in pieces[::2]]
        pieces[1::2] = ["[{}]({}.ipynb)".format(name.replace("_", r"\_"), name) for name in pieces[1::2]]
        parts[at] = "".join(pieces)
    return "".join(parts)


def opening(path):
    """What a notebook needs in place of a command line."""
    options = f'sys.argv = ["{path.name}"]  # and options, as on the command line: "--quick", or "--steps", "500"'
    return f'import sys\n\nsys.path.insert(0, "..")  # where course.py is\n{options}'


def as_light_script(path, title):
    """The example as a script that jupytext's light format reads as the cells of a notebook."""
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    doc, rest = ast.get_docstring(ast.parse(source)), source.split("\n")[body[0].end_lineno :]
    last = max(node.end_lineno for node in body if isinstance(node, (ast.Import, ast.ImportFrom))) - body[0].end_lineno
    text = [f"# {line}".rstrip() for line in f"# {title}\n\n{as_markdown(doc)}".split("\n")]
    imports = "\n".join(rest[:last]).strip()
    lines = [*text, "", "# +", opening(path), "", imports, "# -", ""]
    return "\n".join([*lines, *_with_text(rest[last:])])


def _with_text(lines):
    """Lines of code, in which comments at the head of a paragraph stand apart, as Markdown."""
    at = 0
    while at < len(lines):
        block = []
        while at < len(lines) and lines[at].startswith("# ") and (block or not lines[at - 1]):
            block.append(lines[at][2:])
            at += 1
        ruler = RULER.fullmatch(f"# {block[0]}") if block else None
        if block:
            text = f"## {ruler[1][0].upper()}{ruler[1][1:]}" if ruler else as_markdown("\n".join(block))
            yield from ["", *(f"# {line}".rstrip() for line in text.split("\n")), ""]
        if at < len(lines):
            yield lines[at]
            at += 1


def titles():
    """{the number of a lesson: its title}, of examples/README.md."""
    contents = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    return {title[:2]: title for title in re.findall(r"^## (\d\d .+)$", contents, re.M)}


def notebook(path):
    """The notebook of a source, without outputs."""
    if path == TEN_MINUTES:
        made = jupytext.read(path, fmt="py:percent")
    else:
        made = jupytext.reads(as_light_script(path, titles()[path.name[:2]]), fmt="py:light")
    made.metadata = nbformat.from_dict(KERNEL)
    made.nbformat, made.nbformat_minor = 4, 5
    made.cells = [cell for cell in made.cells if cell.source]
    for number, cell in enumerate(made.cells):
        cell.id, cell.metadata = f"{path.stem[:50]}-{number}", nbformat.from_dict({})
    nbformat.validate(made)
    return made


def written(path):
    """The bytes of its file."""
    return (nbformat.writes(notebook(path)) + "\n").encode()


def main():
    for path in SOURCES:
        write_atomically(HERE / f"{path.stem}.ipynb", written(path))
    print(f"{len(SOURCES)} notebooks in {HERE}")


if __name__ == "__main__":
    try:
        main()
    except MiniganError as error:
        sys.exit(f"make.py: error: {error}")
