"use strict";

// The drawing of both networks: a cell for every layer, in rows that fit the page, and a lane for each way through it.

const CELL = 44, WIDEST = 72, BETWEEN = 4, TITLE = 20, FRAME = 4, RAIL = 9; // pixels; a cell is large enough for a finger
const LANES = { forward: "forwards", backward: "backwards", curvature: "the gradient of a gradient" };

/** The cells with their places: {part, cell, row, column}. What fits into a row begins a new one rather than be cut in two. */
function placedCells(perRow) {
  const placed = [];
  let [row, column] = [0, 0];
  for (const part of page.overview.parts) {
    if (column && part.cells.length > perRow - column && part.cells.length <= perRow) [row, column] = [row + 1, 0];
    for (const cell of part.cells) {
      if (column === perRow) [row, column] = [row + 1, 0];
      placed.push({ part, cell, row, column });
      column++;
    }
  }
  return placed;
}

/** Where a cell leads in a lane: the station in the act on show, if it has one there; the next one where it is on show. */
function targetOf(cell, lane) {
  const found = cell.lanes[lane] ?? [];
  const here = found.indexOf(state.at);
  if (here >= 0) return found[(here + 1) % found.length];
  return found.find((k) => stations[k].act === stations[state.at].act) ?? found[0];
}

function drawOverview() {
  const box = byId("drawing");
  const hadFocus = box.contains(document.activeElement);
  const width = Math.max(260, byId("lesson").clientWidth - 4);
  const perRow = Math.max(1, Math.floor((width - 2 * FRAME) / (CELL + BETWEEN)));
  const count = page.overview.parts.reduce((sum, part) => sum + part.cells.length, 0);
  const wide = count > perRow ? CELL : Math.min(WIDEST, Math.floor((width - 2 * FRAME) / count) - BETWEEN); // one row takes the room
  const placed = placedCells(perRow);
  const lanes = page.overview.lanes;
  const tops = rowTops(placed, lanes);
  const left = (column) => FRAME + column * (wide + BETWEEN);
  const frames = framesOf(placed);
  const joints = count > perRow ? [] : jointsOf(placed, frames, wide, left, tops);
  const height = tops.at(-1) + RAIL * joints.filter((joint) => joint.dataset.to === "update").length;
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Both networks, layer by layer" });
  svg.append(...joints, ...frames.map((frame) => frameNode(frame, wide, left, tops)));
  const buttons = placed.flatMap((place) => lanes.map((lane, k) =>
    cellNode(place, lane, wide, left(place.column), tops[place.row] + TITLE + FRAME + k * (CELL + BETWEEN)))).filter(Boolean);
  svg.append(...buttons);
  const current = buttons.find((button) => button.getAttribute("aria-current")) ?? buttons[0];
  current.setAttribute("tabindex", 0);
  svg.addEventListener("keydown", (event) => keyInOverview(event, buttons));
  box.replaceChildren(svg);
  if (hadFocus) current.focus();
}

/** Where each row begins, and the last ends: a row is as high as the lanes that it needs. */
function rowTops(placed, lanes) {
  const tops = [0];
  for (let row = 0; row <= placed.at(-1).row; row++) {
    const used = placed.filter((place) => place.row === row).flatMap(({ cell }) => lanes.map((lane, k) => (cell.lanes[lane] ? k + 1 : 0)));
    tops.push(tops.at(-1) + TITLE + Math.max(...used) * (CELL + BETWEEN) + 2 * FRAME + 6);
  }
  return tops;
}

/** The runs of cells of one network in one row. */
function framesOf(placed) {
  const frames = [];
  for (const { part, row, column } of placed) {
    const last = frames.at(-1);
    if (!part.net) continue;
    if (last && last.part === part && last.row === row) last.to = column;
    else frames.push({ part, row, from: column, to: column, goesOn: last?.part === part });
  }
  return frames;
}

/** Where there is one row: lines from each loss to where its gradient begins its way back, and from each network to its move. */
function jointsOf(placed, frames, wide, left, tops) {
  const { lanes, parts } = page.overview;
  const top = (lane) => tops[0] + TITLE + FRAME + lanes.indexOf(lane) * (CELL + BETWEEN);
  const bottom = tops[1] - 7;
  let rails = 0;
  return placed.filter(({ part, cell }) => part === parts.at(-1) && !part.net && cell.lanes.forward).map(({ cell, column }) => {
    const { kind, net } = stations[cell.lanes.forward[0]];
    const middle = left(column) + wide / 2;
    if (kind === "update") {
      const { from, to } = frames.find((frame) => frame.part.net === net);
      const rail = bottom + RAIL * ++rails;
      return joint("update", "--loss", `M${(left(from) + left(to) + wide) / 2} ${bottom}V${rail}H${middle}V${top("forward") + CELL + 2}`, [middle, top("forward") + CELL + 1, 0]);
    }
    const lane = { loss: "backward", penalty: "curvature" }[kind];
    if (!lanes.includes(lane)) return null;
    const [end, y] = [left(frames.at(-1).to) + wide + FRAME, top(lane) + CELL / 2];
    return joint(lane, "--backward", `M${middle} ${top("forward") + CELL}V${y}H${end + 6}`, [end + 1, y, -90]);
  }).filter(Boolean);
}

/** A line with an arrow head at [x, y], turned so far. */
function joint(to, tint, d, [x, y, turn]) {
  return el("g", { class: "joint", "data-to": to, "aria-hidden": "true" },
    el("path", { d, fill: "none", stroke: color(tint), "stroke-width": 1.5, "stroke-dasharray": to === "update" ? "4 3" : undefined }),
    el("path", { d: "M0 0L-4 7L4 7Z", transform: `translate(${x} ${y}) rotate(${turn})`, fill: color(tint) }));
}

function frameNode({ part, row, from, to, goesOn }, cell, left, tops) {
  const [x, wide] = [left(from) - FRAME + 1, (to - from + 1) * (cell + BETWEEN) + FRAME - 2];
  const first = part === page.overview.parts.find((p) => p.net);
  const stroke = color(first ? "--forward" : "--mark");
  const [whole, high] = [`${part.name}${goesOn ? ", continued" : ""}`, tops[row + 1] - tops[row]];
  const name = wide > 6.3 * whole.length + 14 ? whole : part.net;
  return el("g", {},
    el("rect", { x, y: tops[row] + 1, width: wide, height: high - 8, rx: 7, fill: color("--panel"), stroke, "stroke-width": 2 }),
    el("text", { x: x + 8, y: tops[row] + 16, style: `fill:${stroke};font-weight:bold` }, name));
}

function cellNode({ cell, part, row }, lane, wide, x, y) {
  const target = targetOf(cell, lane);
  if (target === undefined) return null;
  const isHere = cell.lanes[lane].includes(state.at);
  const [ink, paper] = [color("--ink"), color("--paper")];
  const tint = color({ forward: part.net ? "--forward" : "--loss", backward: "--backward", curvature: "--backward" }[lane]);
  const shown = lane === "forward" ? cell.label : lane === "backward" ? (cell.lanes.forward ? "←" : `← ${cell.label}`) : "∂²";
  const tall = lane === "forward" ? 4 + 18 * cell.size : 4;
  const name = lane === "forward" ? cell.title : `${LANES[lane]}: ${cell.title}`;
  const small = lane === "forward" && wide < 7.4 * cell.label.length + 4;
  const text = el("text", { x: wide / 2, y: lane === "forward" ? 15 : 27, "text-anchor": "middle",
    style: `fill:${isHere ? paper : ink};font-size:${small ? Math.min(10, (1.5 * (wide - 4)) / cell.label.length) : 11.5}px` }, ...richSvg(shown));
  return el("g", { class: "cell", role: "button", tabindex: -1, transform: `translate(${x} ${y})`, "aria-label": name,
    "aria-current": isHere ? "step" : undefined, "data-lane": lane, "data-cell": `${x} ${row}`, "data-to": target, onclick: () => go(target) },
  el("title", {}, name),
  el("rect", { width: wide, height: CELL, rx: 4, fill: isHere ? ink : paper, stroke: isHere ? ink : color("--line") }),
  el("rect", { x: 6, width: wide - 12, y: CELL - 4 - tall, height: tall, rx: 1, fill: tint, opacity: isHere ? 1 : 0.65 }), text);
}

/** As rich(), in an SVG. */
const richSvg = (text) => text.split(/(?<=L)_([DG])/).map((part, k) => (k % 2 ? el("tspan", { dy: 3, "font-size": "75%" }, part) : part));

/** Left and right along a lane, up and down between the lanes of a cell; Enter goes there. */
function keyInOverview(event, buttons) {
  const here = event.target.closest(".cell");
  if (!here || withModifier(event)) return;
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter" || event.key === " ") go(Number(here.dataset.to));
  else if (!move) return;
  else {
    const [along, across] = move;
    const mates = buttons.filter((button) => (along ? button.dataset.lane === here.dataset.lane : button.dataset.cell === here.dataset.cell));
    mates[mates.indexOf(here) + along + across]?.focus();
  }
  event.preventDefault();
  event.stopPropagation();
}
