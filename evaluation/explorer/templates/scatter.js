"use strict";
// Points drawn by WebGL, axes on a second canvas above them. Panning and zooming change two uniforms, so that
// the script's part of a frame does not grow with the number of points.
const VERTEX = `
attribute vec2 place; attribute vec4 colour; attribute float state;
uniform vec2 scale, shift; uniform float size;
varying vec4 shade;
void main() {
  gl_Position = state < 0.5 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(place * scale + shift, 0.0, 1.0);
  gl_PointSize = size;
  shade = vec4(colour.rgb, state < 1.5 ? 0.08 : colour.a);
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 shade;
void main() {
  float apart = length(gl_PointCoord - 0.5);
  if (apart > 0.5) discard;
  float own = shade.a * (1.0 - smoothstep(0.42, 0.5, apart));
  gl_FragColor = vec4(shade.rgb * own, own);
}`;
const HIDDEN = 0, DIM = 1, SHOWN = 2;

class Scatter {
  constructor(points, axes) {
    this.points = points; this.axes = axes; this.pen = axes.getContext("2d");
    this.gl = points.getContext("webgl", {antialias: false, alpha: true, premultipliedAlpha: true});
    this.margin = {left: 64, right: 14, top: 12, bottom: 46};
    this.size = 5; this.n = 0; this.chosen = -1; this.ringed = []; this.box = null; this.selects = false;
    this.view = [0, 1, 0, 1]; this.home = [0, 1, 0, 1]; this.titles = ["", ""]; this.logs = [false, false];
    this.diagonal = false; this.waiting = false; this.hands = new Map();
    this.onpick = this.onhover = this.onarea = () => {};
    if (this.gl) this.prepare();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(axes);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.ask());
    this.resize();
  }

  prepare() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
    }
    gl.linkProgram(program); gl.useProgram(program);
    this.at = name => gl.getUniformLocation(program, name);
    this.buffers = {};
    for (const [name, width, type, scaled] of [["place", 2, gl.FLOAT, false], ["colour", 4, gl.UNSIGNED_BYTE, true], ["state", 1, gl.UNSIGNED_BYTE, false]]) {
      const place = gl.getAttribLocation(program, name), buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, width, type, scaled, 0, 0);
      this.buffers[name] = buffer;
    }
    gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniforms = {scale: this.at("scale"), shift: this.at("shift"), size: this.at("size")};
  }

  fill(name, data) {
    if (!this.gl) return;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.DYNAMIC_DRAW);
    this.ask();
  }

  // x, y (n): numbers, NaN where there is none. Places are kept between 0 and 1, which float32 resolves.
  place(x, y, titles, logs, square) {
    this.n = x.length; this.titles = titles; this.logs = logs; this.diagonal = square;
    this.x = logs[0] ? x.map(v => v > 0 ? Math.log10(v) : NaN) : x;
    this.y = logs[1] ? y.map(v => v > 0 ? Math.log10(v) : NaN) : y;
    let [a, b] = ends(this.x), [c, d] = ends(this.y);
    if (square) { a = c = Math.min(a, c); b = d = Math.max(b, d); }
    const wide = (b - a || 1) * 0.04, high = (d - c || 1) * 0.04;
    this.home = [a - wide, b + wide, c - high, d + high];
    this.view = [...this.home];
    const [x0, x1, y0, y1] = this.home, flat = new Float32Array(2 * this.n);
    for (let i = 0; i < this.n; i++) {
      const there = Number.isFinite(this.x[i]) && Number.isFinite(this.y[i]);
      flat[2 * i] = there ? (this.x[i] - x0) / (x1 - x0) : 9; flat[2 * i + 1] = there ? (this.y[i] - y0) / (y1 - y0) : 9;
    }
    this.flat = flat;
    this.fill("place", flat);
  }

  colours(bytes) { this.fill("colour", bytes); }
  states(bytes) { this.state = bytes; this.fill("state", bytes); }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2), width = this.axes.clientWidth, height = this.axes.clientHeight;
    if (!width || !height) return;
    this.ratio = ratio; this.width = width; this.height = height;
    this.margin.left = width < 500 ? 52 : 64;
    for (const canvas of [this.points, this.axes]) { canvas.width = width * ratio; canvas.height = height * ratio; }
    this.ask();
  }

  // Draws before the next frame; `marks` alone where only what lies above the points has changed.
  ask(marks = false) {
    if (!marks) this.stale = true;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; if (this.stale) this.draw(); else if (this.width) this.drawAxes(); });
  }

  get inner() {
    const m = this.margin;
    return [m.left, m.top, Math.max(this.width - m.left - m.right, 10), Math.max(this.height - m.top - m.bottom, 10)];
  }

  draw() {
    if (!this.width) return;
    this.stale = false;
    const [left, top, wide, high] = this.inner, [x0, x1, y0, y1] = this.view, [a, b, c, d] = this.home, gl = this.gl;
    if (gl && this.n) {
      const r = this.ratio, bottom = this.height - top - high;
      gl.viewport(left * r, bottom * r, wide * r, high * r);
      gl.enable(gl.SCISSOR_TEST); gl.scissor(left * r, bottom * r, wide * r, high * r);
      gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT);
      const sx = 2 * (b - a) / (x1 - x0), sy = 2 * (d - c) / (y1 - y0);
      gl.uniform2f(this.uniforms.scale, sx, sy);
      gl.uniform2f(this.uniforms.shift, 2 * (a - x0) / (x1 - x0) - 1, 2 * (c - y0) / (y1 - y0) - 1);
      gl.uniform1f(this.uniforms.size, this.size * r);
      gl.drawArrays(gl.POINTS, 0, this.n);
    }
    this.drawAxes();
  }

  drawAxes() {
    const pen = this.pen, [left, top, wide, high] = this.inner, style = getComputedStyle(this.axes);
    const ink = style.getPropertyValue("--ink"), muted = style.getPropertyValue("--muted"), line = style.getPropertyValue("--line");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.font = "12px system-ui, sans-serif"; pen.lineWidth = 1; pen.strokeStyle = line; pen.fillStyle = muted;
    pen.strokeRect(left + .5, top + .5, wide, high);
    pen.textAlign = "center"; pen.textBaseline = "top";
    for (const [value, text] of ticks(this.view[0], this.view[1], wide / 80, this.logs[0])) {
      const at = this.toX(value); pen.fillText(text, at, top + high + 6); pen.fillRect(at, top + high, 1, 4);
    }
    pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const [value, text] of ticks(this.view[2], this.view[3], high / 50, this.logs[1])) {
      const at = this.toY(value); pen.fillText(text, left - 7, at); pen.fillRect(left - 4, at, 4, 1);
    }
    pen.fillStyle = ink; pen.textAlign = "center"; pen.textBaseline = "bottom"; pen.font = "13px system-ui, sans-serif";
    pen.fillText(fitted(pen, this.titles[0], wide), left + wide / 2, this.height - 4);
    pen.save(); pen.translate(4, top + high / 2); pen.rotate(-Math.PI / 2); pen.textBaseline = "top";
    pen.fillText(fitted(pen, this.titles[1], high), 0, 0); pen.restore();
    pen.save(); pen.beginPath(); pen.rect(left, top, wide, high); pen.clip();
    if (this.diagonal) {
      pen.strokeStyle = muted; pen.setLineDash([5, 4]); pen.beginPath();
      const a = Math.max(this.view[0], this.view[2]), b = Math.min(this.view[1], this.view[3]);
      pen.moveTo(this.toX(a), this.toY(a)); pen.lineTo(this.toX(b), this.toY(b)); pen.stroke(); pen.setLineDash([]);
    }
    if (this.x) {
      pen.strokeStyle = ink; pen.lineWidth = 1.5;
      for (const i of this.ringed) this.ring(i, this.size / 2 + 3);
      pen.lineWidth = 2.5;
      if (this.chosen >= 0) this.ring(this.chosen, this.size / 2 + 5);
    }
    if (this.box) {
      const [p, q, s, t] = this.box; pen.strokeStyle = ink; pen.lineWidth = 1; pen.setLineDash([4, 3]);
      pen.strokeRect(Math.min(p, s), Math.min(q, t), Math.abs(s - p), Math.abs(t - q)); pen.setLineDash([]);
    }
    pen.restore();
  }

  ring(i, radius) {
    if (!Number.isFinite(this.x[i]) || !Number.isFinite(this.y[i])) return;
    this.pen.beginPath(); this.pen.arc(this.toX(this.x[i]), this.toY(this.y[i]), radius, 0, 7); this.pen.stroke();
  }

  toX(value) { const [left, , wide] = this.inner; return left + (value - this.view[0]) / (this.view[1] - this.view[0]) * wide; }
  toY(value) { const [, top, , high] = this.inner; return top + high - (value - this.view[2]) / (this.view[3] - this.view[2]) * high; }
  fromX(at) { const [left, , wide] = this.inner; return this.view[0] + (at - left) / wide * (this.view[1] - this.view[0]); }
  fromY(at) { const [, top, , high] = this.inner; return this.view[2] + (top + high - at) / high * (this.view[3] - this.view[2]); }

  // The nearest point that is shown, at most `reach` pixels away; −1: none.
  nearest(px, py, reach) {
    if (!this.n || !this.state) return -1;
    const [, , wide, high] = this.inner, [a, b, c, d] = this.home, x = (this.fromX(px) - a) / (b - a), y = (this.fromY(py) - c) / (d - c);
    const kx = wide * (b - a) / (this.view[1] - this.view[0]), ky = high * (d - c) / (this.view[3] - this.view[2]);
    let best = -1, least = reach * reach;
    for (let i = 0, flat = this.flat; i < this.n; i++) {
      const dx = (flat[2 * i] - x) * kx, dy = (flat[2 * i + 1] - y) * ky, far = dx * dx + dy * dy;
      if (far <= least && this.state[i] >= DIM) { least = far; best = i; }
    }
    return best;
  }

  inside(box) {
    const x = [this.fromX(box[0]), this.fromX(box[2])].sort((a, b) => a - b), y = [this.fromY(box[1]), this.fromY(box[3])].sort((a, b) => a - b), found = new Set();
    for (let i = 0; i < this.n; i++) if (this.x[i] >= x[0] && this.x[i] <= x[1] && this.y[i] >= y[0] && this.y[i] <= y[1]) found.add(i);
    return found;
  }

  zoom(factor, px, py) {
    const [left, top, wide, high] = this.inner, x = this.fromX(px ?? left + wide / 2), y = this.fromY(py ?? top + high / 2), v = this.view;
    const least = 1e-6 * (this.home[1] - this.home[0]);
    if (factor < 1 && v[1] - v[0] < least) return;
    this.view = [x + (v[0] - x) * factor, x + (v[1] - x) * factor, y + (v[2] - y) * factor, y + (v[3] - y) * factor];
    this.ask();
  }

  pan(dx, dy) {
    const [, , wide, high] = this.inner, v = this.view, x = dx / wide * (v[1] - v[0]), y = dy / high * (v[3] - v[2]);
    this.view = [v[0] - x, v[1] - x, v[2] + y, v[3] + y];
    this.ask();
  }

  reset() { this.view = [...this.home]; this.ask(); }

  listen() {
    const axes = this.axes, place = event => { const box = axes.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    axes.addEventListener("pointerdown", event => {
      axes.setPointerCapture(event.pointerId);
      const at = place(event); this.hands.set(event.pointerId, at); this.moved = this.hands.size > 1;
      if (this.hands.size === 1 && (this.selects || event.shiftKey)) this.box = [...at, ...at];
    });
    axes.addEventListener("pointermove", event => {
      const at = place(event), before = this.hands.get(event.pointerId);
      if (!before) { this.onhover(this.nearest(...at, 8), at); return; }
      const dx = at[0] - before[0], dy = at[1] - before[1];
      if (this.box) { this.box[2] = at[0]; this.box[3] = at[1]; this.moved = true; this.ask(true); return; }
      if (!this.moved && Math.hypot(dx, dy) < 4) return;
      this.moved = true; axes.classList.add("moves"); this.onhover(-1);
      if (this.hands.size === 2) {
        const [other] = [...this.hands].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
        const far = Math.hypot(before[0] - other[0], before[1] - other[1]), now = Math.hypot(at[0] - other[0], at[1] - other[1]);
        if (now > 5) this.zoom(far / now, (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
      } else this.pan(dx, dy);
      this.hands.set(event.pointerId, at);
    });
    const up = event => {
      const at = this.hands.get(event.pointerId);
      this.hands.delete(event.pointerId); axes.classList.remove("moves");
      if (this.box) { const box = this.box; this.box = null; this.ask(true); if (this.moved) { this.onarea(this.inside(box)); return; } }
      if (at && !this.moved && event.type === "pointerup") this.onpick(this.nearest(...place(event), event.pointerType === "touch" ? 22 : 12));
    };
    axes.addEventListener("pointerup", up); axes.addEventListener("pointercancel", up);
    axes.addEventListener("pointerleave", () => this.onhover(-1));
    axes.addEventListener("wheel", event => { event.preventDefault(); this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.003), ...place(event)); }, {passive: false});
    axes.addEventListener("dblclick", () => this.reset());
    axes.addEventListener("keydown", event => {
      const done = {ArrowLeft: () => this.pan(40, 0), ArrowRight: () => this.pan(-40, 0), ArrowUp: () => this.pan(0, 40), ArrowDown: () => this.pan(0, -40), "+": () => this.zoom(0.8), "-": () => this.zoom(1.25), "0": () => this.reset()}[event.key];
      if (done) { event.preventDefault(); done(); }
    });
  }
}

// The smallest and largest number of an array; 0 and 1 where it has none.
function ends(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  return low <= high ? [low, high] : [0, 1];
}

function ticks(low, high, most, log) {
  const raw = (high - low) / Math.max(most, 1), power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw);
  if (log && step < 1) step = Math.max(step, 0.1);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high && found.length < 60; k++) found.push([k * step, short(log ? 10 ** (k * step) : k * step, 4)]);
  return found;
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  while (text.length > 4 && pen.measureText(text + "…").width > width) text = text.slice(0, -2);
  return text + "…";
}

// A number with `digits` digits, without trailing zeros, and a true minus.
function short(value, digits = 5) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1e-12) return "0";
  const text = Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4 ? value.toExponential(digits - 1).replace(/\.?0+e\+?/, "e") : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}
