"use strict";

// Two pages of opened steps in one: the same station of both, and between them what differs.

const compared = JSON.parse(document.getElementById("compared").textContent);
const texts = JSON.parse(document.getElementById("pages").textContent);
const { pairs } = compared;
const LETTERS = ["A", "B"], CLASSES = ["a", "b"];
const byId = (id) => document.getElementById(id);
const state = { at: 0 };
const frames = []; // for each side {window, document, go}, once its page has loaded

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A fact or title as a page of one step has it: L_D with a subscript. */
const rich = (text) => text.split(/(?<=L)_([DG])/).map((part, k) => (k % 2 ? el("sub", {}, part) : part));
const title = (pair) => pair.titles[0] ?? pair.titles[1];

function go(to) {
  state.at = Math.max(0, Math.min(pairs.length - 1, to));
  history.replaceState(null, "", `#${pairs[state.at].name}`);
  byId("told").textContent = "";
  draw();
}

function followAddress() {
  const wanted = location.hash.slice(1);
  const found = wanted ? pairs.findIndex((pair) => pair.name === wanted) : 0;
  go(Math.max(found, 0));
  if (found < 0) byId("told").textContent = `No station of this page is called “${wanted.slice(0, 60)}”: this is the start.`;
}

function draw() {
  const pair = pairs[state.at];
  byId("slider").value = byId("choose").value = state.at;
  byId("where").textContent = `${state.at + 1} of ${pairs.length}`;
  drawDifferences(pair);
  fitFormulas();
  if (isNarrow()) fitTables("#differences table");
  drawGradients(pair);
  frames.forEach((frame, side) => {
    const number = pair.stations[side];
    byId(`frame-${side}`).hidden = number === null;
    byId(`none-${side}`).hidden = number !== null;
    if (number !== null && frame) frame.go(number);
  });
}

function drawDifferences(pair) {
  const box = byId("differences");
  box.replaceChildren(el("h3", {}, ...rich(title(pair))));
  const alone = pair.stations.indexOf(null);
  if (alone >= 0) {
    box.append(el("p", {}, `${LETTERS[alone]} has no such station: it stands in ${LETTERS[1 - alone]} alone.`));
  } else if (pair.titles[0] !== pair.titles[1]) {
    box.append(...pair.titles.map((words, side) => el("p", {}, el("b", { class: CLASSES[side] }, `${LETTERS[side]}: `), ...rich(words))));
  }
  if (pair.formulas) {
    box.append(el("p", {}, "The formulas differ:"));
    pair.formulas.forEach((formulas, side) => {
      const set = el("div", { class: "formulas" });
      set.innerHTML = formulas.join("");
      box.append(el("b", { class: CLASSES[side] }, LETTERS[side]), set);
    });
  }
  if (!pair.rows.length) return;
  box.append(el("div", { class: "wide" }, el("table", {},
    el("tr", {}, el("th", {}, ""), ...LETTERS.map((letter, side) => el("th", { class: CLASSES[side] }, letter))),
    ...pair.rows.map(([name, a, b]) => el("tr", { class: a === b ? "same" : "differs" }, el("td", {}, ...rich(name)), el("td", {}, a), el("td", {}, b))))));
}

/** The root mean square of ∂L/∂y by depth, two bars for each layer. */
function drawGradients(pair) {
  const box = byId("gradients");
  const rows = compared.sizes.filter((row) => row.act === pair.act);
  const all = compared.sizes.some((row) => row.act === pair.act) ? rows : compared.sizes;
  const values = all.flatMap((row) => row.rms).filter((v) => v !== null);
  const logs = values.map((v) => Math.log10(Math.max(v, 1e-12)));
  const [low, high] = [Math.floor(Math.min(...logs)) - 0.2, Math.ceil(Math.max(...logs))];
  const [width, left, line] = [Math.max(260, Math.min(640, document.documentElement.clientWidth - 64)), 170, 26];
  const sx = (v) => left + ((Math.log10(Math.max(v, 1e-12)) - low) / (high - low || 1)) * (width - left - 70);
  const bars = all.map((row, k) => {
    const name = `${row.label}${row.branch ? `, ${row.branch}` : ""}`;
    const bar = (side) => (row.rms[side] === null ? "" : `<rect x="${left}" y="${k * line + 3 + 10 * side}" height="9" `
      + `width="${Math.max(1, sx(row.rms[side]) - left)}" fill="var(--${side ? "loss" : "forward"})"/>`
      + `<text x="${sx(row.rms[side]) + 4}" y="${k * line + 11 + 10 * side}" style="font-size:10px">${Number(row.rms[side].toPrecision(2))}</text>`);
    return `<text x="${left - 8}" y="${k * line + 16}" text-anchor="end">${name}</text>${bar(0)}${bar(1)}`;
  }).join("");
  const drawing = el("div", { class: "wide" });
  drawing.innerHTML = `<svg viewBox="0 0 ${width} ${all.length * line}" width="${width}" height="${all.length * line}" role="img" `
    + `aria-label="The gradient's size by depth in A and in B">${bars}</svg>`;
  box.replaceChildren(el("h3", {}, "The gradient's size on its way back"),
    el("p", {}, "Root mean square of ∂L/∂y at each layer's output, from the loss downwards; the scale is logarithmic. ",
      el("b", { class: "a" }, "A"), " above, ", el("b", { class: "b" }, "B"), " below."), drawing);
}

// -- the two pages ----------------------------------------------------------------------------------------------------------

const QUIET = "header, footer, #share, #sizes, #lesson, #switches { display: none !important; } main { padding: 0 !important; }";

/** A page has loaded: it is led from here, and leads the other. */
function adopt(frame, side) {
  const { contentWindow: inner, contentDocument: document } = frame;
  if (typeof inner.go !== "function") return; // the empty page that a frame begins with
  document.head.append(Object.assign(document.createElement("style"), { textContent: QUIET }));
  const { go: original } = inner;
  inner.go = (number) => {
    const pair = pairs.findIndex((one) => one.stations[side] === number);
    if (pair >= 0) go(pair);
  };
  document.addEventListener("click", (event) => {
    const choice = event.isTrusted && event.target.closest("[data-choice]")?.dataset.choice;
    if (choice) follow(1 - side, choice);
  }, true);
  new ResizeObserver(() => { frame.style.height = `${document.body.offsetHeight + 1}px`; }).observe(document.body);
  frames[side] = { go: original, document, window: inner };
  if (frames[0] && frames[1]) followAddress();
}

/** The other page shows the same pass or sample, where it has it. */
function follow(side, choice) {
  const button = frames[side].document.querySelector(`[data-choice="${choice}"]`);
  if (button && button.getAttribute("aria-pressed") !== "true") button.click();
}

// -- on paper ---------------------------------------------------------------------------------------------------------------

/** What differs, and behind it the sheet that either page makes of its station. */
function layOut() {
  if (byId("sheets")) return;
  const sheets = el("div", { id: "sheets" }, el("section", { class: "sheet" }, ...["notes", "differences", "gradients"].map((id) => {
    const copy = byId(id).cloneNode(true);
    copy.removeAttribute("id");
    return copy;
  })));
  frames.forEach((frame, side) => {
    if (!frame || pairs[state.at].stations[side] === null) return;
    frame.window.layOut();
    sheets.append(...frame.document.getElementById("sheets").childNodes);
  });
  document.documentElement.classList.add("printing");
  document.body.append(sheets);
  fitFormulas(sheets);
}

function putBack() {
  byId("sheets")?.remove();
  document.documentElement.classList.remove("printing");
  frames.forEach((frame) => frame?.window.putBack());
}

function begin() {
  byId("notes").replaceChildren(...compared.abouts.map((about, side) =>
    el("p", {}, el("b", { class: CLASSES[side] }, `${LETTERS[side]}: `), about)), ...compared.notes.map((note) => el("p", {}, note)));
  byId("slider").max = pairs.length - 1;
  byId("choose").append(...pairs.map((pair, k) => {
    const alone = pair.stations.indexOf(null);
    return el("option", { value: k }, `${title(pair).replace("L_", "L")}${alone >= 0 ? ` (${LETTERS[1 - alone]} alone)` : ""}`);
  }));
  const show = (side) => [0, 1].forEach((one) => {
    byId("frames").children[one].classList.toggle("shown", one === side);
    byId("which").children[one].setAttribute("aria-pressed", String(one === side));
  });
  for (const side of [0, 1]) {
    const frame = el("iframe", { id: `frame-${side}`, title: `${LETTERS[side]}: ${compared.abouts[side]}`, onload: () => adopt(frame, side) });
    byId("frames").append(el("section", {}, el("h2", { class: CLASSES[side] }, `${LETTERS[side]}: ${compared.abouts[side]}`),
      el("p", { id: `none-${side}`, class: "note", hidden: "" }, "This step has no such station."), frame));
    byId("which").append(el("button", { type: "button", onclick: () => show(side) }, LETTERS[side]));
    frame.srcdoc = texts[side];
  }
  show(0);
  byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
  byId("choose").addEventListener("change", (event) => go(Number(event.target.value)));
  byId("back").addEventListener("click", () => go(state.at - 1));
  byId("on").addEventListener("click", () => go(state.at + 1));
  addEventListener("hashchange", followAddress);
  addEventListener("beforeprint", layOut);
  addEventListener("afterprint", putBack);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select")) return;
    const to = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, Home: 0, End: pairs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
}

begin();
