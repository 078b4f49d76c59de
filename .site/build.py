"""Builds the site of minigan: python .site/build.py OUT

Its pages are the READMEs, the lessons, the reference with every derivation, and a training step opened up: all made of what
stands in the repository. Warnings are errors, and every link within the site is followed. Needs pip install ".[docs]".
"""

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import built_links
import copied_pages
import reference_pages
from copied_pages import notebooks

from minigan.errors import MiniganError

HERE = Path(__file__).parent
MARK = ".minigan-site"  # in a folder that this has built, and may replace
QUICK = ("STEPS = 400", "STEPS = 16")
OPENED = {"gan": "a GAN", "vae": "a VAE"}


def run_ten_minutes(stage: Path, quick: bool) -> str:
    """The notebook, run from top to bottom, as a page with what it prints and draws."""
    from nbclient import NotebookClient

    notebook = notebooks.notebook(notebooks.TEN_MINUTES)
    for cell in notebook.cells:
        cell.source = cell.source.replace(*QUICK) if quick else cell.source
    place, quiet = {"metadata": {"path": str(notebooks.HERE)}}, ["--log-level=ERROR"]
    NotebookClient(notebook, timeout=3600, resources=place, extra_arguments=quiet).execute()
    folder, parts = stage / "examples" / "in_ten_minutes", []
    folder.mkdir(parents=True)
    for cell in notebook.cells:
        parts.append(copied_pages.as_page(cell))
        for output in cell.get("outputs", []):
            if "text" in output:
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif "image/png" in output.get("data", {}):
                picture = folder / f"{len(parts)}.png"
                picture.write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"![what the cell draws](in_ten_minutes/{picture.name})")
    return "\n\n".join([*parts, ""])


def open_steps(stage: Path, extra: Path, quick: bool) -> None:
    """minigan explain's page of a step of each game, and a page that leads to them."""
    lines = ["# A training step, opened", "", "What `minigan explain` writes, of a small game:", ""]
    extra.mkdir()
    for game, words in OPENED.items():
        after = ["--after", "2"] if quick else []
        command = [sys.executable, "-m", "minigan", "explain", "--quiet", "--game", game, *after]
        subprocess.run([*command, "--out", str(extra / f"step_of_{game}.html")], check=True, stdout=subprocess.DEVNULL)
        lines.append(f'- <a href="step_of_{game}.html">a step of {words}</a>')
    (stage / "step.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def build(out: Path, quick: bool = False, external: bool = False) -> built_links.Found:
    """Build the site in a folder that is empty, missing or an earlier site; raises MiniganError where it cannot."""
    if out.exists() and not out.is_dir():
        raise MiniganError(f"OUT is {out}, which is a file: name a folder")
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise MiniganError(f"OUT is {out}, which holds something else than a site of minigan: choose another folder")
    with tempfile.TemporaryDirectory() as place:
        stage, extra, made = (Path(place) / name for name in ("pages", "extra", "site"))
        stage.mkdir()
        pages = copied_pages.Stage(stage)
        copied_pages.write(pages, run_ten_minutes(stage, quick))
        reference_pages.write(stage / "reference")
        open_steps(stage, extra, quick)
        sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(HERE), "-j", str(os.cpu_count())]
        if subprocess.run([*sphinx, "-D", f"html_extra_path={extra}", "-b", "html", str(stage), str(made)]).returncode:
            raise MiniganError("Sphinx has complained, see above: the site is not built")
        found = built_links.check(made)
        if found.dead:
            raise MiniganError(f"{len(found.dead)} dead links, the first of them on {found.dead[0]}")
        if external and subprocess.run([*sphinx, "-b", "linkcheck", str(stage), str(Path(place) / "links")]).returncode:
            raise MiniganError("links that lead out of the site are dead, see above")
        shutil.rmtree(made / ".doctrees", ignore_errors=True)
        (made / MARK).touch()
        if out.exists():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, out)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to make, or to make anew")
    parser.add_argument("--external", action="store_true", help="also follow the links that lead out of the site")
    parser.add_argument("--quick", action="store_true", help="train for a few steps only where a page trains: for tests")
    options, since = parser.parse_args(), time.perf_counter()
    try:
        found = build(options.out, options.quick, options.external)
    except MiniganError as error:
        print(f"build.py: error: {error}", file=sys.stderr)
        return 2
    count = sum(1 for _ in options.out.rglob("*.html"))
    seconds = time.perf_counter() - since
    print(f"{options.out}: {count} pages, {found.inside:,} links within them followed, in {seconds:.0f} s; open index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
