"use strict";

// What makes the page a lesson: two sentences first, the drawing of both networks, the tour, and time. Each part stands in a
// file of its own; this one holds what they share.

const lesson = {
  station: -1, // that the parts were drawn for last
  tour: null, // the question on show, counted from 0
  answers: {}, // by question: {choice, revealed}
  broken: null, // which switch is on
  timeOpen: false,
  time: null, // which moment is shown; null: the last
  points: null, // those that were dragged in the plane, as [x, y]
  chosen: 0, // the point that the keys move
  watchers: {}, // called when the moment changes, by part of the page
  touched: new Set(), // the folded parts that the reader opened or closed
};

/** Draw what of the lesson belongs to the station on show. */
function drawLesson(station) {
  const moved = lesson.station !== state.at;
  if (moved) [lesson.station, lesson.broken] = [state.at, null];
  foldAsNeeded();
  drawOverview();
  drawSeam();
  drawTools();
  drawTour();
  drawTime();
  drawSwitches(station);
  fitToWidth();
}

/** The two sentences are open at the first station, the drawing wherever there is room, unless the reader chose otherwise. */
function foldAsNeeded() {
  const first = state.at === 0;
  for (const [id, open] of [["intro", first], ["map", first || !isNarrow()]]) {
    const box = byId(id);
    if (!box.dataset.watched) {
      box.dataset.watched = "true";
      box.querySelector("summary").addEventListener("click", () => lesson.touched.add(id));
    }
    if (!lesson.touched.has(id)) box.open = open;
  }
}

/** What the drawing shows, which depends on how much room it has. */
function drawSeam() {
  const joined = byId("drawing").querySelector(".joint");
  byId("seam").replaceChildren(`Data go to the right; ← is where the gradient comes back${joined ? "; lines lead from a loss to where it begins, and from a network to its move" : ""}. ${page.overview.seam} `
    + "Click a layer to go to it, or Tab to the drawing, arrow keys and Enter.");
}

function drawTools() {
  const tools = [];
  if (page.tour.length)
    tools.push(el("button", { id: "start-tour", type: "button", "aria-pressed": String(lesson.tour !== null), onclick: () => toggleTour() },
      `Tour: ${page.tour.length} questions`));
  if (page.time)
    tools.push(el("button", { id: "open-time", type: "button", "aria-pressed": String(lesson.timeOpen), onclick: () => toggleTime() },
      "Over time"));
  const focused = document.activeElement?.id;
  byId("tools").replaceChildren(...tools);
  if (tools.some((tool) => tool.id === focused)) byId(focused).focus();
}

/** The number of the dot of a chart that is nearest to a place on the screen, from left to right. */
function nearestDot(svg, clientX) {
  const dots = [...svg.querySelectorAll("circle[data-n]")];
  const off = (dot) => { const box = dot.getBoundingClientRect(); return Math.abs(box.left + box.width / 2 - clientX); };
  return Number(dots.reduce((best, dot) => (off(dot) < off(best) ? dot : best)).dataset.n);
}
