"use strict";

// Points in their plane: where samples or codes lie, what D thinks of every place, and where points are sent. Where the page
// knows D's layers it runs D itself, so that points can be dragged and the time moved.

/** What the page knows of layers: y = f(x), and f′(x) written in y, as minigan.layers has them. */
const ELEMENTWISE = {
  ReLU: [(x) => Math.max(x, 0), (y) => (y > 0 ? 1 : 0)],
  LeakyReLU: [(x, slope) => Math.max(x, slope * x), (y, slope) => (y > 0 ? 1 : slope)],
  Sigmoid: [(x) => sigmoid(x), (y) => y * (1 - y)],
  Softplus: [(x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), (y) => -Math.expm1(-y)],
  Tanh: [Math.tanh, (y) => 1 - y * y],
};
/** N ∂L_G/∂s of a sample with this score, by the objective's name. */
const SLOPES = {
  NonSaturating: (s) => -sigmoid(-s), Saturating: (s) => -sigmoid(s), LeastSquares: (s) => s - 1, Hinge: () => -1, Wasserstein: () => -1,
};

/** D with the parameters of these arrays, a list for each layer. */
class Judge {
  constructor(params) {
    this.layers = page.live.layers.map((layer, k) => ({ ...layer, weight: params[k][0], bias: params[k][1] }))
      .map((layer) => (layer.kind === "Dense" ? { ...layer, units: page.arrays[layer.weight].shape[1], weight: numbersOf(layer.weight),
        bias: layer.bias === undefined ? null : numbersOf(layer.bias) } : layer));
  }

  /** The outputs of all layers for one point. */
  forward(point) {
    const outputs = [];
    let x = point;
    for (const layer of this.layers) {
      if (layer.kind === "Dense") {
        const y = layer.bias ? layer.bias.slice() : new Array(layer.units).fill(0);
        x.forEach((v, i) => { for (let k = 0; k < layer.units; k++) y[k] += v * layer.weight[i * layer.units + k]; });
        x = y;
      } else if (layer.kind !== "Flatten") x = x.map((v) => ELEMENTWISE[layer.kind][0](v, layer.slope));
      outputs.push(x);
    }
    return outputs;
  }

  score(point) {
    return this.forward(point).at(-1)[0];
  }

  /** −∂L_G/∂x at a point, one of so many. */
  wish(point, count) {
    const outputs = this.forward(point);
    let dy = [SLOPES[page.live.objective](outputs.at(-1)[0]) / count];
    for (let k = this.layers.length - 1; k >= 0; k--) {
      const layer = this.layers[k];
      if (layer.kind === "Dense") {
        const size = layer.weight.length / layer.units;
        dy = Array.from({ length: size }, (_, i) => dy.reduce((sum, v, j) => sum + v * layer.weight[i * layer.units + j], 0));
      } else if (layer.kind !== "Flatten") dy = dy.map((v, i) => v * ELEMENTWISE[layer.kind][1](outputs[k][i], layer.slope));
    }
    return dy.map((v) => -v);
  }
}

function pairsOf(id) {
  const flat = numbersOf(id);
  return flat.filter((_, k) => k % 2 === 0).map((x, k) => [x, flat[2 * k + 1]]);
}

/** What a plane shows: its points, heights of the landscape, arrows; of a live one at the moment on show, as the reader moved it. */
function planeNow(plane) {
  const points = Object.fromEntries(Object.entries(plane.points).map(([kind, id]) => [kind, pairsOf(id)]));
  if (!plane.live) {
    return { points, heights: plane.landscape === undefined ? null : numbersOf(plane.landscape),
      arrows: plane.arrows === undefined ? null : pairsOf(plane.arrows) };
  }
  const past = lesson.time === null ? undefined : page.live.moments[lesson.time];
  const judge = new Judge(past ? past.params : plane.live);
  if (past) points.generated = pairsOf(past.points);
  if (lesson.points) points.generated = lesson.points;
  const [left, right, bottom, top] = plane.box;
  const heights = Array.from({ length: plane.cells ** 2 }, (_, k) => {
    const s = judge.score([left + (right - left) * ((k % plane.cells) + 0.5) / plane.cells,
      bottom + (top - bottom) * (Math.floor(k / plane.cells) + 0.5) / plane.cells]);
    return plane.sigma ? sigmoid(s) : s;
  });
  const wishes = () => points.generated.map((point) => judge.wish(point, points.generated.length));
  return { points, heights, arrows: plane.arrows === undefined ? null : wishes(), judge };
}

/** The points of a game of points, the landscape of D behind them, and arrows where the station has them. */
function drawPlane(station) {
  const box = byId("plane");
  const plane = station.plane;
  delete lesson.watchers.plane;
  box.hidden = !plane;
  if (!plane) return;
  if (lesson.station !== state.at) lesson.points = null;
  const size = room(460);
  const canvas = el("canvas", { width: size, height: size, role: "img", "aria-label": plane.caption });
  const key = el("div");
  let now = planeNow(plane);
  const paint = () => key.replaceChildren(...paintPlane(canvas, plane, now));
  const parts = [el("h3", {}, "In the plane"), el("p", {}, ...rich(plane.caption)), canvas, key];
  if (plane.live) {
    const readout = el("output", { "aria-live": "polite", id: "point" });
    const moved = () => {
      const { points, judge } = now;
      if (plane.arrows !== undefined) now.arrows = points.generated.map((point) => judge.wish(point, points.generated.length));
      paint();
      readout.textContent = pointWords(plane, now);
    };
    const anew = () => { lesson.points = null; now = planeNow(plane); paint(); readout.textContent = ""; };
    dragPoints(canvas, plane, () => now, moved);
    if (page.live.moments.length) {
      parts.splice(2, 0, timeSlider("Time of the plane"));
      lesson.watchers.plane = anew;
    }
    parts.push(readout, el("div", { class: "controls" }, el("button", { type: "button", onclick: anew }, "Put the points back")),
      el("p", { class: "note" }, "Drag a point, or Tab to the plane: Enter chooses the next point, the arrow keys move it. This page runs D itself."));
  }
  paint();
  box.replaceChildren(...parts);
}

function pointWords(plane, { points, judge, arrows }) {
  const [x, y] = points.generated[lesson.chosen];
  const s = judge.score([x, y]);
  const wish = arrows ? `, −∂L_G/∂x̃ = (${arrows[lesson.chosen].map((v) => number(v, 3)).join(", ")})` : "";
  return `n=${lesson.chosen}: x̃ = (${number(x, 3)}, ${number(y, 3)}), s = ${number(s)}${plane.sigma ? `, D = ${number(sigmoid(s))}` : ""}${wish}`;
}

const EDGE = 34; // pixels beside the plane, for its numbers

/** From the plane to pixels, and back. */
function planeScales(canvas, plane) {
  const [left, right, bottom, top] = plane.box;
  const side = canvas.width - EDGE;
  return {
    side,
    sx: (x) => EDGE + ((x - left) / (right - left)) * side,
    sy: (y) => side - ((y - bottom) / (top - bottom)) * side,
    back: (px, py) => [left + ((px - EDGE) / side) * (right - left), bottom + ((side - py) / side) * (top - bottom)],
  };
}

function dragPoints(canvas, plane, now, moved) {
  const [left, right, bottom, top] = plane.box;
  const inside = ([x, y]) => [Math.max(left, Math.min(right, x)), Math.max(bottom, Math.min(top, y))];
  const put = (point) => {
    lesson.points = now().points.generated;
    lesson.points[lesson.chosen] = inside(point);
    moved();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return planeScales(canvas, plane).back((event.clientX - box.left) * (canvas.width / box.width), (event.clientY - box.top) * (canvas.height / box.height));
  };
  canvas.setAttribute("tabindex", 0);
  canvas.classList.add("draggable");
  canvas.setAttribute("aria-label", `${plane.caption}. Enter chooses the next point, arrow keys move it.`);
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = at(event);
    const off = now().points.generated.map(([a, b]) => Math.hypot(a - x, b - y));
    const nearest = off.indexOf(Math.min(...off));
    if (off[nearest] > 0.08 * (right - left)) return;
    lesson.chosen = nearest;
    canvas.setPointerCapture(event.pointerId);
    put(now().points.generated[nearest]);
  });
  canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) put(at(event)); });
  canvas.addEventListener("keydown", (event) => {
    if (withModifier(event)) return;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const [x, y] = now().points.generated[lesson.chosen];
    if (event.key === "Enter" || event.key === " ") {
      lesson.chosen = (lesson.chosen + 1) % now().points.generated.length;
      put(now().points.generated[lesson.chosen]);
    } else if (move) put([x + move[0] * (right - left) / 50, y + move[1] * (top - bottom) / 50]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Paint a plane; returns its key. */
function paintPlane(canvas, plane, { points, heights, arrows, judge }) {
  const context = canvas.getContext("2d");
  const { side, sx, sy } = planeScales(canvas, plane);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const key = heights ? [paintLandscape(context, plane, heights, side)] : [];
  paintEdges(context, plane, side, sx);
  context.save();
  context.beginPath();
  context.rect(EDGE, 0, side, side);
  context.clip();
  const colours = { real: color("--forward"), generated: color("--mark") };
  for (const [kind, pairs] of Object.entries(points)) {
    context.fillStyle = colours[kind];
    for (const [x, y] of pairs) {
      context.beginPath();
      context.arc(sx(x), sy(y), 3.5, 0, 7);
      context.fill();
    }
    key.push(el("span", { class: "note" }, el("b", { style: `color:${colours[kind]}` }, "● "), `${plane.names[kind]} `));
  }
  if (arrows) key.push(paintArrows(context, plane, points.generated, arrows, sx, sy));
  if (judge && lesson.points) {
    const [x, y] = points.generated[lesson.chosen];
    context.strokeStyle = color("--ink");
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(sx(x), sy(y), 8, 0, 7);
    context.stroke();
  }
  context.restore();
  return key;
}

function paintLandscape(context, { cells, sigma }, heights, side) {
  const middle = sigma ? 0.5 : 0;
  const limit = Math.max(...heights.map((v) => Math.abs(v - middle))) || 1;
  const [paper, low, high] = ["--paper", "--negative", "--positive"].map((name) => rgb(color(name)));
  const cell = side / cells;
  heights.forEach((v, k) => {
    const part = (v - middle) / limit;
    context.fillStyle = `rgb(${paper.map((p, c) => Math.round(p + 0.75 * Math.abs(part) * ((part < 0 ? low : high)[c] - p)))})`;
    const [x, y] = [EDGE + (k % cells) * cell, side - (Math.floor(k / cells) + 1) * cell];
    context.fillRect(Math.floor(x), Math.floor(y), Math.ceil(cell) + 1, Math.ceil(cell) + 1);
  });
  context.clearRect(0, side, side + EDGE, EDGE);
  return el("div", { class: "scale" }, `${sigma ? "D" : "s"} = ${number(middle - limit, 3)}`, el("i", { class: "signed" }),
    `${number(middle + limit, 3)}; here from ${number(Math.min(...heights), 3)} to ${number(Math.max(...heights), 3)}`);
}

function paintEdges(context, plane, side, sx) {
  const [left, right, bottom, top] = plane.box;
  context.strokeStyle = color("--line");
  context.strokeRect(EDGE + 0.5, 0.5, side - 1, side - 1);
  context.fillStyle = color("--soft");
  context.font = "12px system-ui, sans-serif";
  for (const [v, shift] of [[left, "left"], [right, "right"]]) {
    context.textAlign = shift;
    context.fillText(number(v, 2), sx(v), side + 16);
  }
  context.textAlign = "right";
  context.fillText(number(top, 2), EDGE - 4, 12);
  context.fillText(number(bottom, 2), EDGE - 4, side);
}

function paintArrows(context, plane, from, along, sx, sy) {
  const longest = Math.max(...along.map(([a, b]) => Math.hypot(a, b)));
  const scale = longest ? (0.15 * (plane.box[1] - plane.box[0])) / longest : 0;
  context.strokeStyle = color("--ink");
  context.lineWidth = 1.4;
  from.forEach(([x, y], n) => {
    const [dx, dy] = along[n].map((v) => v * scale);
    const [ax, ay, bx, by] = [sx(x), sy(y), sx(x + dx), sy(y + dy)];
    if (Math.hypot(bx - ax, by - ay) < 1) return;
    const angle = Math.atan2(by - ay, bx - ax);
    context.beginPath();
    context.moveTo(ax, ay);
    context.lineTo(bx, by);
    for (const turn of [2.6, -2.6]) {
      context.moveTo(bx, by);
      context.lineTo(bx + 6 * Math.cos(angle + turn), by + 6 * Math.sin(angle + turn));
    }
    context.stroke();
  });
  return el("div", { class: "note" }, `The longest arrow stands for a gradient of size ${number(longest, 3)}; the others are to scale.`);
}
