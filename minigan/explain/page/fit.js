"use strict";

// Formulas and tables that are wider than what they stand in: the former are broken into lines, the latter into blocks.

const NARROW = 640; // pixels of a window in which tables become blocks; page.css has the same
const PAPER = 660; // pixels across what is printed: A4 and Letter both have room for it
const SMALLEST = 0.65; // of a formula's size
const MATHML = "http://www.w3.org/1998/Math/MathML";
const asWritten = new WeakMap(); // by formula: {text, width}, what it was before it was broken, and the room that it was broken for

const isNarrow = () => innerWidth <= NARROW;

function fitFormulas(within = document) {
  within.querySelectorAll(".formulas math").forEach(fitFormula);
}

/** Set a formula in lines, each as long as there is room; what has no place to break is made smaller. */
function fitFormula(math) {
  const style = getComputedStyle(math.parentElement);
  const width = Math.floor(math.parentElement.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  if (!(width > 0) || asWritten.get(math)?.width === width) return; // it is covered, or done
  if (asWritten.has(math)) [math.innerHTML, math.style.fontSize] = [asWritten.get(math).text, ""];
  asWritten.set(math, { text: math.innerHTML, width });
  const whole = math.firstElementChild;
  if (wide(math) > width && whole?.localName === "mrow") math.replaceChildren(inLines(whole, width));
  if (wide(math) > width) math.style.fontSize = `${Math.max(SMALLEST, (0.98 * width) / wide(math)) * 1.1}rem`;
}

const INDENT = 16; // pixels before what goes on from the line above
const ENDS = /^[=≥≤←+−-]$/; // a line may end before these
const wide = (node) => node.getBoundingClientRect().width;
const isOperator = (node, found) => node?.localName === "mo" && found.test(node.textContent.trim());
const opens = (node) => isOperator(node, /^[([⟨⌊]$/), closes = (node) => isOperator(node, /^[)\]⟩⌋]$/);

/** A row of a formula as a table of lines. */
function inLines(row, width) {
  const lines = [[]];
  let filled = 0;
  for (const { parts, taken } of runsOf([...row.children], width - INDENT)) {
    const room = width - (lines.length > 1 ? INDENT : 0);
    if (filled && filled + taken > room) { lines.push([]); filled = 0; }
    lines.at(-1).push(...parts);
    filled += taken;
  }
  const table = mathNode("mtable", ...lines.map((line) => mathNode("mtr", mathNode("mtd", mathNode("mrow", ...line)))));
  table.setAttribute("displaystyle", "true");
  table.setAttribute("class", "lines");
  return table;
}

/** A row's parts in runs {parts, taken}, between which a line may end: at operators and spaces, but not within parentheses; of a
 * run that is too long itself, within them, too. taken: pixels, without the space at the end. */
function runsOf(parts, width, free = 0) {
  const runs = [[]];
  let depth = opens(parts[0]) && closes(parts.at(-1)) ? -1 : 0;
  let [before, last] = [null, null]; // the part before, and the last that is no space
  for (const part of parts) {
    depth -= closes(part);
    const isSpace = part.localName === "mspace";
    const ends = (before?.localName === "mspace" || isOperator(part, ENDS)) && !isOperator(last, ENDS) && !opens(last);
    if (ends && depth <= free && !isSpace && runs.at(-1).length) runs.push([]);
    depth += opens(part);
    runs.at(-1).push(part);
    [before, last] = [part, isSpace ? last : part];
  }
  return runs.flatMap((run) => {
    const found = { parts: run, taken: takenBy(run) };
    if (found.taken <= width) return [found];
    const inner = run.findIndex((part) => part.localName === "mrow" && wide(part) > width / 2);
    if (inner < 0) return free < 2 && run.length > 1 ? runsOf(run, width, free + 1) : [found];
    const within = runsOf([...run[inner].children], width).map((one) => one.parts);
    within[0].unshift(...run.slice(0, inner));
    within.at(-1).push(...run.slice(inner + 1));
    return within.map((one) => ({ parts: one, taken: takenBy(one) }));
  });
}

function takenBy(run) {
  const seen = run.filter((part) => part.localName !== "mspace");
  return seen.length ? seen.at(-1).getBoundingClientRect().right - seen[0].getBoundingClientRect().left + 8 : 0;
}

function mathNode(tag, ...children) {
  const node = document.createElementNS(MATHML, tag);
  node.append(...children);
  return node;
}

/** Write the heading of its column beside each cell, for where a row becomes a block. */
function fitTables(selector) {
  for (const table of document.querySelectorAll(selector)) {
    const heads = [...table.querySelectorAll("th")].map((head) => head.textContent);
    if (heads.length < 3 || table.classList.contains("blocks")) continue;
    table.classList.add("blocks");
    table.querySelectorAll("td").forEach((cell) => {
      cell.setAttribute("data-head", heads[cell.cellIndex]);
      const words = document.createElement("span");
      words.append(...cell.childNodes);
      cell.append(words);
    });
  }
}
