"use strict";

// On a narrow screen nothing scrolls sideways: a list of stations takes the place of their row, and formulas and tables are fitted.

function buildChoice() {
  const choose = byId("choose");
  for (const { name: act, aim } of page.acts) {
    choose.append(el("optgroup", { label: aim }, ...stations.map((station, k) => [station, k]).filter(([station]) => station.act === act)
      .map(([station, k]) => el("option", { value: k }, `${k + 1}. ${station.title.replaceAll("_", "")}`))));
  }
  choose.addEventListener("change", () => go(Number(choose.value)));
}

function fitToWidth() {
  const choose = byId("choose");
  if (!choose.options.length) buildChoice();
  choose.value = String(state.at);
  fitFormulas();
  if (isNarrow()) fitTables("main table:not(.taps)");
}
