"use strict";

// "Break this gradient": what the gradient check says when a mistake is planted in this layer's backward pass. All of it was
// computed by the checks as the page was made.

function drawSwitches(station) {
  const box = byId("switches");
  const found = station.switches ?? [];
  box.hidden = !found.length;
  if (box.hidden) return box.replaceChildren();
  const buttons = found.map((one, k) => el("button", { type: "button", role: "switch", "aria-checked": String(lesson.broken === k),
    onclick: () => {
      lesson.broken = lesson.broken === k ? null : k;
      drawSwitches(station);
      fitToWidth();
      box.querySelectorAll("[role=switch]")[k].focus(); // it was made anew
    } }, one.name));
  box.replaceChildren(el("h3", {}, "Break this gradient"),
    el("p", {}, "Each switch plants a mistake in the backward pass of this layer alone. Would the gradient check notice, and would it "
      + "know which mistake it is?"),
    el("div", { class: "controls" }, el("span", {}, ...buttons)),
    ...(lesson.broken === null ? [] : brokenNodes(found[lesson.broken])));
  return undefined;
}

function brokenNodes(one) {
  const shown = one.checks.filter((c) => !c.branch || c.branch === state.branch);
  const named = one.said.length ? one.said : ["No explanation that it knows fits, so it names none: that the gradient is wrong is all it says."];
  return [
    el("p", {}, el("b", {}, "Planted: "), `${one.code}.`),
    ...(shown.length ? [el("p", {}, "This station's derivatives, with the mistake, beside the same differences as before:"),
      checksTable(shown)] : []),
    el("p", {}, `check_gradients on this layer, with the step's own weights, ${samplesWords(one.samples)}, and a random dy:`),
    el("p", { class: "bad", "data-verdict": "" }, one.verdict),
    el("div", { class: "wide" }, el("table", {}, el("tr", {}, ...["gradient of", "relative error", "worst at", "analytic", "numeric"].map((h) => el("th", {}, h))),
      ...one.rows.map((row) => el("tr", {}, el("td", {}, row.of),
        el("td", { class: row.error !== null && row.error < 1e-6 ? "good" : "bad" }, errorWords(row.error)),
        el("td", {}, Array.isArray(row.where) ? `[${row.where.join(", ")}]` : row.where), el("td", {}, number(row.analytic, 6)),
        el("td", {}, number(row.numeric, 6)))))),
    ...named.map((line) => el("p", { class: "said", role: "status" }, line)),
  ];
}

/** How many samples the check runs on, which is the N of its words. */
function samplesWords(count) {
  if (count === page.batch) return `all ${count} samples of the batch (N = ${count})`;
  return `${count === 1 ? "the first" : `the first ${count}`} of the ${page.batch} samples of the batch (N = ${count} here)`;
}

function errorWords(error) {
  return error === null ? "∞ ✗" : `${error.toExponential(1).replace("-", "−")} ${error < 1e-6 ? "✓" : "✗"}`;
}
