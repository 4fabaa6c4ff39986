/* Chapter 6: three coins (p(heads) 0.2, 0.5, 0.8), six tosses D, seven weights w that guess p(heads).

The learner draws w from q(w|D) ∝ p(w) q(D|w)^{1/β} (t2v.world.gibbs); with the prior that is its own marginal it minimises
loss + β I(D;W) (t2v.world.solve). All 2⁶ data sets are summed over: those with equally many heads are alike, so 7 classes.
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const M = 6, COINS = [0.2, 0.5, 0.8], GUESSES = [0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.98], W = GUESSES.length, LOW = 0.05, HIGH = 5;
  const classes = [...Array(M + 1).keys()], many = [1, 6, 15, 20, 15, 6, 1];
  const chance = (p, k) => p ** k * (1 - p) ** (M - k); // of one data set with k heads
  const given = COINS.map((p) => classes.map((k) => many[k] * chance(p, k))), pk = classes.map((k) => given.reduce((sum, row) => sum + row[k] / 3, 0));
  const logs = classes.map((k) => GUESSES.map((g) => k * Math.log(g) + (M - k) * Math.log(1 - g)));
  const THREE = GUESSES.map((g) => (COINS.includes(g) ? 1 / 3 : 0)), FLAT = GUESSES.map(() => 1 / W);

  const entropy = (p) => p.reduce((sum, v) => (v > 0 ? sum - v * Math.log2(v) : sum), 0);
  const sum = (list, f) => list.reduce((total, v, i) => total + f(v, i), 0);
  const mix = (weights, rows) => rows[0].map((_, j) => sum(weights, (w, i) => w * rows[i][j]));
  /** I between row and column when rows have these weights. */
  const shared = (weights, rows) => Math.max(0, entropy(mix(weights, rows)) - sum(weights, (w, i) => w * entropy(rows[i])));

  const powers = (beta) => logs.map((row) => { const top = Math.max(...row); return row.map((v) => Math.exp((v - top) / beta)); });
  /** q(w|D) for each number of heads. */
  function learn(beta, prior, power = powers(beta)) {
    return power.map((row, k) => {
      let z = sum(row, (v, w) => v * prior[w]);
      if (z > 0) return row.map((v, w) => (v * prior[w]) / z);
      const scores = prior.map((p, w) => (p > 0 ? logs[k][w] / beta + Math.log(p) : -Infinity)), top = Math.max(...scores); // very cheap, and far from the prior
      z = sum(scores, (v) => Math.exp(v - top));
      return scores.map((v) => Math.exp(v - top) / z);
    });
  }

  const fits = new Map();
  /** The prior that is the learner's own marginal (Blahut–Arimoto in strides: SQUAREM; one that leads up is not taken). */
  function fit(beta) {
    if (fits.has(beta)) return fits.get(beta);
    const power = powers(beta), value = (p) => -sum(power, (row, k) => pk[k] * Math.log(sum(row, (v, w) => v * p[w])));
    const next = (p) => {
      const out = new Array(W).fill(0);
      for (let k = 0; k <= M; k++) {
        let z = 0;
        for (let w = 0; w < W; w++) z += power[k][w] * p[w];
        for (let w = 0; w < W; w++) out[w] += (pk[k] * power[k][w] * p[w]) / z;
      }
      return out;
    };
    const settle = (p) => {
      for (let i = 0, moved = 1; i < 3000 && moved > 1e-12; i++) {
        const one = next(p), two = next(one), r = one.map((v, w) => v - p[w]), c = two.map((v, w) => v - one[w] - r[w]);
        moved = Math.max(...r.map(Math.abs));
        const cc = sum(c, (v) => v * v), a = cc > 0 ? Math.max(1, Math.sqrt(sum(r, (v) => v * v) / cc)) : 1;
        const far = p.map((v, w) => Math.max(v + 2 * a * r[w] + a * a * c[w], two[w] * 1e-3)), total = sum(far, (v) => v), there = far.map((v) => v / total);
        p = a > 1 && value(there) <= value(two) ? next(there) : two;
      }
      return p;
    };
    let p = settle(FLAT);
    if (p.some((v) => v > 1e-9 && v < 0.01)) { // weights that leave ever more slowly (at β = 1): try without them
      const few = settle(p.map((v) => (v < 0.01 ? 0 : v)));
      if (value(few) <= value(p) + 1e-13) p = few;
    }
    if (fits.size > 300) fits.delete(fits.keys().next().value);
    fits.set(beta, p);
    return p;
  }

  /** Losses a toss, in bits: on the tosses seen, on a new one, and on a new one when all weights are averaged. */
  function losses(q) {
    const bits = (g, heads) => -heads * Math.log2(g) - (1 - heads) * Math.log2(1 - g);
    let train = 0, drawn = 0, average = 0;
    for (const k of classes) {
      const said = sum(q[k], (v, w) => v * GUESSES[w]);
      train += pk[k] * sum(q[k], (v, w) => v * bits(GUESSES[w], k / M));
      COINS.forEach((p, t) => {
        const mass = given[t][k] / 3;
        drawn += mass * sum(q[k], (v, w) => v * bits(GUESSES[w], p));
        average += mass * bits(said, p);
      });
    }
    return { train, drawn, average };
  }

  const STEPS = [...Array.from({ length: 18 }, (_, i) => LOW * 20 ** (i / 18)), 1, ...Array.from({ length: 10 }, (_, i) => 5 ** ((i + 1) / 10))];
  const swept = new Map(); // losses at all prices: the same while only the price moves
  function sweep(fitted, prior) {
    const key = fitted ? "fitted" : prior.join();
    if (!swept.has(key)) swept.set(key, STEPS.map((beta) => ({ beta, ...losses(learn(beta, fitted ? fit(beta) : prior)) })));
    if (swept.size > 40) swept.delete([...swept.keys()].find((k) => k !== "fitted"));
    return swept.get(key);
  }

  /** Area that two discs share, and the distance at which they share a given one. */
  function lens(a, b, d) {
    if (d >= a + b) return 0;
    if (d <= Math.abs(a - b)) return Math.PI * Math.min(a, b) ** 2;
    const half = (r, s) => { const u = Math.acos(clamp((d * d + r * r - s * s) / (2 * d * r), -1, 1)); return r * r * (u - Math.sin(2 * u) / 2); };
    return half(a, b) + half(b, a);
  }
  function apart(a, b, area) {
    let low = Math.abs(a - b), high = a + b;
    for (let i = 0; i < 50; i++) { const middle = (low + high) / 2; if (lens(a, b, middle) > area) low = middle; else high = middle; }
    return (low + high) / 2;
  }

  /** Discs [x, y, radius] with entropies as areas; the pairs overlap by their mutual information. */
  function discs(size, both) {
    const r = Object.fromEntries(Object.entries(size).map(([n, v]) => [n, Math.sqrt(Math.max(v, 0) / Math.PI)]));
    const td = apart(r.t, r.d, both.td), dw = apart(r.d, r.w, both.dw), tw = apart(r.t, r.w, both.tw);
    const turn = Math.acos(clamp((td * td + dw * dw - tw * tw) / Math.max(2 * td * dw, 1e-12), -1, 1));
    return { d: [0, 0, r.d], t: [-td, 0, r.t], w: [-dw * Math.cos(turn), -dw * Math.sin(turn), r.w] };
  }

  function compute({ beta, fitted, prior }) {
    const used = fitted ? fit(beta) : prior, q = learn(beta, used), third = [1 / 3, 1 / 3, 1 / 3];
    const stored = shared(pk, q), learned = shared(third, given.map((row) => mix(row, q)));
    const memorised = sum(given, (row) => shared(row, q)) / 3, about = shared(third, given);
    const hT = Math.log2(3), hD = entropy(pk) + sum(pk, (p, k) => p * Math.log2(many[k])), hW = entropy(mix(pk, q));
    const regions = { t: hT - about, d: hD - about - memorised, w: hW - stored, td: about - learned, tw: 0, dw: memorised, tdw: learned };
    const curve = sweep(fitted, prior), turn = curve.reduce((best, one) => (one.average < best.average - 1e-9 ? one : best));
    return { prior: used, posterior: q, stored, learned, memorised, regions, ...losses(q), curve, turn: turn.beta,
      discs: discs({ t: hT, d: hD, w: hW }, { td: about, dw: stored, tw: learned }) };
  }

  // --- the picture ---

  function venn(r, x0, y0, width, height) {
    const scale = Math.min(width / 4.6, height / 3.5), cx = x0 + width * 0.56, cy = y0 + height * 0.6;
    const put = ([x, y]) => [round(cx + x * scale, 1), round(cy + y * scale, 1)];
    const look = { d: ["x-c1", "x-s1", "D: six tosses"], t: ["x-c2", "x-s2", "θ: the coin"], w: ["x-c3", "x-s3", "W: the weight"] };
    const { d, t, w } = r.discs;
    const discsDrawn = Object.entries(look).map(([n, [fill, stroke]]) => {
      const [x, y] = put(r.discs[n]), radius = round(r.discs[n][2] * scale, 1);
      return h("g", { key: n }, h("circle", { class: fill, "fill-opacity": 0.22, cx: x, cy: y, r: radius }), h("circle", { class: stroke, "stroke-width": 2, cx: x, cy: y, r: radius }));
    });
    const bottom = put([d[0], d[2]]), left = put([t[0] - t[2], t[1] + t[2]]), top = put([w[0], w[1] - w[2]]);
    return [
      discsDrawn,
      text(bottom[0] + 20, bottom[1] - 14, look.d[2], { class: "x-bold x-halo", "text-anchor": "middle" }),
      text(Math.max(x0, left[0] - 6), left[1] + 17, look.t[2], { class: "x-bold x-halo" }),
      w[2] > 0.02 && text(Math.max(top[0], x0 + 150), Math.max(top[1] - 7, 12), look.w[2], { class: "x-bold x-halo", "text-anchor": "middle" }),
      marks(r).map(([key, [x, y]]) => text(put([x, y])[0], put([x, y])[1] + 4, r.regions[key].toFixed(2), { class: "x-small x-halo", "text-anchor": "middle" })),
    ];
  }

  /** A place for the number of each region: the mean of its points on a grid. */
  function marks(r) {
    const found = {}, { t, d, w } = r.discs, step = 0.06;
    const inside = ([a, b, radius], x, y) => (x - a) ** 2 + (y - b) ** 2 < (radius - 0.02) ** 2;
    for (let x = -2.6; x < 1.6; x += step) {
      for (let y = -2.6; y < 1.6; y += step) {
        const key = (inside(t, x, y) ? "t" : "") + (inside(d, x, y) ? "d" : "") + (inside(w, x, y) ? "w" : "");
        if (!key) continue;
        const one = (found[key] ||= [0, 0, 0]);
        one[0] += x; one[1] += y; one[2]++;
      }
    }
    return Object.entries(found).filter(([key, [, , n]]) => n > 22 && r.regions[key] > 0.03).map(([key, [x, y, n]]) => [key, [x / n, y / n]]);
  }

  /** The prior as bars to drag, and under it q(w|D) for each number of heads. */
  function table(s, r, v, x0, y0, width) {
    const left = x0 + 62, cell = (width - 62) / W, bars = 74, row = 21, base = y0 + 26 + bars, top = base + 46;
    const level = (p) => base - p * bars, middle = (w) => left + cell * (w + 0.5);
    const put = (w, wanted) => {
      const p = round(clamp(wanted, 0, 0.98), 4), rest = 1 - r.prior[w];
      v.set({ fitted: 0, prior: r.prior.map((old, i) => (i === w ? p : rest > 1e-9 ? (old * (1 - p)) / rest : (1 - p) / (W - 1))) });
    };
    const nodes = [
      text(x0, y0 + 12, "prior p(w): drag a bar", { class: "x-soft" }),
      h("path", { class: "x-axis", d: `M${round(left, 1)} ${base}h${round(cell * W, 1)}` }),
      r.prior.map((p, w) => h("rect", { class: "x-c3", x: round(middle(w) - cell * 0.3, 1), y: round(level(p), 1), width: round(cell * 0.6, 1), height: round(p * bars, 1), rx: 2 })),
      GUESSES.map((g, w) => text(middle(w), base + 16, g, { class: "x-small x-bold", "text-anchor": "middle" })),
      text(x0, base + 16, "weight w", { class: "x-soft x-small" }),
      text(x0, top - 8, "q(w|D) after so many heads", { class: "x-soft x-small" }),
      r.posterior.map((q, k) => h("g", { key: k },
        text(x0, top + row * k + 15, k === 1 ? "1 head" : `${k} heads`, { class: "x-small x-soft" }),
        q.map((p, w) => [
          h("rect", { class: "x-card", x: round(left + cell * w + 1, 1), y: top + row * k + 1, width: round(cell - 2, 1), height: row - 2, rx: 3 }),
          h("rect", { class: "x-c3", "fill-opacity": round(0.55 * p, 3), x: round(left + cell * w + 1, 1), y: top + row * k + 1, width: round(cell - 2, 1), height: row - 2, rx: 3 }),
          p > 0.005 && text(middle(w), top + row * k + 15, p > 0.995 ? "1" : p.toFixed(2).slice(1), { class: "x-small", "text-anchor": "middle" }),
        ]))),
    ];
    const handles = r.prior.map((p, w) => t2vKit.handle({ key: `w${w}`, label: `prior of weight ${GUESSES[w]}`, x: middle(w), y: level(p), now: p, min: 0, max: 0.98, text: p.toFixed(2), radius: 6,
      drag: ([, y]) => put(w, (base - y) / bars), step: (dx, dy) => put(w, p + 0.02 * clamp(dx + dy, -60, 60)) }));
    return { nodes, handles, height: top + row * (M + 1) };
  }

  const LINES = [["train", "x-s1", "tosses seen", "2 4"], ["drawn", "x-s2", "new toss, a drawn weight", "7 4"], ["average", "x-line", "new toss, all weights averaged", ""]];

  function lossPlot(s, r, v, y0) {
    const plot = { x: 40, y: y0 + 34, width: v.width - 50, height: 150, domain: [[Math.log(LOW), Math.log(HIGH)], [0.65, 1.15]] };
    const axes = t2vKit.plane({ ...plot, ticks: [[], [0.7, 0.8, 0.9, 1, 1.1]], names: ["price β of a bit in the weights", "bits lost a toss"] });
    const { px, py } = axes, base = plot.y + plot.height, at = px(Math.log(s.beta)), best = r.curve.find((one) => one.beta === r.turn);
    const inner = (points) => path(points.map(([x, y]) => [x - plot.x, y - plot.y]));
    const nodes = [
      axes.nodes,
      [0.1, 0.3, 1, 3].map((b) => text(px(Math.log(b)), base + 17, b, { class: "x-soft x-small", "text-anchor": "middle" })),
      h("path", { class: "x-dash", d: `M${round(px(Math.log(r.turn)), 1)} ${plot.y}v${plot.height}` }),
      h("svg", { x: plot.x, y: plot.y, width: plot.width, height: plot.height },
        LINES.map(([key, colour, , dash]) => h("path", { class: colour, "stroke-width": 2.5, "stroke-dasharray": dash || null, d: inner(r.curve.map((one) => [px(Math.log(one.beta)), py(one[key])])) }))),
      best.average < 1.15 && h("circle", { class: "x-dot", cx: round(px(Math.log(best.beta)), 1), cy: round(py(best.average), 1), r: 4 }),
      text(clamp(px(Math.log(r.turn)) + 6, plot.x, plot.x + plot.width - 96), plot.y + 12, "least averaged", { class: "x-soft x-small x-halo" }),
    ];
    const foot = base + 56;
    nodes.push(LINES.map(([, colour, words, dash], i) => {
      const [x, y] = v.narrow ? [0, foot + 20 * i] : [[0, 145, 390][i], foot];
      return h("g", {}, h("path", { class: colour, "stroke-width": 2.5, "stroke-dasharray": dash || null, d: `M${x} ${y - 4}h28` }), text(x + 35, y, words, { class: "x-soft" }));
    }));
    const handle = t2vKit.handle({ key: "beta", label: "price of a bit", x: at, y: clamp(py(r.average), plot.y, base), now: s.beta, min: LOW, max: HIGH, text: `β = ${s.beta.toFixed(2)}`,
      drag: ([x]) => v.set({ beta: Math.exp(axes.toX(x)) }), step: (dx, dy) => v.set({ beta: s.beta * 1.06 ** clamp(dx + dy, -200, 200) }) });
    return { nodes, handle, height: foot + (v.narrow ? 50 : 10) };
  }

  function draw(s, r, v) {
    const wide = !v.narrow, across = wide ? Math.round(v.width * 0.46) : v.width;
    const set = table(s, r, v, wide ? across + 12 : 0, wide ? 0 : 282, wide ? v.width - across - 12 : v.width);
    const under = lossPlot(s, r, v, set.height + 14);
    return { height: under.height, picture: [venn(r, 0, 0, across, wide ? 290 : 262), set.nodes, under.nodes], handles: [under.handle, ...set.handles] };
  }

  // --- the figure ---

  const same = (a, b) => a.every((v, i) => Math.abs(v - b[i]) < 1e-3);
  t2vKit.define("coin_weights", {
    title: "What a weight knows about a coin and about six tosses, as areas; its prior and posterior; and the loss against the price",
    prompt: "Make bits in the weights cheaper: drag the dot to the left. What do they buy first, and what then?",
    settings: { beta: 1, fitted: 0, prior: THREE },
    sane({ beta, fitted, prior }) {
      const kept = prior.length === W ? prior.map((p) => clamp(p, 0, 1)) : THREE, total = sum(kept, (p) => p);
      return { beta: clamp(beta, LOW, HIGH), fitted: fitted ? 1 : 0, prior: total > 1e-6 ? kept.map((p) => p / total) : THREE };
    },
    compute,
    draw,
    numbers: (s, r) => [["about the coin", r.learned], ["about these tosses only", r.memorised], ["new toss, averaged", r.average]].map(([name, v]) => [name, `${v.toFixed(3)} bits`]),
    controls: ({ beta, fitted, prior }, r, v) => [
      t2vKit.range({ label: "Price β", value: beta, min: LOW, max: HIGH, scale: "log", text: beta.toFixed(2), set: (value) => v.set({ beta: value }) }),
      t2vKit.row(
        t2vKit.button({ label: "Prior: the three coins", pressed: !fitted && same(prior, THREE), action: () => v.set({ fitted: 0, prior: THREE }) }),
        t2vKit.button({ label: "all alike", pressed: !fitted && same(prior, FLAT), action: () => v.set({ fitted: 0, prior: FLAT }) }),
        t2vKit.button({ label: "fitted to each price", pressed: Boolean(fitted), action: () => v.set({ fitted: 1 }) }),
      ),
    ],
    say({ beta, fitted, prior }, r) {
      const part = r.stored > 0.005 ? `the weights hold ${r.stored.toFixed(2)} bits of the tosses: ${r.learned.toFixed(2)} about the coin, ${r.memorised.toFixed(2)} about these tosses only` : "the weights hold nothing of the tosses";
      const where = r.turn === LOW || r.turn === STEPS.at(-1) ? "is least at the edge of this picture" : `is least near β = ${r.turn.toFixed(2)}`;
      const which = fitted ? "With the prior fitted to each price" : same(prior, THREE) ? "With the prior from which the coins are really drawn" : "With this prior";
      return `At price β = ${beta.toFixed(2)} ${part}. ${which}, the averaged loss on a new toss ${where}${Math.abs(r.turn - 1) < 1e-9 ? ", which is Bayes’ rule" : ""}; on tosses seen, cheaper is never worse.`;
    },
  });
})();
