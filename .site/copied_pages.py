"""Pages of texts that stand in the repository: its READMEs, the lessons, and the sources that these link to."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from minigan.errors import MiniganError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "notebooks"))

import make as notebooks  # noqa: E402

READMES = {"README.md": "index", "examples/README.md": "examples/index", "benchmarks/README.md": "benchmarks/index"}
LANGUAGES = {".py": "python", ".cu": "c++", ".md": "markdown", ".js": "javascript", ".css": "css", ".html": "html"}
AS_FILES = {".png", ".json", ".ipynb"}  # these have no pages
FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


class Stage:
    """A folder of pages to be, and which of the repository's files have one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lessons = {f"examples/{path.name}": f"examples/{path.stem}" for path in notebooks.LESSONS}
        ten_minutes = {f"examples/notebooks/{notebooks.TEN_MINUTES.stem}.ipynb": "examples/in_ten_minutes"}
        self.pages = {**READMES, **lessons, **ten_minutes}

    def write(self, page: str, text: str) -> None:
        path = self.folder / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def turned(self, text: str, file: str) -> str:
        """The text of a file with its links led to the pages of what they name; raises MiniganError for a dead one."""
        parts = FENCE.split(text)
        turn: Callable[[re.Match[str]], str] = lambda link: self._turned_link(link, file)  # noqa: E731
        parts[::2] = [LINK.sub(turn, part) for part in parts[::2]]
        return "".join(parts)

    def _turned_link(self, link: re.Match[str], file: str) -> str:
        target, hash_sign, anchor = link[2].partition("#")
        if "://" in target or not target:
            return link[0]
        path = (ROOT / file).parent.joinpath(target).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            raise MiniganError(f"{file} links to {target}, which is not there")
        up = "../" * self.page_of(file).count("/")
        name = str(path.relative_to(ROOT))
        if path.suffix in AS_FILES and name not in self.pages:
            return f"{link[1]}{up}{self.copy(path)}{link[3]}"
        return f"{link[1]}{up}{self.page_of(name)}.md{hash_sign}{anchor}{link[3]}"

    def copy(self, path: Path) -> str:
        """The name that a file has among the pages, once it is there."""
        name = str(path.relative_to(ROOT))
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.folder / name)
        return name

    def page_of(self, name: str) -> str:
        """The page of a file or folder of the repository; where it has none yet, one that shows it is made."""
        if name not in self.pages:
            page = self.pages[name] = f"source/{name.replace('.', '_')}"
            path = ROOT / name
            self.write(page, self._folder(path, page) if path.is_dir() else self._source(path, page))
        return self.pages[name]

    def _source(self, path: Path, page: str) -> str:
        name = str(path.relative_to(ROOT))
        shown = (self.folder / page).with_suffix(f".shown{path.suffix}.txt")
        shown.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, shown)
        language = LANGUAGES.get(path.suffix, "text")
        options = f":language: {language}\n:linenos:"
        return f"---\norphan: true\n---\n\n# {name}\n\n```{{literalinclude}} {shown.name}\n{options}\n```\n"

    def _folder(self, path: Path, page: str) -> str:
        name, up = str(path.relative_to(ROOT)), "../" * page.count("/")
        lines = ["---", "orphan: true", "---", "", f"# {name}/", ""]
        for file in sorted(path.iterdir()):
            if file.suffix in AS_FILES:
                lines.append(f"- [{file.name}]({up}{self.copy(file)})")
            elif (file.is_dir() and file.name != "__pycache__") or file.suffix in LANGUAGES:
                lines.append(f"- [{file.name}]({up}{self.page_of(str(file.relative_to(ROOT)))}.md)")
        return "\n".join([*lines, ""])


def write(stage: Stage, ten_minutes: str) -> None:
    """The READMEs, the lessons and what they link to; ten_minutes: the text of that page."""
    lessons = [path.stem for path in notebooks.LESSONS]
    contents = {
        "README.md": ["examples/in_ten_minutes", "examples/index", "reference/index", "benchmarks/index", "step"],
        "examples/README.md": lessons,
    }
    for name, page in READMES.items():
        text = stage.turned((ROOT / name).read_text(encoding="utf-8"), name)
        inside = contents.get(name, [])
        tree = ["", "```{toctree}", ":hidden:", ":maxdepth: 2", "", *inside, "```", ""] if inside else []
        stage.write(page, text + "\n".join(tree))
    for path in notebooks.LESSONS:
        stage.write(f"examples/{path.stem}", _lesson(stage, path))
    stage.write("examples/in_ten_minutes", ten_minutes)


def _lesson(stage: Stage, path: Path) -> str:
    """The notebook of a lesson as a page, with the figure that it makes."""
    cells = [as_page(cell).replace(notebooks.opening(path) + "\n\n", "") for cell in notebooks.notebook(path).cells]
    figure = stage.copy(ROOT / "examples" / "images" / f"{path.stem}.png").removeprefix("examples/")
    notebook = stage.copy(notebooks.HERE / f"{path.stem}.ipynb").removeprefix("examples/")
    file = stage.copy(path).removeprefix("examples/")
    head = f"[The notebook]({notebook}) · [the script]({file}) · [all lessons](index.md)"
    title, _, text = cells[0].partition("\n")
    return "\n\n".join([title, head, f"![what the lesson draws]({figure})", text.strip(), *cells[1:], ""])


def as_page(cell) -> str:
    """A cell of a notebook as Markdown."""
    if cell.cell_type == "markdown":
        return _to_pages(cell.source)
    return f"```python\n{cell.source}\n```"


def _to_pages(text: str) -> str:
    """Links from notebook to notebook as links from page to page."""
    return re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", text)
