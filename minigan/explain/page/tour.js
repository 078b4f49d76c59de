"use strict";

// The tour: a question at each of some stations. The reader predicts first; the answer was found in this step's own arrays.

function toggleTour() {
  if (lesson.tour === null) askQuestion(0);
  else { lesson.tour = null; draw(); byId("start-tour").focus(); }
}

/** Go to the station of a question, and ask it. */
function askQuestion(number) {
  lesson.tour = number;
  go(page.tour[number].at);
  byId("tour").querySelector("input, button")?.focus();
}

function drawTour() {
  const box = byId("tour");
  box.hidden = lesson.tour === null;
  if (box.hidden) return coverStation();
  const stop = page.tour[lesson.tour];
  const given = (lesson.answers[lesson.tour] ??= { choice: null, revealed: false });
  const again = (change, focus) => { Object.assign(given, change); drawTour(); fitToWidth(); byId(focus)?.focus(); };
  const choices = stop.choices.map((words, k) => el("label", { class: "choice" },
    el("input", { type: "radio", name: "choice", id: `choice-${k}`, checked: given.choice === k, disabled: given.revealed,
      onchange: () => again({ choice: k }, `choice-${k}`) }),
    el("span", {}, words, ...(given.revealed && k === stop.right ? [el("b", { class: "good" }, " ✓")] : []))));
  coverStation();
  const elsewhere = state.at !== stop.at;
  const button = (id, words, onclick, disabled = false) => el("button", { id, type: "button", disabled, onclick }, words);
  box.replaceChildren(el("h3", {}, `Question ${lesson.tour + 1} of ${page.tour.length}`),
    ...(elsewhere ? [el("p", { class: "note" }, "It is asked at another station: ",
      button("to-question", ...[stations[stop.at].title], () => askQuestion(lesson.tour)))] : []),
    el("fieldset", {}, el("legend", {}, ...rich(stop.question)), ...choices),
    ...(given.revealed || elsewhere ? [] : [el("p", { class: "note" }, "What the station shows is covered until then.")]),
    ...(given.revealed ? [el("p", { id: "answer", role: "status" },
      el("b", { class: given.choice === stop.right ? "good" : "bad" }, given.choice === stop.right ? "As you said. " : `Not so: ${stop.choices[stop.right]}. `),
      ...rich(stop.answer))] : []),
    el("div", { class: "controls" },
      button("reveal", given.choice === null ? "Choose first, then reveal" : "Reveal", () => again({ revealed: true }, "next-question"),
        given.choice === null || given.revealed),
      button("last-question", "◀ Question before", () => askQuestion(lesson.tour - 1), lesson.tour === 0),
      lesson.tour + 1 < page.tour.length ? button("next-question", "Next question ▶", () => askQuestion(lesson.tour + 1))
        : button("next-question", `The end: ${score()}`, () => toggleTour())));
  return undefined;
}

/** Until a question is answered, its station holds back what would give the answer away. */
function coverStation() {
  const asked = lesson.tour !== null && page.tour[lesson.tour].at === state.at && !lesson.answers[lesson.tour]?.revealed;
  document.querySelector("main").classList.toggle("covered", asked);
}

function score() {
  const right = Object.entries(lesson.answers).filter(([k, { choice, revealed }]) => revealed && choice === page.tour[k].right).length;
  return `${right} of ${page.tour.length} predicted rightly`;
}
