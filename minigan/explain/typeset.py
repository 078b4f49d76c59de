"""Docstrings as HTML: what stands indented, the derivations, as MathML, and subscripts set as such everywhere.

The notation read is that of the docstrings: x_ni and e^{s_nk} for subscripts and superscripts, x̂ and ẋ for marked letters,
Σ_i for a sum, √(v + ε) for a root, two spaces or more for a gap.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

_ACCENTS = {"̂": "^", "̄": "¯", "̇": "˙", "̃": "~"}  # combining marks
_RAISED = {"²": "2", "³": "3", "ᵀ": "T", "ᵗ": "t", "′": "′"}
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_UPRIGHT = {"log", "exp", "tanh", "max", "mean", "std", "KL", "OH", "OW", "KH", "KW", "lr"}
_SHORT_WORDS = {"of", "in", "by", "as", "is", "at", "so", "it", "to", "up", "or"}
_LETTER = "[A-Za-zα-ωΑ-ΡΤ-Ωℓ∂][̂̄̇̃]?"
_TOKEN = re.compile(
    r"(?P<gap>  +(?![ =]))|(?P<code>`[^`]*`)|(?P<name>[A-Za-z]{2,}\d\w*(?:'s)?|[a-z]{3,}_[a-z]{3,})|(?P<sum>Σ)"
    rf"|(?P<number>\d[\d.,]*\d|\d|½)|(?P<word>(?:{_LETTER})+(?:'s)?)|(?P<space> +)|(?P<sub>_)|(?P<sup>\^)"
    r"|(?P<raised>[²³ᵀᵗ′])|(?P<lowered>[₀-₉])|(?P<root>√)|(?P<sign>\+=|->|>=|<=|.)",
    re.S,
)
_SUBSCRIPT = re.compile(rf"(?:{_LETTER}|\d|\{{[^}}]*\}}|\([^()]*[·+−][^()]*\)|,(?=[a-z])|(?<=[_+\-−])[−+]|(?<=\w)[−+](?=\w))+")
_VARIABLE = rf"(?<![A-Za-z_`.\d])((?:[d∂]?{_LETTER})|Σ)_({_SUBSCRIPT.pattern})"
_PARAGRAPH = re.compile("(Raises|Source|Backward|Gradient|Tangent|Curvature|Options|At inference|weight|batch|noise)\\b")
_CLOSING = {"(": ")", "{": "}"}


def formula(line: str) -> str:
    """One line of the docstrings' notation as MathML."""
    return f'<math display="block">{_row(_nodes(unicodedata.normalize("NFD", line.strip())))}</math>'


def inline(text: str) -> str:
    """A sentence as HTML, its subscripts and superscripts set as such; names in `…` as code."""
    text = html.escape(unicodedata.normalize("NFD", text), quote=False)
    text = re.sub(_VARIABLE, lambda match: f"{match[1]}<sub>{match[2].strip('{}')}</sub>", text)
    text = re.sub(r"\^(?:\{([^}]*)\}|([−-]?\w))", lambda match: f"<sup>{match[1] or match[2]}</sup>", text)
    text = re.sub("`([^`]*)`", r"<code>\1</code>", text)
    return unicodedata.normalize("NFC", text)


def docstring(text: str) -> list[str]:
    """Its blocks as HTML: paragraphs, and derivations, one formula a line."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        kind = "formula" if line.startswith("    ") else "prose" if line.strip() else "end"
        last = blocks[-1] if blocks else ("end", [])
        opens = kind == "prose" and (_PARAGRAPH.match(line) or (last[1] and len(last[1][-1]) < 70))
        if kind != last[0] or opens:
            blocks.append((kind, []))
        if kind != "end":
            blocks[-1][1].append(line)
    made = []
    for kind, lines in blocks:
        if kind == "formula":
            made.append(f'<div class="formulas">{"".join(map(formula, lines))}</div>')
        elif kind == "prose":
            made.append(f"<p>{inline(' '.join(line.strip() for line in lines))}</p>")
    return made


# -- MathML ----------------------------------------------------------------------------------------------------------------


def _row(nodes: list[str]) -> str:
    return nodes[0] if len(nodes) == 1 else f"<mrow>{''.join(nodes)}</mrow>"


def _nodes(text: str) -> list[str]:
    nodes: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        kind, token, at = str(match.lastgroup), match[0], match.end()
        if kind in ("sub", "sup"):
            inner, at = _script(text, at, kind)
            _attach(nodes, inner, kind)
        elif kind in ("raised", "lowered"):
            inner = f"<mn>{(_RAISED | _LOWERED)[token]}</mn>" if token != "ᵀ" else "<mi>T</mi>"
            _attach(nodes, inner, "sup" if kind == "raised" else "sub")
        elif kind == "root":
            inner, at = _group(text, at)
            nodes.append(f"<msqrt>{inner}</msqrt>")
        else:
            nodes += _leaf(kind, token)
    return nodes


def _leaf(kind: str, token: str) -> Iterator[str]:
    """The nodes of a token that stands by itself."""
    if kind == "gap":
        yield '<mspace width="2em"/>'
    elif kind == "space":
        yield '<mspace width=".25em"/>'
    elif kind == "number":
        yield f"<mn>{token}</mn>"
    elif kind == "sum":
        yield '<mo movablelimits="false">∑</mo>'
    elif kind in ("code", "name"):
        yield f"<mtext>{html.escape(token.strip('`'))}</mtext>"
    elif kind == "word":
        yield from _word(token)
    else:
        yield f'<mo stretchy="false">{html.escape(token)}</mo>'


def _word(token: str) -> Iterator[str]:
    """A word in upright letters, or the product of variables that its letters are: dx, but not "directly"."""
    letters = re.findall(_LETTER, token)
    if token.startswith("∂") and token[1:] in _UPRIGHT:
        yield "<mi>∂</mi>"
        yield from _word(token[1:])
    elif token in _UPRIGHT:
        yield f'<mi mathvariant="normal">{token}</mi>'
    elif token in _SHORT_WORDS or (len(letters) > 2 and all(letter.isascii() for letter in letters)):
        yield f"<mtext>{html.escape(token)}</mtext>"
    else:
        yield from map(_letter, letters)


def _letter(letter: str) -> str:
    name = f"<mi>{letter[0]}</mi>"
    return f'<mover accent="true">{name}<mo stretchy="false">{_ACCENTS[letter[1]]}</mo></mover>' if len(letter) > 1 else name


def _attach(nodes: list[str], inner: str, kind: str) -> None:
    """Set a script on the node before it; a sum has its own below."""
    base = nodes.pop() if nodes else "<mrow></mrow>"
    if kind == "sub" and "∑" in base:
        nodes.append(f"<munder>{base}{inner}</munder>")
    else:
        nodes.append(f"<m{kind}>{base}{inner}</m{kind}>")


def _script(text: str, at: int, kind: str) -> tuple[str, int]:
    """What stands below or above, and where it ends."""
    match = _SUBSCRIPT.match(text, at) if kind == "sub" else None
    if match is None:
        return _group(text, at)
    inner = re.sub(r"[{}]", "", match[0])
    if inner[:4] in ("real", "fake"):
        return _row([f"<mtext>{inner[:4]}</mtext>", *_nodes(inner[4:])]), match.end()
    # Indices: each letter is one, however many stand together.
    return _row([node for part in re.findall(rf"{_LETTER}(?:_{_LETTER})?|.", inner) for node in _nodes(part)]), match.end()


def _group(text: str, at: int) -> tuple[str, int]:
    """What a root or an exponent covers: a group in braces or parentheses, or the next token with its sign."""
    if text[at : at + 1] in _CLOSING:
        depth, end = 0, at
        for end in range(at, len(text)):
            depth += {text[at]: 1, _CLOSING[text[at]]: -1}.get(text[end], 0)
            if not depth:
                break
        return _row(_nodes(text[at + 1 : end])), end + 1
    match = re.compile(rf"[−-]?(?:{_LETTER}|\d+)").match(text, at)
    if match is None:
        return "<mrow></mrow>", at
    return _row(_nodes(match[0])), match.end()
