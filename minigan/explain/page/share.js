"use strict";

// -- a link to a station --------------------------------------------------------------------------------------------------

/** Go where the address leads; to the start, and say so, where it leads nowhere. */
function followAddress() {
  const wanted = location.hash.slice(1);
  const found = wanted ? stations.findIndex((station) => station.name === wanted) : 0;
  go(Math.max(found, 0));
  if (found < 0) tell(`No station of this page is called “${wanted.slice(0, 60)}”: this is the start.`);
}

/** Write the station on show to the address. */
function writeAddress() {
  if (location.protocol === "about:") return; // within a page of two steps, whose address it is
  history.replaceState(null, "", `#${stations[state.at].name}`);
  tell("");
}

/** A line at the end of the head, which stays on the screen. */
function tell(words) {
  byId("told").replaceChildren(words);
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("The link to this station is copied.");
  } catch { // an old browser, or no permission: then by hand
    const field = el("input", { readonly: true, value: location.href, "aria-label": "Link to this station" });
    tell(field);
    field.focus();
    field.select();
  }
}

function buildShare() {
  const button = (id, words, onclick) => el("button", { id, type: "button", onclick }, words);
  byId("station").before(el("div", { id: "share", class: "controls" },
    button("copy", "Copy link", copyLink),
    button("print-one", "Print this station", () => print()),
    button("print-all", "Print all stations", printAll)));
}

// -- on paper -------------------------------------------------------------------------------------------------------------

const printing = { all: false, on: false, at: 0 };

/** As many pixels as there are across. */
const across = () => (printing.on ? PAPER : document.documentElement.clientWidth);

function printAll() {
  printing.all = true;
  tell("Laying out the pages …");
  setTimeout(() => { tell(""); print(); }, 50); // so that the line is seen
}

/** A copy of what a part of the page shows, without what only a screen can do. */
function onPaper(part) {
  const copy = part.cloneNode(true);
  copy.id = "";
  copy.className += ` part-${part.id}`;
  part.querySelectorAll("canvas").forEach((canvas, k) => {
    const other = copy.querySelectorAll("canvas")[k];
    other.getContext("2d").drawImage(canvas, 0, 0);
    if (canvas.width > 4 * canvas.height) other.closest("figure")?.classList.add("broad"); // else two stand side by side
  });
  copy.querySelectorAll("button, input, select, output, .controls").forEach((node) => node.remove());
  return copy;
}

/** One station as a sheet: as it is on show. */
function sheet() {
  const station = stations[state.at];
  const ids = ["station", "plane", "figures", ...(state.pick ? ["explorer"] : []), "chart", "nudge", "checks", "sizes"];
  const shown = [];
  if ((station.figures ?? []).some((figure) => Object.keys(figure.arrays).length > 1))
    shown.push(`the pass of ${state.branch === "real" ? page.real : "generated samples"}`);
  if ((station.figures ?? []).some((figure) => figure.sampled)) shown.push(`sample n = ${state.sample} of ${page.batch}`);
  return el("section", { class: "sheet" },
    el("p", { class: "note" }, `${page.about} · station ${state.at + 1} of ${stations.length}, #${station.name}`),
    ...ids.map(byId).filter((part) => part && !part.hidden).map(onPaper),
    ...(shown.length ? [el("p", { class: "note" }, `Shown: ${shown.join(", ")}.`)] : []));
}

/** Shrink what is wider than the paper until it fits. */
function fitToPaper(node) {
  const ratio = node.clientWidth / node.scrollWidth;
  if (ratio < 1) node.style.zoom = 0.98 * ratio;
}

function layOut() {
  if (printing.on) return;
  [printing.on, printing.at] = [true, state.at];
  document.documentElement.classList.add("printing");
  const sheets = el("div", { id: "sheets" });
  document.body.append(sheets);
  const numbers = printing.all ? stations.keys() : [state.at];
  for (const number of numbers) {
    if (number !== state.at) [state.at, state.pick, state.nudge, state.moved] = [number, null, 0, null];
    draw();
    sheets.append(sheet());
  }
  fitFormulas(sheets);
  sheets.querySelectorAll(".formulas, .wide").forEach(fitToPaper);
}

function putBack() {
  if (!printing.on) return;
  byId("sheets").remove();
  document.documentElement.classList.remove("printing");
  if (state.at !== printing.at) [state.at, state.pick, state.nudge, state.moved] = [printing.at, null, 0, null];
  [printing.all, printing.on] = [false, false];
  draw();
}

addEventListener("beforeprint", layOut);
addEventListener("afterprint", putBack);
