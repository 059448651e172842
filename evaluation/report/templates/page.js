"use strict";
// Sorting, filtering and tooltips; without scripts the page still shows everything.
const value = (row, column) => {
  const cell = row.cells[column];
  return "v" in cell.dataset ? (cell.dataset.v === "" ? null : Number(cell.dataset.v)) : cell.textContent.trim();
};
const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true});
for (const table of document.querySelectorAll("table")) {
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
for (const input of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const count = document.querySelector(`[data-count="${input.dataset.table}"]`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  });
}
const open = () => {  // a link to a target opens it
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (place?.tagName === "DETAILS") place.open = true;
};
addEventListener("hashchange", open);
open();
const tip = document.getElementById("tip");
let lit = null;
const show = (mark, x, y) => {
  lit?.classList.remove("on");
  lit = mark;
  tip.hidden = !mark;
  if (!mark) return;
  mark.classList.add("on");
  tip.textContent = mark.getAttribute("aria-label");
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
};
for (const plot of document.querySelectorAll("svg.plot")) {
  const marks = [...plot.querySelectorAll("[aria-label]")];
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
