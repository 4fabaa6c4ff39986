/* Chapter 5: one unit T = tanh(wX) or max(0, wX) of a standard normal X, and what three rulers say that it keeps.

In bins, p_j = Φ(g(b_{j+1})/w) − Φ(g(b_j)/w) with g = atanh or the identity, and H = −Σ p_j log2 p_j (what t2v.plane's
binned_information counts for many inputs). Exact: 4,096 equally likely inputs, and how many of their outputs differ.
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const LOW = 0.05, HIGH = 50, FEWEST = 2, MOST = 64, N = 4096, FAR = 4; // its range: what inputs up to ±4 reach

  /** The normal distribution function (Marsaglia's series), tabled; between the knots a cubic that also has its slopes, to 1e-11. */
  const END = 7, KNOT = 0.01, slope = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const knots = Array.from({ length: END / KNOT + 2 }, (_, i) => {
    const x = i * KNOT;
    let term = x, sum = x;
    for (let k = 3; term > 1e-17; k += 2) { term *= (x * x) / k; sum += term; }
    return [0.5 + sum * slope(x), slope(x) * KNOT];
  });
  function phi(x) {
    if (x < 0) return 1 - phi(-x);
    if (x >= END) return 1;
    const i = Math.floor(x / KNOT), u = x / KNOT - i, [a, c] = knots[i], [b, d] = knots[i + 1];
    return a + u * (c + u * (3 * (b - a) - 2 * c - d + u * (2 * (a - b) + c + d)));
  }

  function quantile(p) {
    let x = 0;
    for (let i = 0; i < 60; i++) {
      const step = (p - phi(x)) / slope(x);
      x += clamp(step, -0.5, 0.5);
      if (Math.abs(step) < 1e-12) break;
    }
    return x;
  }

  const entropy = (p) => p.reduce((sum, v) => (v > 0 ? sum - v * Math.log2(v) : sum), 0);
  const inputs = Float64Array.from({ length: N }, (_, i) => (i < N / 2 ? 0 : quantile((i + 0.5) / N)));
  for (let i = 0; i < N / 2; i++) inputs[i] = -inputs[N - 1 - i];
  const shares = Array.from({ length: MOST + 1 }, () => null); // the inputs that divide the normal into K equal shares
  const equal = (bins) => (shares[bins] ||= Array.from({ length: bins - 1 }, (_, j) => quantile((j + 1) / bins)));

  /** Inner edges of the bins, as values of T and as the inputs that reach them. */
  function edges({ unit, ruler, w, bins }) {
    const tanh = unit === "tanh", back = (t) => (tanh ? Math.atanh(t) : t) / w, out = (x) => (tanh ? Math.tanh(w * x) : w * x);
    if (ruler === "shares") {
      const x = equal(bins).filter((v) => tanh || v > 0 || Math.abs(v) < 1e-9);
      return { x, t: x.map(out) };
    }
    const from = tanh ? -1 : 0, top = out(FAR);
    const [low, high] = ruler === "own" ? [tanh ? -top : 0, top] : [from, 1];
    const width = ruler === "own" ? (high - low) / bins : 2 / bins; // a ReLU gets the width of the tanh's bins, as many as it needs
    const count = tanh || ruler === "own" ? bins : Math.ceil((6.5 * w) / width);
    const t = Array.from({ length: count - 1 }, (_, j) => low + (j + 1) * width).filter((v) => !tanh || Math.abs(v) < 1);
    return { x: t.map(back), t };
  }

  function probabilities(x) {
    const levels = [0, ...x.map(phi), 1];
    return levels.slice(1).map((v, j) => Math.max(0, v - levels[j]));
  }

  /** Entropy of which outputs can be told apart. The inputs are sorted and units never fall, so equal outputs are neighbours. */
  function told(value) {
    let total = 0, run = 0, before = NaN;
    for (let i = 0; i <= N; i++) {
      const now = i < N ? value(inputs[i]) : NaN;
      if (now === before) { run++; continue; }
      if (run) total -= (run / N) * Math.log2(run / N);
      run = 1;
      before = now;
    }
    return total;
  }

  const curves = new Map(); // bits in bins against the weight: the same while only the weight moves
  function curve({ unit, ruler, bins }) {
    const key = `${unit} ${ruler} ${bins}`;
    if (!curves.has(key)) {
      curves.set(key, Array.from({ length: 46 }, (_, i) => {
        const w = LOW * (HIGH / LOW) ** (i / 45);
        return [w, entropy(probabilities(edges({ unit, ruler, bins, w }).x))];
      }));
    }
    if (curves.size > 40) curves.delete(curves.keys().next().value);
    return curves.get(key);
  }

  function compute({ w, bins, unit, ruler }) {
    const cut = edges({ unit, ruler, w, bins }), p = probabilities(cut.x), tanh = unit === "tanh";
    // On paper: log(1 − |T|) in the place of T, which does not run out of digits near ±1.
    const paper = tanh ? (x) => Math.sign(x) * (2 * w * Math.abs(x) + Math.log1p(Math.exp(-2 * w * Math.abs(x)))) : (x) => Math.max(0, w * x);
    const single = tanh ? (x) => Math.fround(Math.tanh(w * x)) : (x) => Math.fround(Math.max(0, w * x));
    return { edges: cut, p, bits: entropy(p), exact: told(paper), single: told(single), curve: curve({ unit, ruler, bins }), used: p.filter((v) => v > 0.001).length };
  }

  // --- the picture ---

  /** The unit: bins across, the bell of inputs under it cut where the bins cut it, and how full each bin is. */
  function machine(s, r, x0, width, tall) {
    const tanh = s.unit === "tanh", top = tanh ? 1 : FAR * s.w, low = tanh ? -1 : 0, side = Math.min(84, width * 0.22);
    const room = { x: x0 + 34, y: 40, width: width - 34 - side - 14, height: tall };
    const ticks = tanh ? [-1, 0, 1] : [0, round(top / 2, top < 1 ? 2 : 1), round(top, top < 1 ? 2 : 1)];
    const pad = 0.04 * (top - low);
    const axes = t2vKit.plane({ ...room, domain: [[-FAR, FAR], [low - pad, top + pad]], ticks: [[], ticks], names: ["", "output T"] });
    const { px, py } = axes, bell = (x) => Math.exp((-x * x) / 2), base = room.y + tall + 78, rise = 66;
    const f = (x) => (tanh ? Math.tanh(s.w * x) : Math.max(0, s.w * x));
    const cutX = [-FAR, ...r.edges.x.map((x) => clamp(x, -FAR, FAR)), FAR], cutT = [low, ...r.edges.t.map((t) => clamp(t, low, top)), top];
    const right = room.x + room.width + 12, fullest = Math.max(...r.p), fine = room.height / r.edges.t.length < 2;
    const pieces = [[], []], bars = [[], []];
    for (let j = 0; j < r.p.length; j++) {
      const [a, b] = [cutX[j], cutX[j + 1]], steps = Math.max(1, Math.ceil((b - a) * 6));
      if (px(b) - px(a) > 0.15) {
        const roof = Array.from({ length: steps + 1 }, (_, i) => { const x = a + ((b - a) * i) / steps; return [px(x), base - rise * bell(x)]; });
        pieces[j % 2].push(`${path([[px(a), base], ...roof, [px(b), base]])}Z`);
      }
      const y = py(cutT[j + 1]), high = py(cutT[j]) - y, long = (r.p[j] / fullest) * side;
      if (long > 0.2 && high > 0) bars[j % 2].push(`M${round(right, 1)} ${round(y, 1)}h${round(long, 1)}v${round(Math.max(high, 0.6), 2)}h${round(-long, 1)}Z`);
    }
    const line = Array.from({ length: 161 }, (_, i) => { const x = -FAR + (FAR * i) / 80; return [px(x), py(f(x))]; });
    return [
      axes.nodes,
      fine ? h("rect", { class: "x-card", x: room.x, y: room.y, width: room.width, height: tall })
        : h("path", { class: "x-hair", d: r.edges.t.filter((t) => t > low && t < top).map((t) => `M${room.x} ${round(py(t), 1)}h${room.width}`).join("") }),
      bars.map((d, i) => h("path", { class: i ? "x-c6" : "x-c1", d: d.join("") })),
      pieces.map((d, i) => h("path", { class: i ? "x-c6" : "x-c1", d: d.join("") })),
      h("path", { class: "x-axis", d: `M${room.x} ${base}h${room.width}` }),
      h("path", { class: "x-s2", "stroke-width": 2.75, d: path(line) }),
      text(right, room.y - 12, "share", { class: "x-soft" }),
      text(room.x + room.width, base + 18, "input X, cut by the bins", { class: "x-soft", "text-anchor": "end" }),
    ];
  }

  function draw(s, r, v) {
    const wide = !v.narrow, tall = wide ? 200 : 160, across = wide ? Math.round(v.width * 0.52) : v.width;
    const foot = 40 + tall + 78;
    const plot = { x: wide ? across + 50 : 34, y: wide ? 40 : foot + 66, width: (wide ? v.width - across : v.width) - (wide ? 58 : 44), height: wide ? tall + 78 : 190,
      domain: [[Math.log(LOW), Math.log(HIGH)], [0, 12.6]] };
    const axes = t2vKit.plane({ ...plot, ticks: [[], [0, 2, 4, 6, 8, 10, 12]], names: ["weight w (logarithmic)", "bits about the input"] });
    const { px, py } = axes, x = px(Math.log(s.w)), end = plot.x + plot.width;
    const most = s.unit === "tanh" || s.ruler !== "fixed" ? Math.log2(s.bins) : null;
    const picture = [
      machine(s, r, 0, across, tall),
      axes.nodes,
      [0.1, 1, 10].map((w) => text(px(Math.log(w)), plot.y + plot.height + 17, w, { class: "x-soft x-small", "text-anchor": "middle" })),
      most && h("path", { class: "x-dash", d: `M${plot.x} ${round(py(most), 1)}H${end}` }),
      most && text(plot.x + 4, py(most) - 6, `${s.bins} full bins: ${most.toFixed(1)}`, { class: "x-soft x-small x-halo" }),
      h("path", { class: "x-s3", "stroke-width": 2.5, d: `M${plot.x} ${round(py(r.exact), 1)}H${end}` }),
      text(end, py(r.exact) + (s.unit === "tanh" ? 18 : -8), "exact: what differs still differs", { class: "x-small x-halo", "text-anchor": "end" }),
      h("path", { class: "x-line", d: path(r.curve.map(([w, b]) => [px(Math.log(w)), py(b)])) }),
      h("path", { class: "x-hair", d: `M${round(x, 1)} ${plot.y}v${plot.height}` }),
      h("circle", { class: "x-c3", cx: round(x, 1), cy: round(py(r.exact), 1), r: 5 }),
      text(end, py(r.curve.at(-1)[1]) + (s.unit === "tanh" ? -10 : 36), "in bins", { class: "x-accent x-small x-halo", "text-anchor": "end" }),
    ];
    const dot = t2vKit.handle({ x, y: py(r.bits), label: "weight of the unit", now: s.w, min: LOW, max: HIGH, text: `w = ${short(s.w)}`,
      drag: ([at]) => v.set({ w: Math.exp(axes.toX(at)) }), step: (dx, dy) => v.set({ w: s.w * 1.08 ** clamp(dx + dy, -200, 200) }) });
    return { height: wide ? foot + 44 : plot.y + plot.height + 44, picture, handles: [dot] };
  }

  // --- the figure ---

  const short = (w) => (w < 1 ? w.toFixed(2) : w.toPrecision(3));
  const UNITS = [["tanh", "tanh"], ["relu", "ReLU"]], RULERS = [["fixed", "of one width"], ["own", "over its own range"], ["shares", "equally full"]];
  t2vKit.define("one_ruler", {
    title: "One unit, its output cut into bins, and the bits in the bins against its weight",
    prompt: "Drag the dot to larger weights: the bits in the bins rise, then fall. Then change the ruler.",
    settings: { w: 4, bins: 30, unit: "tanh", ruler: "fixed" },
    sane: ({ w, bins, unit, ruler }) => ({ w: clamp(w, LOW, HIGH), bins: clamp(Math.round(bins), FEWEST, MOST),
      unit: UNITS.some(([u]) => u === unit) ? unit : "tanh", ruler: RULERS.some(([u]) => u === ruler) ? ruler : "fixed" }),
    compute,
    draw,
    numbers: (s, r) => [
      ["in bins", `${r.bits.toFixed(2)} bits`],
      ["exact, on paper", `${r.exact.toFixed(2)} bits`],
      ["exact, in 32-bit floats", `${r.single.toFixed(2)} bits`],
    ],
    controls: ({ w, bins, unit, ruler }, r, v) => [
      t2vKit.range({ label: "Weight w", value: w, min: LOW, max: HIGH, scale: "log", text: short(w), set: (value) => v.set({ w: value }) }),
      t2vKit.range({ label: "Number of bins", value: bins, min: FEWEST, max: MOST, step: 1, text: String(bins), set: (value) => v.set({ bins: Math.round(value) }) }),
      t2vKit.row(
        t2vKit.choice({ label: "Unit", name: "one_ruler_unit", options: UNITS, value: unit, set: (value) => v.set({ unit: value }) }),
        t2vKit.choice({ label: "Bins", name: "one_ruler_ruler", options: RULERS, value: ruler, set: (value) => v.set({ ruler: value }) }),
      ),
    ],
    say({ w, unit, ruler }, r) {
      const peak = r.curve.reduce((best, point) => (point[1] > best[1] ? point : best)), least = Math.min(...r.curve.map(([, b]) => b));
      const now = `At w = ${short(w)} the bins hold ${r.bits.toFixed(2)} bits; the outputs themselves tell ${r.exact.toFixed(2)} of the 12 bits that name one of 4,096 inputs, at every weight.`;
      const half = unit === "relu" ? " (A ReLU makes one of all negative inputs, however small w is.)" : "";
      const lost = r.single < r.exact - 0.005 ? ` Rounded to 32-bit floats it is ${r.single.toFixed(2)}: a number format is a ruler too.` : "";
      if (peak[1] - least < 0.01) return `${now}${half} By this ruler the weight changes nothing.${lost}`;
      const falls = peak[1] - r.curve.at(-1)[1] > 0.01;
      const way = !falls ? "By this ruler the bits only rise with w." : w > peak[0] * 1.1 ? `Since w ≈ ${short(peak[0])} they have fallen by ${(peak[1] - r.bits).toFixed(2)}: “compression” of the ruler’s making.` : "They still rise, or stand at the top.";
      return `${now}${half} ${way}${lost}`;
    },
  });
})();
