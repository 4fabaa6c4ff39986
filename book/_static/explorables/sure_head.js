/* Chapter 8: a head is fitted to two clouds of images, and the Fisher information of what lies below it comes and goes.

An image has eight features x; filter k passes w_k·x_k on, with w_k = 1; the head gives label 1 the probability
p = 1/(1 + exp(−v·(w∘x) − b)). It is fitted as t2v.embedding.fit_head does: mean cross-entropy + λ/2 of the squared norm
of both classes' weights (for two classes λ/4·|v|²), features centred and scaled to unit mean square. Then
F_k = E[(∂ log p/∂w_k)²] = v_k²·E[x_k² p(1−p)] (t2v.fisher), on the images of the fit and on others of the same clouds.
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const D = 8, OWN = 12, NEW = 100, SHOWN = 26, LOW = -4, HIGH = 0, STEP = 0.25;

  /** Offsets of the images from the centre of their class, which stands in the first two features. */
  function offsets(seed, count) {
    const random = t2vKit.random(seed), rows = [];
    for (let i = 0; i < 2 * count; i++) {
      rows.push(Array.from({ length: D }, () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())));
    }
    return rows;
  }
  const images = (rows, a, b) => rows.map((row, i) => row.map((x, k) => (k < 2 ? x + (i < rows.length / 2 ? a : b)[k] : x)));

  function solve(matrix, right) {
    const n = right.length, m = matrix.map((row, i) => [...row, right[i]]);
    for (let c = 0; c < n; c++) { // positive definite: no pivoting
      for (let r = c + 1; r < n; r++) {
        const f = m[r][c] / m[c][c];
        for (let k = c; k <= n; k++) m[r][k] -= f * m[c][k];
      }
    }
    const x = new Array(n).fill(0);
    for (let r = n - 1; r >= 0; r--) x[r] = (m[r][n] - m[r].slice(r + 1, n).reduce((sum, v, k) => sum + v * x[r + 1 + k], 0)) / m[r][r];
    return x;
  }

  const logit = (t, row) => row.reduce((sum, x, k) => sum + x * t[k], t[D]);

  /** Newton's method on the penalised cross-entropy of standardised images z, with labels 0 (first half) and 1. */
  function fit(z, lambda, start) {
    const n = z.length, y = (i) => (i < n / 2 ? 0 : 1);
    const loss = (t) => z.reduce((sum, row, i) => {
      const u = logit(t, row) * (y(i) ? -1 : 1);
      return sum + (Math.max(u, 0) + Math.log1p(Math.exp(-Math.abs(u)))) / n;
    }, 0) + (lambda / 4) * t.slice(0, D).reduce((sum, w) => sum + w * w, 0);
    let t = [...start], now = loss(t);
    for (let round = 0; round < 60; round++) {
      const g = t.map((w, k) => (k < D ? (lambda / 2) * w : 0)), H = t.map((_, j) => t.map((__, k) => (j === k ? (j < D ? lambda / 2 : 1e-12) : 0)));
      z.forEach((row, i) => {
        const p = 1 / (1 + Math.exp(-logit(t, row))), q = (p * (1 - p)) / n;
        for (let j = 0; j <= D; j++) {
          const xj = j < D ? row[j] : 1;
          g[j] += ((p - y(i)) * xj) / n;
          for (let k = 0; k <= D; k++) H[j][k] += q * xj * (k < D ? row[k] : 1);
        }
      });
      const step = solve(H, g), gain = step.reduce((sum, s, k) => sum + s * g[k], 0);
      if (gain < 1e-13) break;
      for (let size = 1; size > 1e-6; size /= 2) {
        const next = t.map((w, k) => w - size * step[k]), value = loss(next);
        if (value <= now - 1e-4 * size * gain) { t = next; now = value; break; }
      }
    }
    return t;
  }

  /** F_k of each filter, and how sure the head is of the right label on average. */
  function judge(x, v, b) {
    const f = new Array(D).fill(0);
    let right = 0;
    x.forEach((row, i) => {
      const p = 1 / (1 + Math.exp(-row.reduce((sum, value, k) => sum + value * v[k], b))), q = (p * (1 - p)) / x.length;
      for (let k = 0; k < D; k++) f[k] += v[k] * v[k] * row[k] * row[k] * q;
      right += (i < x.length / 2 ? 1 - p : p) / x.length;
    });
    return { f, total: f.reduce((sum, value) => sum + value, 0), right };
  }

  function compute({ a, b, power, seed }) {
    const own = images(offsets(2 * seed, OWN), a, b), fresh = images(offsets(2 * seed + 1, NEW), a, b);
    const centre = Array.from({ length: D }, (_, k) => own.reduce((sum, row) => sum + row[k], 0) / own.length);
    const scale = Math.sqrt(own.reduce((sum, row) => sum + row.reduce((s, x, k) => s + (x - centre[k]) ** 2, 0), 0) / own.length);
    const z = own.map((row) => row.map((x, k) => (x - centre[k]) / scale)), curve = [];
    let t = new Array(D + 1).fill(0), here = null;
    for (let at = HIGH; at >= LOW - 1e-9; at -= STEP) { // from a tight leash to a loose one: each fit starts at the last
      const visit = (where) => {
        t = fit(z, 10 ** where, t);
        const v = t.slice(0, D).map((w) => w / scale), bias = t[D] - v.reduce((sum, w, k) => sum + w * centre[k], 0);
        return { v, bias, own: judge(own, v, bias), fresh: judge(fresh, v, bias) };
      };
      if (!here && power > at + 1e-9) here = visit(power);
      const found = visit(at);
      curve.push([at, found.own.total, found.fresh.total]);
      if (!here && Math.abs(at - power) <= 1e-9) here = found;
    }
    return { images: { own, fresh }, own: here.own, fresh: here.fresh, v: here.v, bias: here.bias, curve };
  }

  // --- the picture ---

  const plain = (power) => { const value = 10 ** power; return value >= 1 ? String(round(value, 1)) : value.toFixed(Math.ceil(-power - 1e-9) + (Number.isInteger(power) ? 0 : 1)); };
  const small = (value) => (value >= 9.995 ? value.toPrecision(3) : value.toFixed(value < 0.0995 ? 3 : 2));
  const TOP = 1.5, FULL = 0.4;

  function draw(s, r, v) {
    const wide = !v.narrow, side = wide ? Math.min(300, v.width * 0.42) : Math.min(290, v.width - 44), top = 40;
    const left = { x: 30, y: top, width: side, height: side * 0.86 };
    const right = wide ? { x: left.x + side + 62, y: top, width: v.width - side - 100, height: left.height } : { x: 40, y: top + left.height + 86, width: v.width - 48, height: 150 };
    const below = { x: 44, y: right.y + right.height + 90, width: v.width - 52, height: wide ? 150 : 170 };
    const data = t2vKit.plane({ ...left, domain: [[-4, 4], [-3.44, 3.44]], ticks: [[-2, 0, 2], [-2, 0, 2]], names: ["feature 1", "feature 2"] });
    const bars = t2vKit.plane({ ...right, domain: [[0, D], [0, FULL]], ticks: [[], [0, 0.1, 0.2, 0.3, 0.4]], names: ["filter", "Fisher information F"] });
    const leash = t2vKit.plane({ ...below, domain: [[LOW, HIGH], [0, TOP]], ticks: [[-4, -3, -2, -1], [0, 0.5, 1, 1.5]], names: ["λ: how short the leash of the head is", "F of all filters"],
      format: (t) => (t < 0 ? plain(t) : String(t)) });
    const cell = right.width / D, width = cell * 0.34, base = right.y + right.height;
    const bar = (k, i, value) => [h("rect", { key: `b${i}${k}`, class: i ? "x-c5" : "x-c3", x: round(right.x + cell * (k + 0.5) + (i ? 1 : -width - 1), 1), y: round(bars.py(Math.min(value, FULL)), 1), width: round(width, 1), height: round(base - bars.py(Math.min(value, FULL)), 1) }),
      value > FULL && text(right.x + cell * (k + 0.5) + (i ? 1 + width / 2 : -width / 2 - 1), right.y + 13, "↑", { class: "x-bold", "text-anchor": "middle" })];
    const spot = (row, i, count, solid) => {
      const [x, y] = [data.px(row[0]), data.py(row[1])], second = i >= count;
      if (x < left.x + 4 || x > left.x + side - 4 || y < left.y + 4 || y > left.y + left.height - 4) return null;
      if (!solid) return h("circle", { class: second ? "x-s2" : "x-s1", cx: round(x, 1), cy: round(y, 1), r: 3, "stroke-width": 1, opacity: 0.6 });
      return second ? h("circle", { class: "x-c2 x-edge", cx: round(x, 1), cy: round(y, 1), r: 6 }) : h("rect", { class: "x-c1 x-edge", x: round(x - 5, 1), y: round(y - 5, 1), width: 10, height: 10, rx: 1.5 });
    };
    const some = r.images.fresh.filter((_, i) => i % NEW < SHOWN);
    // the line p = 1/2 in the plane of the first two features, the others being 0
    const [p, q] = r.v, norm = Math.hypot(p, q), foot = [(-r.bias * p) / norm ** 2, (-r.bias * q) / norm ** 2], along = [(-q / norm) * 12, (p / norm) * 12];
    const inside = (box, plane, points) => points.map(([x, y]) => [plane.px(x) - box.x, plane.py(y) - box.y]);
    const line = inside(left, data, [1, -1].map((sign) => [foot[0] + sign * along[0], foot[1] + sign * along[1]]));
    const level = (value) => leash.py(Math.min(value, TOP)), trace = (i) => path(inside(below, leash, r.curve.map((row) => [row[0], row[i]])));
    const here = leash.px(s.power), foots = below.y + below.height + 60;
    const key = (i, mark, words) => { const x = wide ? 44 + i * 215 : 8, y = foots + (wide ? 0 : 21 * i); return h("g", {}, mark(x, y), text(x + 22, y, words, { class: "x-soft" })); };
    const square = (colour) => (x, y) => h("rect", { class: colour, x, y: y - 11, width: 13, height: 13, rx: 2 });
    const picture = [
      data.nodes, bars.nodes, leash.nodes, text(leash.px(HIGH), below.y + below.height + 17, "1", { class: "x-soft x-small", "text-anchor": "middle" }),
      norm > 1e-9 && h("svg", { x: left.x, y: left.y, width: left.width, height: left.height }, h("path", { class: "x-dash", d: path(line) })),
      some.map((row, i) => spot(row, i, SHOWN, false)), r.images.own.map((row, i) => spot(row, i, OWN, true)),
      r.own.f.map((value, k) => bar(k, 0, value)), r.fresh.f.map((value, k) => bar(k, 1, value)),
      r.own.f.map((_, k) => text(right.x + cell * (k + 0.5), base + 17, k + 1, { class: "x-soft x-small", "text-anchor": "middle" })),
      h("svg", { x: below.x, y: below.y, width: below.width, height: below.height }, h("path", { class: "x-s5", "stroke-width": 2.75, d: trace(2), "stroke-dasharray": "7 4" }), h("path", { class: "x-s3", "stroke-width": 2.75, d: trace(1) })),
      h("path", { class: "x-thin", d: `M${round(here, 1)} ${below.y}v${below.height}` }), h("circle", { class: "x-c5 x-edge", cx: round(here, 1), cy: round(level(r.fresh.total), 1), r: 5 }),
      key(0, square("x-c3"), "on the images of the fit"), key(1, square("x-c5"), "on new images"),
      key(2, (x, y) => h("circle", { class: "x-s1", cx: x + 7, cy: y - 4, r: 3, "stroke-width": 1 }), "a new image"),
    ];
    const put = (name, x, y) => v.set({ [name]: [round(clamp(x, -3.5, 3.5), 2), round(clamp(y, -3, 3), 2)] });
    const centre = (name, label, colour) => t2vKit.handle({
      label, x: data.px(s[name][0]), y: data.py(s[name][1]), now: s[name][0], min: -3.5, max: 3.5, text: `at ${s[name][0].toFixed(2)} and ${s[name][1].toFixed(2)}`,
      drag: ([x, y]) => put(name, data.toX(x), data.toY(y)), step: (dx, dy) => put(name, s[name][0] + 0.1 * clamp(dx, -70, 70), s[name][1] + 0.1 * clamp(dy, -60, 60)),
      shape: [h("circle", { class: "x-ring", r: 17 }), h("circle", { class: "x-edge x-halo", r: 11 }), h("circle", { class: `${colour} x-edge`, r: 11 }), h("path", { class: "x-halo", "stroke-width": 2, d: "M-5 0h10M0 -5v10" })],
    });
    const handles = [centre("a", "centre of the first cloud", "x-c1"), centre("b", "centre of the second cloud", "x-c2"),
      t2vKit.handle({ label: "regularisation of the head", x: here, y: level(r.own.total), now: s.power, min: LOW, max: HIGH, text: `λ = ${plain(s.power)}: Fisher information ${small(r.own.total)} on the images of the fit, ${small(r.fresh.total)} on new ones`,
        drag: ([x]) => v.set({ power: leash.toX(x) }), step: (dx, dy) => v.set({ power: s.power + 0.05 * clamp(dx + dy, -200, 200) }) })];
    return { height: foots + (wide ? 14 : 56), picture, handles };
  }

  // --- the figure ---

  const first = { a: [-1.3, -0.3], b: [1.3, 0.3], power: -3, seed: 1 };
  t2vKit.define("sure_head", {
    title: "Two clouds of images, the Fisher information of eight filters below a head, and its course with the regularisation",
    prompt: "Drag the clouds apart: when the head is sure, the bars go. Then loosen the leash λ, and compare old images with new.",
    settings: first,
    sane({ a, b, power, seed }) {
      const whole = (c, other) => (c.length === 2 ? [clamp(c[0], -3.5, 3.5), clamp(c[1], -3, 3)] : other);
      return { a: whole(a, first.a), b: whole(b, first.b), power: round(clamp(Math.round(power * 20) / 20, LOW, HIGH), 2), seed: clamp(Math.round(seed), 0, 9999) };
    },
    compute,
    draw,
    numbers: (s, r) => [["F on the images of the fit", small(r.own.total)], ["F on new images", small(r.fresh.total)], ["mean probability of the right label", `${r.own.right.toFixed(2)} and ${r.fresh.right.toFixed(2)}`]],
    controls: (s, r, v) => [
      t2vKit.range({ label: "λ", value: s.power, min: LOW, max: HIGH, step: 0.05, text: plain(s.power), set: (power) => v.set({ power }) }),
      t2vKit.row(
        t2vKit.button({ label: "An easy task", action: () => v.set({ a: [-2.4, -0.7], b: [2.4, 0.7] }) }),
        t2vKit.button({ label: "A hard one", action: () => v.set({ a: [-0.4, -0.1], b: [0.4, 0.1] }) }),
        t2vKit.button({ label: "Draw other images", action: () => v.set({ seed: (s.seed + 1) % 10000 }) }),
      ),
    ],
    say(s, r) {
      const peak = (i) => r.curve.reduce((best, row) => (row[i] > best[i] ? row : best));
      const [own, fresh] = [peak(1), peak(2)], where = (row) => (row[0] < LOW + 0.01 ? "at the loosest leash" : `at λ = ${plain(row[0])}`);
      return `At λ = ${plain(s.power)} the head gives the right label a probability of ${r.own.right.toFixed(2)}, on average, on the ${2 * OWN} images it was fitted to, and ${r.fresh.right.toFixed(2)} on new ones. ` +
        `The Fisher information of all filters is ${small(r.own.total)} and ${small(r.fresh.total)}; along λ it is largest ${where(own)} on the images of the fit, ${where(fresh)} on new ones.`;
    },
  });
})();
