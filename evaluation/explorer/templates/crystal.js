// One crystal in 3D: its cell, atoms with those on the cell's faces drawn on both sides, and bonds, by 3Dmol.
class CrystalView {
  constructor(place) { this.place = place; this.viewer = null; }

  ready() {
    if (!this.viewer && globalThis.$3Dmol)
      this.viewer = $3Dmol.createViewer(this.place, {backgroundAlpha: 0, backgroundColor: "white", orthographic: true, disableFog: true, antialias: true});
    if (this.viewer && !this.watched) {
      this.watched = new ResizeObserver(() => { if (this.place.clientWidth) this.viewer.resize(); }); this.watched.observe(this.place);
      const canvas = this.place.querySelector("canvas");
      if (canvas) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", "The crystal in 3D"); }
    }
    return this.viewer;
  }

  empty() { this.viewer.removeAllModels(); this.viewer.removeAllShapes(); }
  clear() { if (this.viewer) { this.empty(); this.viewer.render(); } }

  // crystal: {cell (9), numbers (n), coords (3 n)}; shares (n) or null; repeat: cells each way.
  draw(crystal, symbols, shares, repeat, filling) {
    const viewer = this.ready();
    if (!viewer) return false;
    this.empty();
    const atoms = this.atoms(crystal, repeat), cell = crystal.cell;
    const text = [String(atoms.length), ""];
    for (const [i, a, b, c] of atoms) text.push([symbols[crystal.numbers[i]], ...along(cell, a, b, c).map(v => v.toFixed(5))].join(" "));
    const model = viewer.addModel(text.join("\n"), "xyz", {assignBonds: true, keepH: true});
    const shade = shares && shareColours(shares), own = {};
    if (shade) own.colorfunc = atom => shade(shares[atoms[atom.index ?? atom.serial][0]]);
    else own.colorscheme = "Jmol";
    model.setStyle({}, filling ? {sphere: own} : {sphere: {...own, scale: 0.28}, stick: {...own, radius: 0.1}});
    this.outline(cell);
    viewer.zoomTo({model});  // draws once, as do turning and rendering: no more of them than needed
    if (!this.turned) { viewer.rotate(-75, "x"); viewer.rotate(-12, "y"); viewer.rotate(6, "x"); this.turned = true; }
    viewer.render();
    return true;
  }

  // Every atom of the cells, and those on a face, edge or corner again at the other side; [which, a, b, c].
  atoms(crystal, repeat) {
    const n = crystal.numbers.length, most = 4000, found = [];
    const times = n * repeat ** 3 > most ? 1 : repeat, edge = 1e-3;
    for (let i = 0; i < n; i++) {
      const at = [0, 1, 2].map(k => { const v = crystal.coords[3 * i + k]; return v > 1 - edge ? v - 1 : v; });
      const steps = at.map(v => Array.from({length: times + (Math.abs(v) < edge ? 1 : 0)}, (_, k) => v + k));
      for (const a of steps[0]) for (const b of steps[1]) for (const c of steps[2]) found.push([i, a, b, c]);
    }
    return found;
  }

  outline(cell) {
    const ink = getComputedStyle(this.place).getPropertyValue("--muted").trim(), corners = [0, 1].flatMap(a => [0, 1].flatMap(b => [0, 1].map(c => [a, b, c])));
    for (const p of corners) for (let k = 0; k < 3; k++) {
      if (p[k]) continue;
      const q = [...p]; q[k] = 1;
      this.viewer.addLine({start: point(along(cell, ...p)), end: point(along(cell, ...q)), color: ink});
    }
  }
}

function point([x, y, z]) { return {x, y, z}; }

function along(cell, a, b, c) { return [0, 1, 2].map(k => a * cell[k] + b * cell[3 + k] + c * cell[6 + k]); }

// Blue below, grey at and orange above nothing; the largest share of the structure is the deepest.
function shareColours(shares) {
  const most = Math.max(...shares.map(Math.abs)) || 1;
  return value => { const [r, g, b] = signed(value / most); return (r << 16) | (g << 8) | b; };
}
