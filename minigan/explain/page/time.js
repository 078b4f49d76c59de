"use strict";

// The time slider: samples, losses and D's outputs at moments of the training that led to this step.

const STROKES = [["--loss", ""], ["--backward", "6 4"], ["--forward", "2 3"], ["--soft", "8 3 2 3"]]; // told apart without colours, too

function toggleTime() {
  lesson.timeOpen = !lesson.timeOpen;
  draw();
  byId("open-time").focus();
}

const momentNow = () => lesson.time ?? page.time.moments.length - 1;

/** Show another moment, everywhere. */
function setTime(k) {
  lesson.time = Math.max(0, Math.min(page.time.moments.length - 1, k));
  for (const watch of Object.values(lesson.watchers)) watch();
  document.querySelectorAll("input.time").forEach((slider) => { slider.value = lesson.time; });
}

/** A slider over the moments, with the step that it stands at. */
function timeSlider(label) {
  const words = (k) => `after ${page.time.moments[k].step.toLocaleString("en")} steps`;
  const said = el("output", {}, words(momentNow()));
  const slider = el("input", { type: "range", class: "time", min: 0, max: page.time.moments.length - 1, step: 1, value: momentNow(), "aria-label": label,
    "aria-valuetext": words(momentNow()), oninput: (event) => setTime(Number(event.target.value)) });
  lesson.watchers[label] = () => {
    said.textContent = words(momentNow());
    slider.setAttribute("aria-valuetext", words(momentNow()));
  };
  return el("div", { class: "controls" }, el("span", { class: "slide" }, slider, said));
}

function drawTime() {
  const box = byId("time");
  delete lesson.watchers.time;
  box.hidden = !lesson.timeOpen || !page.time;
  if (box.hidden) return;
  const live = el("div", { class: "figures" });
  const show = () => live.replaceChildren(...momentNodes(page.time.moments[momentNow()]));
  lesson.watchers.time = show;
  show();
  box.replaceChildren(el("h3", {}, "How it came to this step"), el("p", {}, page.time.about), timeSlider("Time"), live);
}

function momentNodes(moment) {
  const nodes = [];
  if (moment.picture) nodes.push(el("figure", {}, el("figcaption", {}, "samples"), el("img", { src: moment.picture, alt: `samples after ${moment.step} steps` })));
  if (moment.points !== undefined) nodes.push(el("figure", {}, el("figcaption", {}, "samples"), scatter(moment)));
  for (const chart of ["losses", "outputs"]) {
    const curves = page.time.curves.filter((curve) => curve.chart === chart);
    if (curves.length) nodes.push(timeChart(chart, curves, moment.step));
  }
  if (Object.keys(moment.scores).length) nodes.push(scoreStrip(moment));
  return nodes;
}

function timeChart(chart, curves, step) {
  const every = curves.flatMap((curve) => curve.points);
  const x = [Math.min(...every.map(([s]) => s)), Math.max(...every.map(([s]) => s), 1)];
  let [low, high] = [Math.min(...every.map(([, v]) => v)), Math.max(...every.map(([, v]) => v))];
  if (chart === "outputs" && low >= 0 && high <= 1) [low, high] = [0, 1];
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  const svg = plot({ x, y: [low, high], xName: "steps", yName: chart === "losses" ? `loss${page.unit}` : "D's output", width: room(400), height: 220 }, (sx, sy) => [
    el("line", { x1: sx(step), x2: sx(step), y1: 12, y2: 180, stroke: color("--mark"), "stroke-width": 2 }),
    ...curves.map((curve, k) => el("path", { d: path(curve.points, sx, sy), fill: "none", stroke: color(STROKES[k % 4][0]), "stroke-width": 2,
      "stroke-dasharray": STROKES[k % 4][1] })),
  ]);
  const key = curves.map((curve, k) => el("span", { class: "key" },
    el("svg", { width: 30, height: 8, viewBox: "0 0 30 8", "aria-hidden": "true" }, el("line", { x1: 0, x2: 30, y1: 4, y2: 4, stroke: color(STROKES[k % 4][0]),
      "stroke-width": 2, "stroke-dasharray": STROKES[k % 4][1] })), el("span", {}, ...rich(curve.label), `: ${valueAt(curve, step)}`)));
  svg.setAttribute("aria-label", `${chart} over ${x[1]} steps`);
  return el("figure", {}, el("figcaption", {}, chart === "losses" ? "losses" : "D's outputs, mean"), svg, el("p", { class: "note" }, ...key));
}

/** A curve's value at a step: the last that is not after it. */
function valueAt(curve, step) {
  const found = curve.points.filter(([s]) => s <= step).at(-1);
  return found ? number(found[1]) : "–";
}

/** D's output for every sample of the batch, real ones above generated ones. */
function scoreStrip(moment) {
  const isLogit = stations.some((s) => s.is_logit);
  const of = (k) => Object.entries(page.time.moments[k].scores).map(([who, id]) => [who, numbersOf(id).map((s) => (isLogit ? sigmoid(s) : s))]);
  const every = page.time.moments.flatMap((_, k) => of(k).flatMap(([, scores]) => scores));
  const [low, high] = isLogit ? [0, 1] : [Math.min(...every), Math.max(...every, Math.min(...every) + 1e-6)];
  const width = room(400), left = 8, sx = (v) => left + ((v - low) / (high - low)) * (width - 2 * left);
  const colours = { real: color("--forward"), generated: color("--mark") };
  const rows = of(page.time.moments.indexOf(moment)).flatMap(([who, scores], row) => {
    const top = 8 + 52 * row;
    return [el("text", { x: left, y: top + 12 }, `${who === "real" ? page.real : "generated samples"}, mean ${number(scores.reduce((a, b) => a + b, 0) / scores.length, 3)}`),
      el("line", { x1: left, x2: width - left, y1: top + 32, y2: top + 32, stroke: color("--line") }),
      ...scores.map((v, n) => el("circle", { cx: sx(v), cy: top + 24 + (n % 4) * 5, r: 4, fill: colours[who], "fill-opacity": 0.7 }))];
  });
  const svg = el("svg", { viewBox: `0 0 ${width} 132`, width, height: 132, role: "img", "aria-label": "D's output for every sample" }, ...rows,
    el("text", { x: left, y: 128 }, number(low, 2)), el("text", { x: width - left, y: 128, "text-anchor": "end" }, number(high, 2)));
  return el("figure", {}, el("figcaption", {}, isLogit ? "D = σ(s) for every sample of this batch" : "s for every sample of this batch"), svg);
}

function scatter(moment) {
  const [left, right, bottom, top] = stations.find((s) => s.plane).plane.box;
  return plot({ x: [left, right], y: [bottom, top], xName: "", yName: "", width: room(260), height: 260 }, (sx, sy) =>
    pairsOf(moment.points).filter(([x, y]) => x >= left && x <= right && y >= bottom && y <= top)
      .map(([x, y]) => el("circle", { cx: sx(x), cy: sy(y), r: 3, fill: color("--mark") })));
}
