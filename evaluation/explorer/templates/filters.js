// Colours of values, and which structures meet what is asked.
const WORDS = [[0, 114, 178], [213, 94, 0], [0, 146, 108], [204, 121, 167], [176, 134, 0], [86, 160, 210], [120, 85, 190], [150, 75, 50], [90, 130, 40]];
const REST = [135, 140, 146];
const SEQUENCE = [[86, 52, 148], [65, 84, 160], [42, 120, 142], [34, 168, 132], [122, 209, 81], [233, 217, 50]];
const AROUND = [[0, 92, 170], [90, 160, 215], [170, 172, 175], [235, 150, 80], [190, 70, 0]];

function between(stops, t) {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
  return stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * f));
}
function signed(value) { return between(AROUND, (value + 1) / 2); }

// How a column's values become colours: {of(value), low, high, css}; words have one of their own each.
function scaleOf(column, values) {
  if (column.labels.length) return {of: v => v < WORDS.length ? WORDS[v] : REST};
  const known = Float32Array.from(values.filter(Number.isFinite)).sort();
  let low = known.length ? known[Math.floor(0.01 * (known.length - 1))] : 0, high = known.length ? known[Math.ceil(0.99 * (known.length - 1))] : 1;
  if (column.centred) { high = Math.max(Math.abs(low), Math.abs(high)) || 1; low = -high; }
  if (low === high) high = low + 1;
  const stops = column.centred ? AROUND : SEQUENCE;
  return {of: v => between(stops, (v - low) / (high - low)), low, high, css: `linear-gradient(90deg,${stops.map(c => `rgb(${c})`).join()})`};
}

class Filters {
  constructor(data, changed) {
    this.data = data; this.changed = changed; this.ranges = []; this.off = new Set(); this.area = null;
    for (const id of ["find", "with", "without", "only"]) $(id).addEventListener("input", changed);
    $("filters").addEventListener("submit", event => event.preventDefault());
    $("addRange").addEventListener("click", () => this.addRange());
    $("clear").addEventListener("click", () => this.clear());
  }

  clear() {
    for (const id of ["find", "with", "without", "only"]) $(id).value = "";
    $("ranges").replaceChildren(); this.ranges = []; this.off.clear(); this.area = null; this.changed();
  }

  addRange() {
    const box = make("div"), select = make("select"), low = make("input"), high = make("input"), drop = make("button", "Remove");
    fillColumns(select, this.data.columns.filter(c => !c.labels.length));
    select.setAttribute("aria-label", "Column of the range");
    for (const [input, text] of [[low, "from"], [high, "to"]]) { input.inputMode = "decimal"; input.placeholder = text; input.setAttribute("aria-label", text); input.addEventListener("input", this.changed); }
    drop.type = "button";
    const range = {select, low, high};
    select.addEventListener("change", this.changed);
    drop.addEventListener("click", () => { box.remove(); this.ranges.splice(this.ranges.indexOf(range), 1); this.changed(); });
    box.append(select, low, high, drop); $("ranges").append(box); this.ranges.push(range); select.focus();
  }

  elements(id, wrong) {
    const found = [];
    for (const word of $(id).value.split(/[^A-Za-z]+/).filter(Boolean)) {
      const z = this.data.symbols.findIndex(s => s.toLowerCase() === word.toLowerCase());
      if (z > 0) found.push(z); else wrong.push(`${word} is no element`);
    }
    return found;
  }

  // One byte a structure: whether it meets everything but the area that was selected.
  passed(colour) {
    const {n, names, entries, formulas, masks} = this.data, wrong = [], passed = new Uint8Array(n).fill(1);
    const text = $("find").value.trim().toLowerCase();
    const all = maskOf(this.elements("with", wrong)), none = maskOf(this.elements("without", wrong)), only = this.elements("only", wrong), allowed = maskOf(only);
    const bounds = this.ranges.map(({select, low, high}) => {
      const [a, b] = [low, high].map(input => { const t = input.value.trim().replace("−", "-").replace(",", "."); const v = t === "" ? NaN : Number(t); if (t !== "" && t !== "-" && Number.isNaN(v)) wrong.push(`${t} is no number`); return v; });
      return {values: this.data.column(select.value).values, a: Number.isNaN(a) ? -Infinity : a, b: Number.isNaN(b) ? Infinity : b, on: !Number.isNaN(a) || !Number.isNaN(b)};
    }).filter(r => r.on);
    for (let i = 0; i < n; i++) {
      let ok = true;
      for (let k = 0; ok && k < 4; k++) {
        const own = masks[4 * i + k];
        ok = (own & all[k]) === all[k] && !(own & none[k]) && (!only.length || !(own & ~allowed[k]));
      }
      for (const r of bounds) ok = ok && r.values[i] >= r.a && r.values[i] <= r.b;
      if (ok && colour.labels.length && this.off.size) ok = !this.off.has(colour.values[i]);
      if (ok && text) ok = names[i].toLowerCase().includes(text) || formulas[i].toLowerCase().includes(text) || entries[i].toLowerCase().includes(text);
      passed[i] = ok ? 1 : 0;
    }
    $("wrong").textContent = wrong.join("; ");
    return passed;
  }
}

function maskOf(numbers) { const mask = new Int32Array(4); for (const z of numbers) mask[z >> 5] |= 1 << (z & 31); return mask; }
