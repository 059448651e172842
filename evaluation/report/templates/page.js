"use strict";
// Sorting, filtering, links and print; tips repeat what the page says. Without scripts it still shows everything.
const number = text => parseFloat(text.replaceAll("−", "-").replaceAll(",", ""));  // of "−0.5 ± 0.1" the first
const value = (row, column) => {
  const cell = row.cells[column], text = cell.textContent.trim();
  if (!cell.classList.contains("n")) return text;
  return Number.isNaN(number(text)) ? null : number(text);
};
const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true});
const roles = {TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell"};
for (const table of document.querySelectorAll("table")) {
  for (const one of [table, ...table.querySelectorAll("*")]) {  // they are lost where rows become cards
    const role = one.tagName === "TH" ? (one.scope === "row" ? "rowheader" : "columnheader") : roles[one.tagName];
    if (role) one.setAttribute("role", role);
  }
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map(row => [value(row, column), row]);
      // what is missing stays below, whichever way the others go
      rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : up ? compare(a, b) : compare(b, a));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
for (const input of document.querySelectorAll("input[data-filter]")) {
  const place = document.getElementById(input.dataset.filter);
  const rows = place.tBodies ? [...place.tBodies[0].rows] : [...place.children];
  const texts = rows.map(row => (place.tBodies ? row : row.firstElementChild).textContent.toLowerCase());
  const count = input.closest(".tools").querySelector("[data-count]");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every(word => texts[i].includes(word));
      shown += !row.hidden;
    });
    count.textContent = shown === rows.length ? `${shown} shown` : `${shown} of ${rows.length} shown`;
  });
}
const open = () => {  // a link to a property opens it
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (place?.tagName === "DETAILS") place.open = true;
};
addEventListener("hashchange", open);
open();
let folded = [];  // a print shows what is closed on the screen
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
const tip = document.getElementById("tip");
let lit = null;
const show = (mark, x, y) => {
  lit?.classList.remove("on");
  lit = mark;
  tip.hidden = !mark;
  if (!mark) return;
  mark.classList.add("on");
  tip.textContent = mark.dataset.tip ?? mark.getAttribute("aria-label");
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
};
for (const plot of document.querySelectorAll("svg.plot")) {
  const marks = [...plot.querySelectorAll("[data-tip],[aria-label]")];
  const find = event => {
    if (marks.includes(event.target)) return event.target;
    const near = {mark: null, distance: 16};  // pixels: a finger finds the nearest mark
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const distance = Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2);
      if (distance < near.distance) Object.assign(near, {mark, distance});
    }
    return near.mark;
  };
  for (const kind of ["pointermove", "pointerdown"]) {
    plot.addEventListener(kind, event => show(find(event), event.clientX, event.clientY));
  }
  plot.addEventListener("pointerleave", () => show(null));
}
