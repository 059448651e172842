function $(id) { return document.getElementById(id); }
function make(tag, text, kind) { const one = document.createElement(tag); if (text !== undefined) one.textContent = text; if (kind) one.className = kind; return one; }

function bytesOf(text) { const raw = atob(text), bytes = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i); return bytes; }
async function unpack(bytes) { return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer(); }

function fillColumns(select, columns) {
  let group = null;
  for (const column of columns) {
    if (!group || group.label !== column.group) { group = make("optgroup"); group.label = column.group; select.append(group); }
    const option = make("option", column.title); option.value = column.name; group.append(option);
  }
}

// A formula with its numbers set low, built of text nodes: nothing in it can become markup.
function setFormula(place, text) {
  place.replaceChildren();
  for (const part of text.split(/(\d+)/)) if (part) place.append(/^\d+$/.test(part) ? make("sub", part) : part);
}

async function load() {
  const about = JSON.parse($("header").textContent), n = about.n;
  const [flat, words] = await Promise.all([unpack(bytesOf($("numbers").textContent)), unpack(bytesOf($("texts").textContent))]);
  const data = {...about, ...JSON.parse(new TextDecoder().decode(words)), n};
  let at = 0;
  const inPlace = data.columns.slice().sort((a, b) => a.place - b.place);
  for (const column of inPlace) { column.values = new Float32Array(flat, at, n); at += 4 * n; }
  if (data.k) { data.near = new Int32Array(flat, at, n * data.k); at += 4 * n * data.k; data.far = new Float32Array(flat, at, n * data.k); at += 4 * n * data.k; }
  const counts = new Uint8Array(flat, at, n), elements = new Uint8Array(flat, at + n);
  data.masks = new Int32Array(4 * n);
  for (let i = 0, k = 0; i < n; i++) for (let j = 0; j < counts[i]; j++, k++) data.masks[4 * i + (elements[k] >> 5)] |= 1 << (elements[k] & 31);
  const byName = new Map(data.columns.map(c => [c.name, c]));
  data.column = name => byName.get(name);
  return data;
}

class Pieces {
  constructor(data) { this.data = data; this.kept = new Map(); }

  async crystal(i) {
    const place = Math.floor(i / this.data.piece);
    if (!this.kept.has(place)) {
      if (this.kept.size > 40) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(place, this.read(place));
    }
    return (await this.kept.get(place))[i - place * this.data.piece];
  }

  async read(place) {
    const packed = this.data.served ? new Uint8Array(await (await fetch(`pieces/${place}`)).arrayBuffer()) : bytesOf($(`piece${place}`).textContent);
    const flat = await unpack(packed), count = Math.min(this.data.piece, this.data.n - place * this.data.piece);
    const sizes = new Uint32Array(flat, 0, count), cells = new Float32Array(flat, 4 * count, 9 * count);
    const atoms = sizes.reduce((a, b) => a + b, 0), start = 40 * count, numbers = new Uint8Array(flat, start, atoms), steps = new Uint8Array(flat, start + atoms, 9 * atoms);
    const found = [];
    for (let i = 0, first = 0; i < count; first += sizes[i], i++) {
      const coords = new Float64Array(3 * sizes[i]);
      for (let k = 0; k < coords.length; k++) { const j = 3 * first + k; coords[k] = (steps[j] * 65536 + steps[3 * atoms + j] * 256 + steps[6 * atoms + j]) / this.data.steps; }
      found.push(sizes[i] ? {cell: cells.subarray(9 * i, 9 * i + 9), numbers: numbers.subarray(first, first + sizes[i]), coords} : null);
    }
    return found;
  }
}

class Page {
  constructor(data) {
    this.data = data; this.pieces = new Pieces(data); this.crystal = new CrystalView($("crystal")); this.chosen = -1; this.rows = 100;
    this.scatter = new Scatter($("points"), $("axes"));
    for (const id of ["x", "y"]) fillColumns($(id), data.columns.filter(c => !c.labels.length));
    fillColumns($("colour"), data.columns); fillColumns($("sort"), data.columns);
    $("x").value = data.x; $("y").value = data.y; $("colour").value = data.colour; $("sort").value = data.listed[0] ?? data.colour;
    $("rising").checked = data.column($("sort").value).name === "rank";
    this.filters = new Filters(data, () => this.filter());
    this.listen();
    this.axes(); this.paint();
    $("wait").hidden = true;
    if (!this.scatter.gl) { $("wait").hidden = false; $("wait").textContent = "This browser draws no WebGL: the table below has everything."; }
  }

  listen() {
    const {data} = this;
    for (const id of ["x", "y", "xlog", "ylog"]) $(id).addEventListener("change", () => this.axes());
    $("colour").addEventListener("change", () => { this.filters.off.clear(); this.paint(); });
    $("size").addEventListener("input", () => { this.scatter.size = Number($("size").value); this.scatter.ask(); });
    $("controls").addEventListener("submit", event => event.preventDefault());
    $("in").addEventListener("click", () => this.scatter.zoom(0.7)); $("out").addEventListener("click", () => this.scatter.zoom(1 / 0.7));
    $("whole").addEventListener("click", () => { this.filters.area = null; this.scatter.reset(); this.filter(); });
    $("area").addEventListener("click", () => { const on = !this.scatter.selects; this.scatter.selects = on; $("area").setAttribute("aria-pressed", on); });
    this.scatter.onpick = i => { if (i >= 0) this.choose(i); };
    this.scatter.onhover = (i, at) => this.hint(i, at);
    this.scatter.onarea = found => { this.filters.area = found.size ? found : null; this.filter(); };
    if (!data.shares.about) $("paintLabel").hidden = true; else $("paint").value = "share";
    for (const id of ["paint", "cells", "filling"]) $(id).addEventListener("change", () => this.drawCrystal());
    for (const id of ["sort", "rising"]) $(id).addEventListener("change", () => { this.rows = 100; this.table(); });
    $("more").addEventListener("click", () => { this.rows += 100; this.table(); });
    $("csv").addEventListener("click", () => this.save());
  }

  axes() {
    const x = this.data.column($("x").value), y = this.data.column($("y").value), logs = [$("xlog").checked, $("ylog").checked];
    this.scatter.place(x.values, y.values, [x.title, y.title], logs, Boolean(x.parity) && x.parity === y.parity && logs[0] === logs[1]);
    this.filters.area = null;
    this.filter();
  }

  paint() {
    const column = this.colour = this.data.column($("colour").value), scale = scaleOf(column, column.values), bytes = new Uint8Array(4 * this.data.n);
    for (let i = 0; i < this.data.n; i++) {
      const v = column.values[i], known = !Number.isNaN(v), c = known ? scale.of(v) : REST;
      bytes[4 * i] = c[0]; bytes[4 * i + 1] = c[1]; bytes[4 * i + 2] = c[2]; bytes[4 * i + 3] = known ? 215 : 70;
    }
    this.scatter.colours(bytes);
    this.legend(column, scale);
    const unknown = column.values.reduce((a, v) => a + Number.isNaN(v), 0);
    $("about").textContent = `${column.title}: ${column.about}${unknown ? ` ${unknown.toLocaleString("en")} structures have none and are pale grey.` : ""}`;
    this.filter();
  }

  legend(column, scale) {
    const place = $("legend"); place.replaceChildren();
    if (!column.labels.length) {
      const bar = make("span", undefined, "bar"); bar.style.background = scale.css;
      place.append(make("span", `${column.values.some(v => v < scale.low) ? "≤ " : ""}${short(scale.low, 3)}`), bar, make("span", `${column.values.some(v => v > scale.high) ? "≥ " : ""}${short(scale.high, 3)}`));
      return;
    }
    column.labels.slice(0, 24).forEach((label, i) => {
      const button = make("button"), dot = make("span", undefined, "dot"), text = make("bdi", label);
      button.type = "button"; button.setAttribute("aria-pressed", "true"); dot.style.background = `rgb(${scale.of(i)})`;
      button.title = "Show or hide"; button.append(dot, text);
      button.addEventListener("click", () => { const off = this.filters.off; if (!off.delete(i)) off.add(i); button.setAttribute("aria-pressed", !off.has(i)); this.filter(); });
      place.append(button);
    });
    if (column.labels.length > 24) place.append(make("span", `and ${column.labels.length - 24} more`));
  }

  filter() {
    if (!this.colour) return;
    const passed = this.filters.passed(this.colour), area = this.filters.area, states = new Uint8Array(this.data.n), listed = [];
    for (let i = 0; i < this.data.n; i++) {
      if (!passed[i]) continue;
      const within = !area || area.has(i);
      states[i] = within ? SHOWN : DIM;
      if (within) listed.push(i);
    }
    this.listed = listed; this.rows = 100;
    this.scatter.states(states);
    this.table();
  }

  sorted() {
    const values = this.data.column($("sort").value).values, sign = $("rising").checked ? 1 : -1;
    return this.listed.slice().sort((a, b) => {
      const p = values[a], q = values[b];
      return Number.isNaN(p) ? (Number.isNaN(q) ? a - b : 1) : Number.isNaN(q) ? -1 : sign * (p - q) || a - b;
    });
  }

  said(column, i) { const v = column.values[i]; return Number.isNaN(v) ? "–" : column.labels.length ? column.labels[v] : short(v); }

  table() {
    const {data} = this, columns = data.listed.map(name => data.column(name)), order = this.sorted().slice(0, this.rows);
    const sort = data.column($("sort").value); if (!columns.includes(sort)) columns.push(sort);
    $("count").textContent = `${this.listed.length.toLocaleString("en")} of ${data.n.toLocaleString("en")} structures${this.filters.area ? " (in the selected area)" : ""}`;
    const head = make("tr");
    for (const [text, kind] of [["structure"], ["formula"], ...columns.map(c => [c.title, c.labels.length ? "" : "n"])]) { const th = make("th", text, kind); th.scope = "col"; head.append(th); }
    $("head").replaceChildren(head);
    const rows = order.map(i => {
      const tr = make("tr"), th = make("th"), button = make("button", data.names[i]), formula = make("td"), text = make("span");
      th.scope = "row"; button.type = "button"; button.dir = "auto"; button.addEventListener("click", () => { this.choose(i); $("one").scrollIntoView({block: "nearest"}); });
      th.append(button); setFormula(text, data.formulas[i]); formula.append(text); formula.dataset.label = "formula"; tr.append(th, formula);
      for (const column of columns) { const td = make("td", undefined, column.labels.length ? "" : "n"); const cell = make("span", this.said(column, i)); cell.dir = "auto"; td.append(cell); td.dataset.label = column.title; tr.append(td); }
      tr.dataset.i = i; if (i === this.chosen) tr.className = "chosen";
      return tr;
    });
    $("rows").replaceChildren(...rows);
    $("more").hidden = this.listed.length <= this.rows;
  }

  hint(i, at) {
    const tip = $("tip"); tip.hidden = i < 0;
    if (i < 0) return;
    tip.textContent = `${this.data.names[i].slice(0, 80)} · ${this.data.formulas[i].slice(0, 60)} · ${this.colour.title}: ${this.said(this.colour, i).slice(0, 60)}`;
    const wide = this.scatter.width;
    tip.style.left = `${Math.min(at[0] + 14, Math.max(wide - tip.offsetWidth - 6, 0))}px`; tip.style.top = `${Math.max(at[1] - tip.offsetHeight - 8, 2)}px`;
  }

  async choose(i) {
    const {data} = this; this.chosen = i; this.scatter.chosen = i;
    $("name").textContent = data.names[i]; setFormula($("formula"), data.formulas[i]);
    this.neighbours(i); this.values(i); this.scatter.ask(true);
    for (const row of $("rows").children) row.className = Number(row.dataset.i) === i ? "chosen" : "";
    const crystal = await this.pieces.crystal(i);
    if (this.chosen !== i) return;
    this.now = crystal;
    this.drawCrystal();
    if (data.explains && data.atomShares[i] === undefined) {
      await this.sharesOf(i);
      if (this.chosen === i) this.drawCrystal();
    }
  }

  // The shares of a structure that the page does not have yet, where a server can compute them.
  async sharesOf(i) {
    const {data} = this;
    if (data.explains && data.atomShares[i] === undefined) data.atomShares[i] = await (await fetch(`shares/${i}`)).json();
  }

  drawCrystal() {
    const i = this.chosen, {data} = this, shares = data.atomShares[i] || null, paint = $("paint");
    $("tools").hidden = !this.now;
    if (!this.now) { this.crystal.clear(); $("picture").textContent = "Only a composition is known: there is no picture."; return; }
    const byShare = Boolean(shares) && paint.value === "share";
    const drawn = this.crystal.draw(this.now, data.symbols, byShare ? Array.from(shares) : null, Number($("cells").value), $("filling").checked);
    if (!drawn) { setTimeout(() => this.drawCrystal(), 60); return; }
    const picture = $("picture"); picture.replaceChildren();
    if (byShare) {
      const most = Math.max(...shares.map(Math.abs)), bar = make("div", undefined, "shares");
      bar.style.background = `linear-gradient(90deg,${AROUND.map(c => `rgb(${c})`).join()})`;
      picture.append(bar, `−${short(most, 3)} to ${short(most, 3)}${data.shares.unit}. ${data.shares.about}`);
    } else picture.textContent = `${this.now.numbers.length} atoms in the cell.${shares ? "" : data.shares.about ? ` No shares here. ${data.shares.about}` : ""}`;
    document.documentElement.dataset.drawn = i;
  }

  values(i) {
    const list = $("values"); list.replaceChildren();
    const add = (name, text) => { const dd = make("dd", text); dd.dir = "auto"; list.append(make("dt", name), dd); };
    add("records", this.data.entries[i]);
    for (const column of this.data.columns) if (column.group !== "Vectors" && !Number.isNaN(column.values[i])) add(column.title, this.said(column, i));
  }

  neighbours(i) {
    const {data} = this, list = $("near"); list.replaceChildren(); this.scatter.ringed = [];
    $("nearTitle").hidden = !data.k; if (!data.k) return;
    $("nearBy").textContent = `By the distance of ${data.nearBy}; also ringed in the map.`;
    for (let k = 0; k < data.k; k++) {
      const j = data.near[i * data.k + k]; if (j < 0) continue;
      this.scatter.ringed.push(j);
      const button = make("button"), left = make("span"), name = make("bdi", data.names[j]), formula = make("span");
      setFormula(formula, data.formulas[j]); left.append(name, " · ", formula); button.type = "button";
      button.append(left, make("span", `${short(data.far[i * data.k + k], 3)} · ${this.said(this.colour, j).slice(0, 40)}`, "near2"));
      button.addEventListener("click", () => this.choose(j));
      const item = make("li"); item.append(button); list.append(item);
    }
  }

  save() {
    const {data} = this, cell = text => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const plain = (c, i) => { const v = c.values[i]; return Number.isNaN(v) ? "" : c.labels.length ? c.labels[v] : String(Number(v.toPrecision(7))); };
    const lines = [["structure", "formula", "records", ...data.columns.map(c => c.title)].map(cell).join(",")];
    for (const i of this.sorted()) lines.push([data.names[i], data.formulas[i], data.entries[i], ...data.columns.map(c => plain(c, i))].map(cell).join(","));
    const link = make("a"); link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], {type: "text/csv"})); link.download = "structures.csv";
    link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}

load().then(data => {
  globalThis.strataMap = new Page(data);
  performance.mark("strata-ready"); document.documentElement.dataset.ready = "1";
  setTimeout(() => {  // the first click finds the viewer made, and a crystal shown
    if (strataMap.chosen < 0 && strataMap.listed.length) strataMap.choose(strataMap.sorted()[0]);
  }, 100);
}).catch(error => { $("wait").textContent = `The page could not be read: ${error.message}`; throw error; });
