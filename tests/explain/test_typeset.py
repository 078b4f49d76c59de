"""Docstrings as HTML: their derivations are well-formed MathML, and nothing of them is lost."""

import re
import unicodedata
import xml.etree.ElementTree as ET

import pytest

from minigan.explain.typeset import docstring, formula, inline
from minigan.explain.worked import EXAMPLES, derivation


def shape(line):
    """Its MathML without gaps and attributes."""
    return re.sub(' [a-z]+="[^"]*"', "", re.sub(r"<mspace [^>]*>", "", formula(line)))


def letters(text):
    """Letters and digits, with their marks and heights taken off, in order of the alphabet."""
    return sorted(re.findall(r"[A-Za-z0-9Α-ω]", unicodedata.normalize("NFKD", text)))


def test_scripts_roots_sums_and_accents():
    assert shape("x_ni") == "<math><msub><mi>x</mi><mrow><mi>n</mi><mi>i</mi></mrow></msub></math>"
    assert shape("e^{s_nk}").startswith("<math><msup><mi>e</mi><msub>")
    assert shape("(v + ε)²").endswith("<msup><mo>)</mo><mn>2</mn></msup></mrow></math>")
    assert "<msqrt><mrow><mi>v</mi><mo>+</mo><mi>ε</mi></mrow></msqrt>" in shape("√(v + ε)")
    assert "<munder><mo>∑</mo><mi>n</mi></munder>" in shape("Σ_n x_n")
    assert "<mover><mi>x</mi><mo>^</mo></mover>" in shape("x̂_m")
    assert "<mtext>directly</mtext>" in shape("directly: x")


def test_sentences():
    assert inline("∂L/∂x_n = y_{l−1}, e^{−s}, in conv2d_weight_grad and all_mean") == (
        "∂L/∂x<sub>n</sub> = y<sub>l−1</sub>, e<sup>−s</sup>, in conv2d_weight_grad and all_mean"
    )
    assert inline("a < b and `c_d`") == "a &lt; b and <code>c_d</code>"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_derivation_is_set_whole(name):
    """All formulas are well-formed, and hold each letter and digit of their line."""
    text = derivation(EXAMPLES[name][0])
    blocks = docstring(text)
    for block in blocks:
        ET.fromstring(f"<div>{block}</div>")
    for line in text.split("\n"):
        if line.startswith("    "):
            assert letters("".join(ET.fromstring(formula(line)).itertext()).replace("∑", "Σ")) == letters(line)
    assert sum("<math" in block for block in blocks) == len(re.findall(r"(?m)(?:^    .*\n?)+", text))
