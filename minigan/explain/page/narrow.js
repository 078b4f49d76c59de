"use strict";

// On a narrow screen nothing scrolls sideways: formulas are broken into lines, tables into blocks, and a list of stations takes
// the place of their row.

function buildChoice() {
  const choose = byId("choose");
  for (const { name: act, aim } of page.acts) {
    choose.append(el("optgroup", { label: aim }, ...stations.map((station, k) => [station, k]).filter(([station]) => station.act === act)
      .map(([station, k]) => el("option", { value: k }, `${k + 1}. ${station.title.replaceAll("_", "")}`))));
  }
  choose.addEventListener("change", () => go(Number(choose.value)));
}

function fitToWidth() {
  const choose = byId("choose");
  if (!choose.options.length) buildChoice();
  choose.value = String(state.at);
  if (!isNarrow()) return;
  document.querySelectorAll(".formulas math").forEach(breakFormula);
  document.querySelectorAll("main table:not(.taps)").forEach(labelCells);
}

/** Set a formula that is too wide in lines, each as long as there is room; what has no place to break is made smaller. */
function breakFormula(math) {
  const width = math.parentElement.clientWidth - 26;
  if (width < 0 || math.dataset.fitted) return undefined; // it is covered, or done
  math.dataset.fitted = "true";
  const whole = math.firstElementChild;
  if (math.getBoundingClientRect().width <= width || whole?.localName !== "mrow") return shrink(math, width);
  const pieces = [[]];
  let depth = 0; // of parentheses, in which no line ends
  for (const part of [...whole.children]) {
    if (part.localName === "mo") depth += { "(": 1, "[": 1, ")": -1, "]": -1 }[part.textContent.trim()] ?? 0;
    const breaks = !depth && (part.localName === "mspace" || (part.localName === "mo" && /^[=≥≤+−-]$/.test(part.textContent.trim())));
    if (breaks && pieces.at(-1).length) pieces.push([]);
    if (part.localName !== "mspace") pieces.at(-1).push(part);
  }
  const space = (tag, ...children) => { const node = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag); node.append(...children); return node; };
  const widths = pieces.map((piece) => piece.reduce((sum, part) => sum + part.getBoundingClientRect().width, 0) + 8);
  const lines = [[]];
  let filled = 0;
  pieces.forEach((piece, k) => {
    if (filled && filled + widths[k] > width) { lines.push([]); filled = 0; }
    lines.at(-1).push(...piece);
    filled += widths[k];
  });
  math.replaceChildren(space("mtable", ...lines.map((line) => space("mtr", space("mtd", space("mrow", ...line))))));
  math.querySelectorAll("mtd").forEach((cell) => { cell.style.textAlign = "left"; });
  return shrink(math, width);
}

function shrink(math, width) {
  const needed = math.getBoundingClientRect().width;
  if (needed > width) math.style.fontSize = `${Math.max(0.5, (0.98 * width) / needed) * 1.1}rem`;
}

/** Write the heading of its column beside each cell, for where a row becomes a block. */
function labelCells(table) {
  const heads = [...table.querySelectorAll("th")].map((head) => head.textContent);
  if (heads.length < 3 || table.classList.contains("blocks")) return;
  table.classList.add("blocks");
  table.querySelectorAll("td").forEach((cell) => {
    cell.setAttribute("data-head", heads[cell.cellIndex]);
    cell.replaceChildren(el("span", {}, ...cell.childNodes));
  });
}
