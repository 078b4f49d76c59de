"use strict";

const page = JSON.parse(document.getElementById("stations").textContent);
const stations = page.stations;
const values = (() => {
  const text = atob(document.getElementById("arrays").textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
})();

const BRANCHES = ["real", "generated"];
const state = { at: 0, sample: 0, branch: "real", pick: null, nudge: 0, moved: null };
let drawn = []; // the heat maps on show

const byId = (id) => document.getElementById(id);
const number = (v, digits = 4) => (v === null ? "–" : Number(v.toPrecision(digits)).toString().replace("-", "−").replace("e−", "e-"));
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A new element: el("p", {class: "note"}, "text", child, …). */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "path", "circle", "rect", "text", "title", "tspan"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Text in which L_D and L_G are set with a subscript. */
function rich(text) {
  return text.split(/(?<=L)_([DG])/).map((part, k) => (k % 2 ? el("sub", {}, part) : part));
}

/** Whether a key is the browser's: Alt and an arrow, say, goes back. */
const withModifier = (event) => event.altKey || event.ctrlKey || event.metaKey;

// -- arrays ---------------------------------------------------------------------------------------------------------------

/** A figure's array for the branch on show: {shape, at}. */
function arrayOf(figure) {
  const id = figure.arrays[""] ?? figure.arrays[state.branch] ?? Object.values(figure.arrays)[0];
  return page.arrays[id];
}

function entry(array, where) {
  let flat = 0;
  where.forEach((k, axis) => (flat = flat * array.shape[axis] + k));
  return values[array.at + flat];
}

function figureOf(role) {
  return stations[state.at].figures?.find((figure) => figure.role === role);
}

// -- heat maps ------------------------------------------------------------------------------------------------------------

const GAP = 2; // pixels between two tiles
const inColour = (figure, shape) => figure.style === "image" && shape.length === 4 && shape[3] === 3;
/** The places that a cell shows: in the picture in colour, whose channel is -1, three. */
const placesOf = (where) => (where.at(-1) < 0 ? [0, 1, 2].map((c) => [...where.slice(0, -1), c]) : [where]);

/** How an array is laid out: rows and columns of cells in tiles, and from a cell to an index (null: empty) and back. */
function layout(figure, shape) {
  const inner = figure.sampled ? shape.slice(1) : shape;
  const lead = figure.sampled ? [state.sample] : [];
  const tiles = (down, across, height, width, index, cell) => ({
    rows: down * height, columns: across * width, height, width, cell,
    index: (r, c) => index(Math.floor(r / height), Math.floor(c / width), r % height, c % width),
  });
  if (inner.length === 3 && figure.sampled) { // a map for every channel, and before those of RGB the picture in colour
    const [height, width, channels] = inner;
    const first = inColour(figure, shape) ? 1 : 0;
    const count = channels + first;
    const across = count <= 4 ? count : Math.ceil(Math.sqrt(count * 1.6));
    return tiles(Math.ceil(count / across), across, height, width,
      (d, a, y, x) => (d * across + a < count ? [...lead, y, x, d * across + a - first] : null),
      (w) => [Math.floor((w.at(-1) + first) / across) * height + w.at(-3), ((w.at(-1) + first) % across) * width + w.at(-2)]);
  }
  if (inner.length === 4) { // a kernel for every pair of channels
    const [height, width, down, across] = inner;
    return tiles(down, across, height, width, (d, a, y, x) => [y, x, d, a], (w) => [w[2] * height + w[0], w[3] * width + w[1]]);
  }
  if (inner.length === 2 && Math.min(...inner) > 1)
    return tiles(1, 1, inner[0], inner[1], (d, a, y, x) => [...lead, y, x], (w) => [w.at(-2), w.at(-1)]);
  // A row of values, wrapped into a block where it is long.
  const count = inner.reduce((a, b) => a * b, 1);
  const columns = count <= 32 ? count : Math.ceil(Math.sqrt(count));
  const axis = inner.findIndex((n) => n === count);
  const unit = (k) => inner.map((n, a) => (a === (axis < 0 ? 0 : axis) ? k : 0));
  return tiles(1, 1, Math.ceil(count / columns), columns,
    (d, a, y, x) => (y * columns + x < count ? [...lead, ...unit(y * columns + x)] : null),
    (w) => { const k = Math.max(...w.slice(lead.length)); return [Math.floor(k / columns), k % columns]; });
}

function rgb(text) {
  const hex = text.replace("#", "");
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

/** The cell that a pixel lies in, of tiles of so many cells; in a gap, that before it. */
function cellAt(pixel, cells, size) {
  const tile = cells * size + GAP;
  return Math.floor(pixel / tile) * cells + Math.min(cells - 1, Math.floor((pixel % tile) / size));
}

class HeatMap {
  constructor(figure) {
    this.figure = figure;
    this.array = arrayOf(figure);
    this.grid = layout(figure, this.array.shape);
    this.cursor = null;
    this.marked = [];
    const { rows, columns, height, width } = this.grid;
    const room = Math.min(across() - 32, 560);
    this.size = Math.max(2, Math.min(18, Math.floor((room - (GAP * columns) / width) / columns), Math.floor(540 / rows)));
    this.canvas = el("canvas", {
      width: this.left(columns - 1) + this.size, height: this.top(rows - 1) + this.size, tabindex: 0, role: "img",
      "aria-label": `${figure.caption}. Arrow keys move over the values, Enter picks one.`,
    });
    this.readout = el("output", { "aria-live": "polite" });
    this.limit = this.scale();
    const scale = el("div", { class: "scale" }, figure.style === "image" ? "−1" : number(-this.limit, 3),
      el("i", { class: figure.style }), figure.style === "image" ? "1" : number(this.limit, 3));
    this.node = el("figure", { "data-role": figure.role }, el("figcaption", {}, ...rich(figure.caption)),
      el("div", { class: "scroll" }, this.canvas), scale, this.readout);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => { this.point(event); this.choose(); });
    this.canvas.addEventListener("pointerleave", () => this.show(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.paint();
  }

  left(c) {
    return c * this.size + Math.floor(c / this.grid.width) * GAP;
  }

  top(r) {
    return r * this.size + Math.floor(r / this.grid.height) * GAP;
  }

  scale() {
    if (this.figure.style === "image") return 1;
    let largest = 0;
    this.each((r, c, where) => (largest = Math.max(largest, Math.abs(entry(this.array, where)))));
    return largest || 1;
  }

  each(visit) {
    for (let r = 0; r < this.grid.rows; r++)
      for (let c = 0; c < this.grid.columns; c++) {
        const where = this.grid.index(r, c);
        if (where) visit(r, c, where);
      }
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const [paper, low, high] = ["--paper", "--negative", "--positive"].map((name) => rgb(color(name)));
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.each((r, c, where) => {
      const found = placesOf(where).map((place) => Math.max(-1, Math.min(1, entry(this.array, place) / this.limit)));
      const end = found[0] < 0 ? low : high;
      const strength = Math.abs(found[0]) ** 0.7; // small values are to be seen, too
      const shade = (p, k) => (this.figure.style === "image" ? 127.5 * (found[k % found.length] + 1) : p + strength * (end[k] - p));
      context.fillStyle = `rgb(${paper.map((p, k) => Math.round(shade(p, k)))})`;
      context.fillRect(this.left(c), this.top(r), this.size, this.size);
    });
    const { rows, columns, height, width } = this.grid;
    context.strokeStyle = color("--line");
    context.lineWidth = 1;
    for (let r = 0; r < rows; r += height)
      for (let c = 0; c < columns; c += width)
        if (this.grid.index(r, c)) context.strokeRect(this.left(c) + 0.5, this.top(r) + 0.5, width * this.size - 1, height * this.size - 1);
    context.strokeStyle = color("--mark");
    for (const where of [...(this.figure.marks ?? []), ...this.marked]) this.outline(context, where, 1.5);
    context.strokeStyle = color("--ink");
    if (this.cursor) this.outline(context, this.cursor, 2);
  }

  outline(context, where, width) {
    if (placesOf(where)[0].some((k, axis) => k < 0 || k >= this.array.shape[axis])) return;
    const [r, c] = this.grid.cell(where);
    context.lineWidth = width;
    context.strokeRect(this.left(c) + width / 2, this.top(r) + width / 2, this.size - width, this.size - width);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    const { rows, columns, height, width } = this.grid;
    const r = cellAt(y, height, this.size), c = cellAt(x, width, this.size);
    this.show(r >= 0 && c >= 0 && r < rows && c < columns ? this.grid.index(r, c) : null);
  }

  show(where) {
    this.cursor = where;
    if (where) {
      const place = where.filter((k) => k >= 0).map((k, axis) => `${this.figure.axes[axis]}=${k}`).join(", ");
      const found = placesOf(where).map((one) => number(entry(this.array, one), where.at(-1) < 0 ? 3 : 6));
      this.readout.textContent = `[${place}] = ${found.length > 1 ? `(${found.join(", ")})` : found[0]}`;
    } else this.readout.textContent = "";
    this.paint();
  }

  choose() {
    if (!this.cursor || this.cursor.at(-1) < 0) return; // in the picture in colour no channel is meant
    const mark = (this.figure.marks ?? []).findIndex((m) => m.join() === this.cursor.join());
    if (mark >= 0) chooseNudge(this.figure.role, this.cursor);
    const explorer = stations[state.at].explorer;
    if (explorer && [explorer.result, explorer.source].includes(this.figure.role)) pick(this.figure.role, this.cursor);
  }

  key(event) {
    if (withModifier(event)) return;
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter" || event.key === " ") this.choose();
    else if (event.key === "Escape") { this.canvas.blur(); this.show(null); }
    else if (!move) return;
    else {
      const [r, c] = this.cursor ? this.grid.cell(this.cursor) : [-move[0], -move[1]];
      const [down, right] = [r + move[0], c + move[1]];
      const inside = down >= 0 && right >= 0 && down < this.grid.rows && right < this.grid.columns;
      const where = inside ? this.grid.index(down, right) : null;
      if (where) this.show(where);
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

// -- convolutions: which values made which --------------------------------------------------------------------------------

/** The taps of a convolution that meet at one place: each with its place in the kernel and on the other side. */
function taps(geometry, onImage, row, column) {
  const { kernel, stride, padding, dilation, image, output } = geometry;
  const found = [];
  for (let i = 0; i < kernel[0]; i++)
    for (let j = 0; j < kernel[1]; j++) {
      const other = [[row, i], [column, j]].map(([at, tap], a) =>
        onImage ? (at + padding[a] - tap * dilation[a]) / stride[a] : at * stride[a] - padding[a] + tap * dilation[a]);
      const size = onImage ? output : image;
      const inside = other.every((k, a) => Number.isInteger(k) && k >= 0 && k < size[a]);
      found.push({ tap: [i, j], other, inside });
    }
  return found;
}

function pick(role, where) {
  state.pick = { role, where };
  explore();
}

function explore() {
  const box = byId("explorer");
  const explorer = stations[state.at].explorer;
  box.hidden = !explorer;
  for (const map of drawn) map.marked = [];
  if (!explorer) return;
  const { result, source } = explorer;
  const title = result === "y" ? "Which inputs and weights made an output?" : "Which outputs send gradient back to an input?";
  box.replaceChildren(el("h3", {}, title));
  if (!state.pick) {
    box.append(el("p", {}, `Pick a value of ${result} above (click, or Tab to the map, arrow keys and Enter) to see the sum that `
      + `made it; pick a value of ${source} to see where it goes.`));
    return;
  }
  const { role, where } = state.pick;
  const [n, row, column, channel] = where;
  const onImage = role === explorer.image;
  const found = taps(explorer.geometry, onImage, row, column);
  const picksSource = role === source;
  const other = figureOf(picksSource ? result : source);
  const here = figureOf(role), weight = figureOf("weight");
  const channels = arrayOf(other).shape[3];
  const [otherMap, hereMap, weightMap] = [other, here, weight].map((f) => drawn.find((m) => m.figure === f));
  hereMap.marked = [[n, row, column, channel]];
  const tapPlace = ([i, j], c) => (onImage ? [i, j, channel, c] : [i, j, c, channel]);
  for (const { tap, other: at, inside } of found) {
    if (!inside) continue;
    for (let c = 0; c < channels; c++) {
      otherMap.marked.push([n, ...at, c]);
      if (weightMap) weightMap.marked.push(tapPlace(tap, c));
    }
  }
  for (const map of drawn) map.paint();
  const name = (symbol, place) => `${symbol}[${place.join(", ")}]`;
  const inside = found.filter((f) => f.inside).length;
  if (picksSource) {
    box.append(el("p", {}, `${name(source, where)} goes into ${inside} places of ${result}, in each of its ${channels} channels, by `
      + `the marked weights.`));
    return;
  }
  if (![here, other, weight].every((f) => f && f.whole)) {
    box.append(el("p", {}, `${inside} places of ${source} reach ${name(result, where)}. The page holds only some channels of this `
      + `layer, so the sum cannot be shown.`));
    return;
  }
  const [x, w] = [arrayOf(other), arrayOf(weight)];
  const table = el("table", { class: "taps" });
  let sum = 0;
  for (let i = 0; i < explorer.geometry.kernel[0]; i++) {
    const line = el("tr");
    for (const { tap, other: at, inside } of found.filter((f) => f.tap[0] === i)) {
      let part = 0;
      if (inside) for (let c = 0; c < channels; c++) part += entry(x, [n, ...at, c]) * entry(w, tapPlace(tap, c));
      sum += part;
      line.append(inside ? el("td", {}, number(part), el("small", {}, `${source}[${n}, ${at.join(", ")}, :]`)) : el("td", {}, "·"));
    }
    table.append(line);
  }
  const bias = explorer.bias ? entry(arrayOf(figureOf("bias")), [channel]) : 0;
  const recorded = entry(arrayOf(here), where);
  const words = explorer.bias ? ` + bias ${number(bias)}` : "";
  box.append(
    el("p", {}, `${name(result, where)} is a sum of ${inside} × ${channels} products of ${source} and weight. By place in the kernel, `
      + `each with the values of ${source} that it met; a dot: ${onImage ? `no place of ${source} meets there` : "the border of zeros"}.`),
    el("div", { class: "wide" }, table),
    el("p", { "data-sum": sum + bias }, `Their sum ${number(sum, 6)}${words} = ${number(sum + bias, 6)}; `
      + `the step recorded ${number(recorded, 6)}.`));
}

// -- the loss -------------------------------------------------------------------------------------------------------------

const sigmoid = (s) => 1 / (1 + Math.exp(-s));

/** As many pixels as a panel has, at most so many. */
const room = (most) => Math.max(260, Math.min(most, across() - 64));

/** An SVG with axes: plot({x: [low, high], y: [low, high], names}, (sx, sy) => nodes). */
function plot({ x, y, xName, yName, width = room(460), height = 240 }, contents) {
  const [left, right, top, bottom] = [58, 24, 12, 40];
  const sx = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
  const sy = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom);
  const line = color("--line");
  const ticks = (low, high) => [0, 0.25, 0.5, 0.75, 1].map((t) => low + t * (high - low));
  return el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" },
    ...ticks(...x).flatMap((v) => [el("line", { x1: sx(v), x2: sx(v), y1: top, y2: height - bottom, stroke: line }),
      el("text", { x: sx(v), y: height - bottom + 15, "text-anchor": "middle" }, number(v, 2))]),
    ...ticks(...y).flatMap((v) => [el("line", { x1: left, x2: width - right, y1: sy(v), y2: sy(v), stroke: line }),
      el("text", { x: left - 5, y: sy(v) + 4, "text-anchor": "end" }, number(v, y[1] - y[0] < 0.1 * Math.abs(y[1]) ? 4 : 3))]),
    el("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, xName),
    el("text", { x: -(height - bottom) / 2, y: 12, "text-anchor": "middle", transform: "rotate(-90)" }, yName),
    ...contents(sx, sy));
}

function numbersOf(id) {
  const { shape, at } = page.arrays[id];
  return Array.from(values.subarray(at, at + shape.reduce((a, b) => a * b, 1)));
}

function path(points, sx, sy) {
  return points.map(([a, b], k) => `${k ? "L" : "M"}${sx(a).toFixed(1)},${sy(b).toFixed(1)}`).join("");
}

function drawLoss(station) {
  const box = byId("chart");
  box.hidden = !station.curves && !station.table;
  if (station.table) return drawUpdate(station, box);
  if (!station.curves) return undefined;
  const drawn = station.curves.every((curve) => "loss" in curve);
  box.replaceChildren(el("h3", {}, drawn ? "Every sample on the loss, and the gradient it sends back" : "The gradient that every sample sends back"));
  const row = el("div", { class: "figures" });
  const scoreName = station.is_logit ? "logit" : "score";
  for (const curve of station.curves) {
    const of = (name) => (name in curve ? numbersOf(curve[name]) : []); // a loss that the page does not know has no curve
    const [at, loss, slope, logits, gradients, paid] = ["at", "loss", "slope", "s", "ds", "paid"].map(of);
    const slopes = gradients.map((ds) => ds * logits.length);
    const ends = [0, ...loss, ...slope, ...slopes, ...paid];
    const y = [Math.floor(Math.min(...ends)), Math.ceil(Math.max(...ends))];
    const readout = el("output", { "aria-live": "polite" }, "hover or tap a sample, or walk with the arrow keys");
    const line = (heights, sx, sy, more) => el("path", { d: path(heights.map((v, k) => [at[k], v]), sx, sy), fill: "none",
      "stroke-width": 1.5, ...more });
    const svg = plot({ x: [at[0], at.at(-1)], y, xName: `${scoreName} s`, yName: "loss" in curve ? `loss${station.unit}, slope` : "N · ∂L/∂s" }, (sx, sy) => [
      line(loss, sx, sy, { stroke: color("--soft") }),
      line(slope, sx, sy, { stroke: color("--backward"), "stroke-dasharray": "5 4" }),
      ...logits.flatMap((s, n) => {
        const dot = (height, fill) => el("circle", { cx: sx(s), cy: sy(height), r: 4.5, fill, "fill-opacity": 0.7, "data-n": n,
          onpointerenter: () => tell(n) }, el("title", {}, `n=${n}`));
        return [dot(slopes[n], color("--backward")), ...paid.slice(n, n + 1).map((v) => dot(v, color("--loss")))];
      }),
    ]);
    let shown = -1;
    const tell = (n) => {
      shown = n;
      const pays = n in paid ? `loss ${number(paid[n])}, ` : "";
      const belief = station.is_logit ? `D = σ(s) = ${number(sigmoid(logits[n]))}, ` : "";
      readout.textContent = `n=${n}: s = ${number(logits[n])}, ${belief}${pays}`
        + `∂L/∂s = ${number(gradients[n])}`;
      svg.querySelectorAll("circle").forEach((dot) => dot.setAttribute("r", Number(dot.dataset.n) === n ? 7 : 4.5));
    };
    svg.addEventListener("click", (event) => tell(nearestDot(svg, event.clientX))); // a dot is small under a finger
    svg.setAttribute("tabindex", 0);
    svg.setAttribute("aria-label", `${curve.label}. Arrow keys go from sample to sample.`);
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move || withModifier(event)) return;
      tell(shown < 0 ? 0 : (shown + move + logits.length) % logits.length);
      event.preventDefault();
      event.stopPropagation();
    });
    row.append(el("figure", {}, el("figcaption", {}, curve.label), svg, readout));
  }
  const lines = drawn ? `Solid: what a sample with ${scoreName} s pays. Dashed: its slope. ` : "";
  const dots = page.batch === 1 ? "A dot is the one sample" : `The dots are the ${page.batch} samples`;
  const slopes = drawn ? "; the slope at a sample is N · ∂L/∂s" : "";
  box.append(row, el("p", { class: "note" }, `${lines}${dots} of ${station.curves.length > 1 ? "each" : "the"} pass${slopes}.`));
  return undefined;
}

function drawUpdate(station, box) {
  const { heads, rows } = station.table;
  const table = el("table", {}, el("tr", {}, ...heads.map((head) => el("th", {}, head))),
    ...rows.map((row) => el("tr", {}, ...row.map((v) => el("td", {}, typeof v === "string" ? v : number(v))))));
  box.replaceChildren(el("h3", {}, "How far each array moved"), el("div", { class: "wide" }, table));
  if (station.worked) {
    box.append(el("h3", { style: "margin-top:1rem" }, `The weight with the largest gradient: ${station.worked.title}`),
      el("div", { class: "wide" }, el("table", {}, ...station.worked.rows.map(([name, v]) =>
        el("tr", {}, el("td", {}, name), el("td", {}, number(v, 6)))))));
  }
}

// -- nudges ---------------------------------------------------------------------------------------------------------------

/** A parameter's name within its layer: "weight" of "3.weight". */
const parameterOf = (nudge) => nudge.name.slice(nudge.name.indexOf(".") + 1);

function chooseNudge(role, where) {
  const found = stations[state.at].nudges.findIndex((n) => `d${parameterOf(n)}` === role && n.where.join() === where.join());
  if (found >= 0) { state.nudge = found; state.moved = null; drawNudge(); }
}

function drawNudge() {
  const box = byId("nudge");
  const station = stations[state.at];
  const nudges = station.nudges ?? [];
  box.hidden = !nudges.length;
  if (!nudges.length) return;
  const chosen = nudges[state.nudge];
  const middle = (chosen.steps.length - 1) / 2;
  const still = chosen.losses[middle];
  const guess = (e) => still + e * chosen.gradient;
  const heights = [...chosen.losses, guess(chosen.steps[0]), guess(chosen.steps.at(-1))];
  let [low, high] = [Math.min(...heights), Math.max(...heights)];
  if (high - low < 1e-12) [low, high] = [low - 1e-6, high + 1e-6];
  const x = [chosen.value + chosen.steps[0], chosen.value + chosen.steps.at(-1)];
  const live = el("div"); // what follows the slider, which itself must stay while it is dragged
  const show = (at) => {
    const [epsilon, loss] = [chosen.steps[at], chosen.losses[at]];
    const ratio = epsilon ? `, ${number((loss - still) / (epsilon * chosen.gradient))} of the predicted` : "";
    const words = el("p", { "data-nudge": epsilon }, `ε = ${number(epsilon)}: predicted change ε · ∂L/∂w = `
      + `${number(epsilon * chosen.gradient)}, actual change L(w + ε) − L(w) = ${number(loss - still)}${ratio}`);
    const name = `${chosen.name}[${chosen.where.join(", ")}]`;
    live.replaceChildren(words, plot({ x, y: [low, high], xName: name, yName: `${station.loss_name}${page.unit}` }, (sx, sy) => [
      el("path", { d: path(chosen.steps.map((e) => [chosen.value + e, guess(e)]), sx, sy), fill: "none", stroke: color("--backward"),
        "stroke-width": 1.5, "stroke-dasharray": "5 4" }),
      el("path", { d: path(chosen.steps.map((e, k) => [chosen.value + e, chosen.losses[k]]), sx, sy), fill: "none",
        stroke: color("--soft"), "stroke-width": 1.5 }),
      el("circle", { cx: sx(chosen.value), cy: sy(still), r: 4, fill: color("--soft") }),
      el("circle", { cx: sx(chosen.value + epsilon), cy: sy(guess(epsilon)), r: 4, fill: "none", stroke: color("--backward"),
        "stroke-width": 2 }),
      el("circle", { cx: sx(chosen.value + epsilon), cy: sy(loss), r: 5, fill: color("--loss") }),
    ]));
  };
  const at = state.moved ?? middle + 2; // small, where the prediction holds
  const buttons = nudges.map((n, k) => el("button", { type: "button", "aria-pressed": String(k === state.nudge),
    onclick: () => { state.nudge = k; state.moved = null; drawNudge(); box.querySelectorAll("button")[k].focus(); } },
  `${parameterOf(n)}[${n.where.join(", ")}]`));
  const slider = el("input", { type: "range", min: 0, max: chosen.steps.length - 1, step: 1, value: at, "aria-label": "Nudge ε",
    oninput: (event) => { state.moved = Number(event.target.value); show(state.moved); } });
  show(at);
  box.replaceChildren(el("h3", {}, "Nudge a weight"),
    el("p", {}, ...rich(`What does ${station.loss_name} do when one weight moves by ε? The derivative (dashed) is right near the `
      + "weight's own value; further away the loss (solid, run again at every point) bends away from it. The other weights stay.")),
    el("div", { class: "controls" }, el("span", {}, "weight", ...buttons), el("span", {}, "ε", slider)), live);
}

// -- checks and sizes -----------------------------------------------------------------------------------------------------

function drawChecks(station) {
  const box = byId("checks");
  const rows = (station.checks ?? []).filter((c) => !c.branch || c.branch === state.branch);
  box.hidden = !rows.length;
  if (!rows.length) return;
  box.replaceChildren(el("h3", {}, "Beside finite differences"),
    el("p", {}, "The analytic value, which the step made, beside the numeric one: this one number is moved a little up and down, all that "
      + "depends on it is computed again up to the value that is differentiated, called L here, and (8 (L(h) − L(−h)) − (L(2h) − L(−2h))) / 12h is taken."),
    checksTable(rows));
}

/** Derivatives beside their differences. */
function checksTable(rows) {
  const verdict = (c) => {
    if (!["agrees", "differs"].includes(c.verdict)) return el("td", {}, c.verdict);
    const agrees = c.verdict === "agrees";
    return el("td", { class: agrees ? "good" : "bad" }, `${c.error.toExponential(1).replace("-", "−")} ${agrees ? "✓" : "✗"}`);
  };
  return el("div", { class: "wide" }, el("table", {},
    el("tr", {}, ...["derivative", "analytic", "numeric", "relative error"].map((h) => el("th", {}, h))),
    ...rows.map((c) => el("tr", {}, el("td", {}, ...rich(`${c.of} [${c.where.join(", ")}]`)), el("td", {}, number(c.analytic, 9)),
      el("td", {}, number(c.numeric, 9)), verdict(c)))));
}

/** The root mean square of ∂L/∂y from layer to layer: does the gradient vanish or explode on its way? */
function drawSizes(station) {
  const box = byId("sizes");
  const rows = page.sizes.filter((s) => s.act === station.act && (!s.branch || s.branch === state.branch));
  const before = station.act === "D" && station.net === "G"; // G's forward pass: nothing has gone back yet
  box.hidden = before || ["input", "update", "penalty", "curvature"].includes(station.kind) || !rows.length;
  if (box.hidden) return;
  const logs = rows.map((r) => Math.log10(Math.max(r.rms, 1e-12)));
  const [low, high] = [Math.floor(Math.min(...logs)) - 0.2, Math.ceil(Math.max(...logs))];
  const [line, top, width, left] = [19, 6, room(620), 150];
  const sx = (v) => left + ((v - low) / (high - low || 1)) * (width - left - 62);
  const nodes = rows.flatMap((r, k) => {
    const current = station.kind !== "loss" && r.net === station.net && r.index === station.index;
    const y = top + k * line;
    return [el("text", { x: left - 8, y: y + 12, "text-anchor": "end" }, r.label),
      el("rect", { x: left, y, width: Math.max(1, sx(logs[k]) - left), height: line - 5, fill: color(current ? "--mark" : "--backward"),
        opacity: current ? 1 : 0.55 }),
      el("text", { x: sx(logs[k]) + 5, y: y + 12 }, number(r.rms, 2))];
  });
  const height = top + rows.length * line;
  box.replaceChildren(el("h3", {}, "The gradient's size on its way back"),
    el("p", {}, "Root mean square of ∂L/∂y at the outputs that the backward pass reached, from the loss downwards; the scale is logarithmic."),
    el("div", { class: "wide" }, el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" }, ...nodes)));
}

// -- the way --------------------------------------------------------------------------------------------------------------

function buildPath() {
  for (const { name: act, aim } of page.acts) {
    const row = el("div", { class: "row" });
    stations.forEach((station, k) => {
      if (station.act !== act) return;
      const label = (station.kind === "curvature" ? "∂² " : station.kind === "backward" && station.net && !station.label.startsWith("∂") ? "← " : "") + station.label;
      row.append(el("button", { type: "button", class: station.kind, tabindex: -1, title: station.title, onclick: () => go(k) }, ...rich(label)));
    });
    byId("path").append(el("div", { class: "group" }, el("span", {}, aim), row));
  }
}

function go(to) {
  state.at = Math.max(0, Math.min(stations.length - 1, to));
  [state.pick, state.nudge, state.moved] = [null, 0, null];
  writeAddress();
  draw();
  scrollTo(0, 0);
}

function draw() {
  const station = stations[state.at];
  byId("slider").value = state.at;
  byId("slider").setAttribute("aria-valuetext", `${state.at + 1} of ${stations.length}: ${station.title}`);
  byId("where").textContent = `${state.at + 1} of ${stations.length}`;
  document.querySelectorAll("nav button").forEach((button, k) => {
    if (k === state.at) {
      button.setAttribute("aria-current", "step");
      const nav = byId("path");
      nav.scrollLeft = button.offsetLeft - nav.offsetLeft - nav.clientWidth / 2 + button.offsetWidth / 2;
    } else button.removeAttribute("aria-current");
  });
  const kinds = { input: "data", forward: "forwards", backward: "backwards", loss: "the loss", penalty: "the penalty",
    curvature: "the gradient of a gradient", update: "the update" };
  const facts = [...(station.facts ?? [])];
  if (station.parameters) facts.push({ name: "parameters", value: station.parameters.toLocaleString("en") });
  byId("station").replaceChildren(
    el("h2", {}, station.title),
    el("div", { class: "kind" }, `${page.acts.find((act) => act.name === station.act).step} · `, el("b", { class: station.kind }, kinds[station.kind])),
    ...station.text.map((line) => el("p", {}, ...rich(line))),
    ...(station.formulas?.length ? [el("div", { class: "formulas" })] : []),
    ...(station.symbols ? [el("p", { class: "note" }, station.symbols)] : []),
    el("dl", {}, ...facts.flatMap(({ name, value }) => [el("dt", {}, ...rich(name)),
      el("dd", {}, typeof value === "string" ? value : value[state.branch] ?? Object.values(value)[0])])));
  const formulas = byId("station").querySelector(".formulas");
  if (formulas) formulas.innerHTML = station.formulas.join("");
  drawControls(station);
  drawn = (station.figures ?? []).map((figure) => new HeatMap(figure));
  byId("figures").replaceChildren(...drawn.map((map) => map.node));
  explore();
  drawPlane(station);
  drawLoss(station);
  drawNudge();
  drawChecks(station);
  drawSizes(station);
  drawLesson(station);
}

function drawControls(station) {
  const choice = (name, options, key) => el("span", {}, name, ...options.map(([value, text]) => el("button", {
    type: "button", "aria-pressed": String(state[key] === value), "data-choice": `${key} ${value}`, onclick: () => {
      [state[key], state.pick] = [value, null];
      draw();
      document.querySelector(`[data-choice="${key} ${value}"]`).focus(); // the button was made anew
    } }, text)));
  const nodes = [];
  const figures = station.figures ?? [];
  const branched = figures.some((f) => Object.keys(f.arrays).length > 1) || (station.checks ?? []).some((c) => c.branch);
  if (branched) nodes.push(choice("pass of", [["real", page.real], ["generated", "generated samples"]], "branch"));
  if (figures.some((f) => f.sampled) && page.samples > 1)
    nodes.push(choice(`sample n (of ${page.batch})`, Array.from({ length: page.samples }, (_, k) => [k, String(k)]), "sample"));
  byId("controls").replaceChildren(...nodes);
}

function travel(event) {
  const target = event.target;
  if (withModifier(event) || target.matches("input, canvas")) return;
  const to = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, Home: 0, End: stations.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
}

byId("about").textContent = page.about;
byId("help").textContent = "Arrow keys and the slider move along the step; Tab reaches the maps, whose values the arrow keys walk. "
  + (page.samples === page.batch ? `The batch holds ${page.batch === 1 ? "one sample" : `${page.batch} samples`}. `
    : `Sizes and sums are of the whole batch of ${page.batch}; the maps show ${page.samples === 1 ? "its first sample" : `its first ${page.samples} samples`}. `)
  + "All numbers were computed in float64 by one step of the game, and are kept here in float32.";
byId("slider").max = stations.length - 1;
byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
byId("back").addEventListener("click", () => go(state.at - 1));
byId("on").addEventListener("click", () => go(state.at + 1));
document.addEventListener("keydown", travel);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("hashchange", followAddress);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
buildPath();
buildShare();
followAddress();
