// What bench/explorer.py asks of the page of a map; evaluated in it by the DevTools protocol.
window.bench = {
  frame: () => new Promise(done => requestAnimationFrame(() => done(true))),

  box: where => { const b = document.querySelector(where).getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; },

  // Collects, for every click on the map, the milliseconds until the frame after its crystal was drawn.
  clock() {
    window.took = [];
    let began = 0;
    document.getElementById("axes").addEventListener("pointerup", () => { began = performance.now(); }, true);
    new MutationObserver(() => requestAnimationFrame(() => { if (began) took.push(performance.now() - began); began = 0; }))
      .observe(document.documentElement, {attributes: true, attributeFilter: ["data-drawn"]});
  },

  // Places on the screen of some points that are shown, spread over the data set.
  spots(count) {
    const s = strataMap.scatter, [left, top] = bench.box("#axes"), found = [];
    for (let k = 1; found.length < count && k < 4000; k++) {
      const i = (k * 7919 + 13) % s.n, x = s.toX(s.x[i]), y = s.toY(s.y[i]);
      if (s.state[i] === 2 && Number.isFinite(x) && Number.isFinite(y)) found.push([left + x, top + y]);
    }
    return found;
  },

  // What lies outside of the window, or of its table.
  clipped() {
    const wide = document.documentElement.clientWidth, page = document.documentElement.scrollWidth, found = [];
    if (page > wide) found.push(`the page is ${page} px wide`);
    for (const one of document.querySelectorAll("th, td, button, select, input, dd, dt, h1, h2, h3, p, .scroll")) {
      const box = one.getBoundingClientRect();
      if (box.width && (box.right > wide + 1 || box.left < -1)) found.push(`${one.tagName} ${one.textContent.slice(0, 40)}`);
    }
    for (const one of document.querySelectorAll(".scroll")) if (one.scrollWidth > one.clientWidth + 1) found.push(`a table of ${one.scrollWidth} in ${one.clientWidth} px`);
    return found;
  },

  // Findings of axe-core, which must have been evaluated before, of the two gravest kinds.
  async serious() {
    const {violations} = await axe.run(document, {resultTypes: ["violations"]});
    return violations.filter(v => ["serious", "critical"].includes(v.impact)).map(v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 90)).join(" ")}`);
  },
};
