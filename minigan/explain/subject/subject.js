"use strict";

// What a picked number answers: which others it was made of, by the chain rule, and what L does when it moves.

const { arrays, jacobian, names, gradients, moves, losses } = JSON.parse(document.getElementById("numbers").textContent);
const answer = document.getElementById("answer");
const cells = [...document.querySelectorAll("td[data-array]")];
const state = { array: null, at: 0, move: null };

const number = (v, digits = 5) => (v === null ? "–" : Math.abs(v) < 1e-12 ? "0" : String(Number(v.toPrecision(digits)))).replace(/^-/, "−");
const inBrackets = (v) => (v < 0 ? `(${number(v)})` : number(v));

/** An entry's name: dx with the subscript 1,1. */
function entry(array, at) {
  const { shape } = arrays[array];
  const place = [];
  let rest = at;
  for (const size of [...shape].reverse()) { place.unshift(rest % size); rest = Math.floor(rest / size); }
  return `${names[array]}${place.length ? `<sub>${place.join(",")}</sub>` : ""}`;
}

/** The array that this one is the gradient in, and back: "x" of "dx", "dx" of "x". */
const inputOf = (array) => (array in gradients ? gradients[array] : null);
const gradientOf = (array) => Object.keys(gradients).find((gradient) => gradients[gradient] === array) ?? null;
const canAnswer = (array) => array in arrays && (array in jacobian || inputOf(array) || gradientOf(array) || (array === "y" && Object.keys(jacobian).length > 0));

/** [[array, at], …] of all entries that y's entry k was made of, each with its slope. */
const madeOf = (k) => Object.entries(jacobian).flatMap(([array, rows]) =>
  rows[k].map((slope, at) => ({ array, at, slope })).filter(({ slope }) => slope));

/** The entries of y that an entry reaches, each with its slope. */
const reachedBy = (array, at) => jacobian[array].map((row, k) => ({ array: "y", at: k, slope: row[at] })).filter(({ slope }) => slope);

function table(heads, rows) {
  const line = (tag, parts) => `<tr>${parts.map((part) => `<${tag}>${part}</${tag}>`).join("")}</tr>`;
  return `<div class="wide"><table>${line("th", heads)}${rows.map((row) => line("td", row)).join("")}</table></div>`;
}

function mark(kind, entries) {
  for (const { array, at } of entries)
    for (const cell of cells) if (cell.dataset.array === array && Number(cell.dataset.at) === at) cell.classList.add(kind);
}

/** What is said of an entry of y. */
function explainOutput(k) {
  const found = madeOf(k);
  mark("made", found);
  return `<h3>${entry("y", k)} = ${number(arrays.y.values[k])}</h3>`
    + `<p>moves with ${found.length} numbers, the green ones: when one of them moves by a little, ${entry("y", k)} moves by that times the slope.</p>`
    + table(["number", "value", `∂${entry("y", k)} / ∂ of it`],
      found.map(({ array, at, slope }) => [entry(array, at), number(arrays[array].values[at]), number(slope)]));
}

/** What is said of an entry of dx or of a parameter's gradient: the chain rule over all outputs that it reaches. */
function explainGradient(gradient, at) {
  const input = inputOf(gradient);
  const value = arrays[gradient].values[at];
  const head = `<h3>${entry(gradient, at)} = ${number(value)}</h3>`;
  if (!(input in jacobian)) return head;
  const found = reachedBy(input, at);
  mark("reached", found.flatMap(({ at: k }) => [{ array: "y", at: k }, { array: "dy", at: k }]));
  const parts = found.map(({ at: k, slope }) => slope * arrays.dy.values[k]);
  const sum = parts.reduce((a, b) => a + b, 0);
  const products = found.map(({ at: k, slope }) => `${inBrackets(arrays.dy.values[k])} · ${inBrackets(slope)}`).join(" + ") || "0";
  return `${head}<p>${entry(input, at)} reaches ${found.length} of the ${arrays.y.values.length} outputs. Each sends back its dy, times the slope:</p>`
    + table([`output`, `dy`, `∂y / ∂${entry(input, at)}`, "product"],
      found.map(({ at: k, slope }, n) => [entry("y", k), number(arrays.dy.values[k]), number(slope), number(parts[n])]))
    + `<p data-sum="${sum}">${entry(gradient, at)} = ${products} = ${number(sum)}; minigan's backward pass made ${number(value)}.</p>`;
}

/** L as this entry moves: a drawing, and the prediction beside it. */
function nudge(gradient, at) {
  const curve = losses[gradient][at];
  if (!curve || curve.includes(null)) return "";
  const middle = (moves.length - 1) / 2;
  const slope = arrays[gradient].values[at];
  const still = curve[middle];
  const move = state.move ?? middle + 2;
  const guess = (e) => still + e * slope;
  const heights = [...curve, guess(moves[0]), guess(moves.at(-1))];
  let [low, high] = [Math.min(...heights), Math.max(...heights)];
  if (high - low < 1e-9) [low, high] = [low - 1e-3, high + 1e-3];
  const [width, height, left, top, bottom] = [340, 190, 56, 10, 34];
  const value = arrays[inputOf(gradient)].values[at];
  const sx = (e) => left + ((e - moves[0]) / (moves.at(-1) - moves[0])) * (width - left - 12);
  const sy = (v) => height - bottom - ((v - low) / (high - low)) * (height - top - bottom);
  const path = (values) => values.map((v, k) => `${k ? "L" : "M"}${sx(moves[k]).toFixed(1)},${sy(v).toFixed(1)}`).join("");
  const label = (x, y, text, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
  const [predicted, actual] = [moves[move] * slope, curve[move] - still];
  return `<h3>Nudge ${entry(inputOf(gradient), at)}</h3>
    <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="L as the number moves; dashed: as its gradient predicts">
      <path d="${path(moves.map(guess))}" fill="none" stroke="var(--backward)" stroke-width="1.5" stroke-dasharray="5 4"/>
      <path d="${path(curve)}" fill="none" stroke="var(--soft)" stroke-width="1.5"/>
      <circle cx="${sx(0)}" cy="${sy(still)}" r="4" fill="var(--soft)"/>
      <circle cx="${sx(moves[move])}" cy="${sy(guess(moves[move]))}" r="4" fill="none" stroke="var(--backward)" stroke-width="2"/>
      <circle cx="${sx(moves[move])}" cy="${sy(curve[move])}" r="5" fill="var(--loss)"/>
      ${label(left - 5, sy(low), number(low, 4), "end")}${label(left - 5, sy(high) + 8, number(high, 4), "end")}
      ${label(sx(moves[0]), height - 16, number(value + moves[0], 3), "start")}${label(sx(moves.at(-1)), height - 16, number(value + moves.at(-1), 3), "end")}
      ${label(width / 2, height - 3, "the number; upwards: L", "middle")}
    </svg>
    <input id="move" type="range" min="0" max="${moves.length - 1}" value="${move}" aria-label="Move the number by ε" style="width:100%">
    <p data-actual="${actual}">ε = ${number(moves[move])}: predicted change ε · ${entry(gradient, at)} = ${number(predicted)}, actual ${number(actual)}.</p>`;
}

function draw() {
  const { array, at } = state;
  for (const cell of cells) cell.classList.remove("picked", "made", "reached");
  mark("picked", [{ array, at }]);
  const gradient = array in gradients ? array : gradientOf(array);
  let words = "";
  if (array === "y") words = explainOutput(at);
  else if (gradient) words = explainGradient(gradient, at);
  if (gradient && array !== gradient) mark("reached", [{ array: gradient, at }]);
  answer.innerHTML = words + (gradient && array !== "y" ? nudge(gradient, at) : "");
  const slider = document.getElementById("move");
  slider?.addEventListener("input", () => {
    state.move = Number(slider.value);
    draw();
    document.getElementById("move").focus();
  });
}

function pick(array, at) {
  Object.assign(state, { array, at, move: null });
  for (const cell of cells) cell.setAttribute("aria-pressed", String(cell.dataset.array === array && Number(cell.dataset.at) === at));
  draw();
}

function begin() {
  const pickable = cells.filter((cell) => canAnswer(cell.dataset.array));
  if (!pickable.length) return;
  for (const cell of pickable) {
    const choose = () => pick(cell.dataset.array, Number(cell.dataset.at));
    cell.classList.add("pickable");
    cell.setAttribute("tabindex", "0");
    cell.setAttribute("role", "button");
    cell.addEventListener("click", choose);
    cell.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
    });
  }
  document.getElementById("worked").classList.add("answers");
  document.getElementById("invitation").hidden = false;
  answer.hidden = false;
  const first = pickable.find((cell) => cell.dataset.array === "y") ?? pickable.find((cell) => cell.dataset.array in gradients) ?? pickable[0];
  pick(first.dataset.array, Number(first.dataset.at));
}

function fitToWidth() {
  fitFormulas();
  if (isNarrow()) fitTables("main table:not(.array)");
}

/** On paper the page is as wide as that, and formulas are broken anew. */
function forPaper(is) {
  document.querySelector("main").style.width = is ? `${PAPER}px` : "";
  fitToWidth();
}

begin();
fitToWidth();
addEventListener("resize", fitToWidth);
document.getElementById("derivation").addEventListener("toggle", fitToWidth);
addEventListener("beforeprint", () => forPaper(true));
addEventListener("afterprint", () => forPaper(false));
