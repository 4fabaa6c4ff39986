/* Chapter 2: fair coins as hypotheses, the worst of their gaps, and what the bound of a finite class promises.

Each of |H| hypotheses errs on each of m samples like a fair coin, independently; its gap is |errors/m − ½|. The bound
ε = √((ln|H| + ln 2/δ)/2m) fails if the worst gap exceeds it: with probability 1 − (1 − P)^|H| exactly, P the binomial tail
(t2v.bounds.pac and .violation_probability, two-sided). A draw takes the worst gap from that exact distribution, which is
what |H|·m coins would give: so |H| may be as large as that of a network. Levels j = 0, 1, …: gap (m/2 − j)/m.
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const BITS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 3000, 10000, 30000, 100000, 300000, 1000000, 3200000];
  const SAMPLES = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000];
  const DELTAS = [0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001], MOST = 3000, REACH = 0.6;

  const nearest = (list, value) => list.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(list[best] - value) ? i : best), 0);
  const epsilon = (bits, m, delta) => Math.sqrt((bits * Math.LN2 + Math.log(2 / delta)) / (2 * m));

  /** log P(one gap ≥ that of level j), for j = 0 (every label right, or every one wrong) to floor(m/2). */
  function tails(m) {
    const found = [];
    let term = -m * Math.LN2, sum = term;
    for (let j = 0; j <= Math.floor(m / 2); j++) {
      found.push(2 * j === m ? 0 : Math.min(0, Math.LN2 + sum));
      term += Math.log((m - j) / (j + 1));
      sum = Math.max(sum, term) + Math.log1p(Math.exp(-Math.abs(sum - term)));
    }
    return found;
  }

  /** P(the worst of 2^bits gaps ≥ that of a level), in logarithms: 2^bits may have a million digits. */
  function worstAtLeast(tail, bits) {
    const one = tail < -30 ? tail : Math.log(-Math.log1p(-Math.exp(tail))); // log of −log(1 − P)
    return tail === 0 ? 1 : -Math.expm1(-Math.exp(Math.min(bits * Math.LN2 + one, 700)));
  }

  const mean = (m, tail, bits) => ((m % 2) / 2 + tail.reduce((sum, t, j) => sum + (2 * j + 1 < m ? worstAtLeast(t, bits) : 0), 0)) / m;

  function compute({ m, bits, delta, draws, seed }) {
    const tail = tails(m), at = tail.map((t) => worstAtLeast(t, bits)), eps = epsilon(bits, m, delta);
    const last = Math.ceil(m * (0.5 - eps) - 1e-9) - 1; // the highest level whose gap exceeds ε
    const random = t2vKit.random(seed), worst = [];
    for (let i = 0; i < draws; i++) {
      const u = random();
      let low = 0, high = at.length - 1;
      while (low < high) { const half = (low + high) >> 1; if (u < at[half]) high = half; else low = half + 1; }
      worst.push((m / 2 - low) / m);
    }
    return { epsilon: eps, exact: last < 0 ? 0 : at[last], failed: worst.filter((w) => w > eps + 1e-12).length, worst, mean: mean(m, tail, bits), at,
      curve: BITS.map((b) => [b, epsilon(b, m, delta), mean(m, tail, b)]) };
  }

  // --- the picture ---

  const many = (value) => value.toLocaleString("en-GB");
  const raised = (value) => String(value).replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
  const size = (bits) => (bits <= 20 ? many(2 ** bits) : `2${raised(bits)}`);
  const per = (p) => (p === 0 ? "0 %" : p < 1e-4 ? "below 0.01 %" : `${(100 * p).toPrecision(2).replace(/\.0$/, "")} %`);
  const short = (value) => (value < 1 ? value.toFixed(3) : value.toPrecision(3));
  /** Each bar holds the same number of levels, counted from the largest gap. */
  function bars(s, r, plot) {
    const each = Math.ceil(0.0125 * s.m), count = Math.ceil(r.at.length / each), zeros = () => new Array(count).fill(0);
    const good = zeros(), bad = zeros(), exact = zeros(), bin = (gap) => Math.floor(Math.round(s.m / 2 - gap * s.m) / each);
    for (const w of r.worst) (w > r.epsilon + 1e-12 ? bad : good)[bin(w)]++;
    r.at.forEach((p, j) => { exact[Math.floor(j / each)] += (p - (j ? r.at[j - 1] : 0)) * s.draws; });
    const top = Math.max(4, ...good.map((g, i) => Math.max(g + bad[i], exact[i])));
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((t) => top / t <= 5) || 2000, high = top * 1.15;
    const axes = t2vKit.plane({ ...plot, domain: [[0, REACH], [0, high]], ticks: [[0, 0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, 2, 3, 4, 5].map((t) => t * step).filter((t) => t <= high)],
      names: ["worst gap of all hypotheses", "draws"] });
    const edge = (i) => axes.px(Math.max(0, 0.5 + (0.5 - i * each) / s.m)); // the right one; bars go leftwards
    const rect = (i, from, to, colour) => to > from && h("rect", { key: `${colour}${i}`, class: colour, x: round(edge(i + 1) + 0.5, 1), y: round(axes.py(to), 1),
      width: round(Math.max(1, edge(i) - edge(i + 1) - 1), 1), height: round(axes.py(from) - axes.py(to), 1) });
    return { axes, nodes: [axes.nodes, good.map((g, i) => rect(i, 0, g, "x-c1")), bad.map((b, i) => rect(i, good[i], good[i] + b, "x-c2")),
      s.draws > 0 && h("path", { class: "x-thin", d: exact.map((e, i) => `${i ? "L" : "M"}${round(edge(i), 1)} ${round(axes.py(e), 1)}H${round(edge(i + 1), 1)}`).join("") })] };
  }

  function draw(s, r, v) {
    const wide = !v.narrow, width = wide ? v.width * 0.5 - 44 : v.width - 44, tall = wide ? 220 : 180, top = 44;
    const left = { x: 36, y: top, width, height: tall }, right = { x: wide ? v.width - width - 8 : 36, y: wide ? top : top + tall + 86, width, height: tall };
    const { axes, nodes } = bars(s, r, left), along = (bits) => Math.log10(1 + bits), limit = along(BITS[BITS.length - 1]);
    const names = ["0", "1", "10", "100", "10³", "10⁴", "10⁵", "10⁶"], places = [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6].map(along);
    const curve = t2vKit.plane({ ...right, domain: [[0, limit], [0, 1.05]], ticks: [places, [0, 0.5, 1]], names: ["log₂ |H|: bits that name a hypothesis", "gap"],
      format: (t) => (places.indexOf(t) > 0 && t !== 1 ? names[places.indexOf(t)] : String(t)) });
    const inside = (i) => path(r.curve.map((row) => [curve.px(along(row[0])) - right.x, curve.py(Math.min(row[i], 9)) - right.y]));
    const off = r.epsilon > REACH, x = axes.px(Math.min(r.epsilon, REACH)), cx = curve.px(along(s.bits)), cy = curve.py(Math.min(r.epsilon, 1.05));
    const side = r.epsilon > 0.36 ? "end" : "start", lost = r.epsilon > 1.05;
    const foot = right.y + tall + 60, key = (i, colour, words) => {
      const place = wide ? [[36, foot], [36 + v.width * 0.24, foot], [right.x, foot], [right.x + width * 0.5, foot]][i] : [[36, foot], [36 + v.width * 0.5, foot], [36, foot + 20], [36 + v.width * 0.5, foot + 20]][i];
      return h("g", {}, i < 2 ? h("rect", { class: colour, x: place[0], y: place[1] - 10, width: 12, height: 12, rx: 2 }) : h("path", { class: colour, "stroke-width": 2.5, d: `M${place[0]} ${place[1] - 4}h22` }),
        text(place[0] + (i < 2 ? 18 : 28), place[1], words, { class: "x-soft x-small" }));
    };
    const picture = [
      nodes, h("path", { class: "x-s2", "stroke-width": 2.5, "stroke-dasharray": off ? "3 4" : null, d: `M${round(x, 1)} ${left.y}v${tall}` }),
      text(x + (side === "end" ? -14 : 14), left.y + 14, off ? `ε = ${short(r.epsilon)} →` : `ε = ${short(r.epsilon)}`, { class: "x-bold x-halo", "text-anchor": side }),
      curve.nodes, h("path", { class: "x-dash", d: `M${right.x} ${round(curve.py(0.5), 1)}h${right.width}` }),
      text(right.x + width, curve.py(0.5) + 17, "no gap of a coin is larger", { class: "x-soft x-small x-halo", "text-anchor": "end" }),
      h("svg", { x: right.x, y: right.y, width, height: tall }, h("path", { class: "x-s2", "stroke-width": 2.5, d: inside(1) }), h("path", { class: "x-s1", "stroke-width": 2.5, d: inside(2) })),
      h("path", { class: "x-thin", d: `M${round(cx, 1)} ${right.y + tall}V${round(cy, 1)}` }), h("circle", { class: "x-c1 x-edge", cx: round(cx, 1), cy: round(curve.py(r.mean), 1), r: 5 }),
      lost && text(cx - 14, cy + 18, `↑ ${short(r.epsilon)}`, { class: "x-bold x-halo", "text-anchor": cx > right.x + 90 ? "end" : "start" }),
      key(0, "x-c1", "bound holds"), key(1, "x-c2", "bound fails"), key(2, "x-s2", "bound ε"), key(3, "x-s1", "mean worst gap"),
    ];
    const rung = BITS.indexOf(s.bits), sure = DELTAS.indexOf(s.delta);
    const go = (i) => v.set({ bits: BITS[clamp(i, 0, BITS.length - 1)] });
    const trust = (i) => v.set({ delta: DELTAS[clamp(i, 0, DELTAS.length - 1)] });
    const handles = [
      t2vKit.handle({ label: "number of hypotheses", x: cx, y: cy, now: s.bits, min: 0, max: BITS[BITS.length - 1], radius: 7, text: `2 to the ${s.bits}: bound ${short(r.epsilon)}, mean worst gap ${r.mean.toFixed(3)}`,
        drag: ([px]) => go(nearest(BITS.map(along), curve.toX(px))), step: (dx, dy) => go(rung + clamp(dx + dy, -99, 99)) }),
      t2vKit.handle({ label: "margin of the bound", x, y: left.y + tall * 0.3, now: r.epsilon, min: 0, max: round(epsilon(s.bits, s.m, 0.001), 3), text: `${short(r.epsilon)}, which may fail with probability ${s.delta}`, radius: 7,
        drag: ([px]) => trust(nearest(DELTAS.map((d) => epsilon(s.bits, s.m, d)), axes.toX(px))), step: (dx, dy) => trust(sure + clamp(dx + dy, -99, 99)) }),
    ];
    return { height: foot + (wide ? 12 : 32), picture, handles };
  }

  // --- the figure ---

  t2vKit.define("break_bound", {
    title: "The worst gap of many coins in many draws, and the margin that the bound promises",
    prompt: "Draw a few hundred times, and try to make the bound fail too often. Then give it the hypotheses of a network.",
    settings: { m: 100, bits: 10, delta: 0.05, draws: 200, seed: 1 },
    sane: ({ m, bits, delta, draws, seed }) => ({ m: SAMPLES[nearest(SAMPLES, m)], bits: BITS[nearest(BITS, bits)], delta: DELTAS[nearest(DELTAS, delta)],
      draws: clamp(Math.round(draws), 0, MOST), seed: clamp(Math.round(seed), 0, 9999) }),
    compute,
    draw,
    numbers: (s, r) => [["promised: may fail in", per(s.delta)], ["failed here in", s.draws ? `${many(r.failed)} of ${many(s.draws)}` : "no draws yet"], ["exactly", per(r.exact)]],
    controls: (s, r, v) => [
      t2vKit.row(
        t2vKit.button({ label: "Draw once", disabled: s.draws >= MOST, action: () => v.set({ draws: s.draws + 1 }) }),
        t2vKit.button({ label: "Draw 100 times", disabled: s.draws >= MOST, action: () => v.set({ draws: s.draws + 100 }) }),
        t2vKit.button({ label: "Sweep them away", disabled: s.draws === 0, action: () => v.set({ draws: 0, seed: s.seed + 1 }) }),
        t2vKit.button({ label: "A network: 10⁵ weights of 32 bits", action: () => v.set({ bits: 3200000 }) }),
      ),
      t2vKit.range({ label: "Samples m", value: SAMPLES.indexOf(s.m), min: 0, max: SAMPLES.length - 1, step: 1, text: many(s.m), set: (i) => v.set({ m: SAMPLES[Math.round(i)] }) }),
      t2vKit.range({ label: "Hypotheses |H|", value: BITS.indexOf(s.bits), min: 0, max: BITS.length - 1, step: 1, text: size(s.bits), set: (i) => v.set({ bits: BITS[Math.round(i)] }) }),
      t2vKit.range({ label: "Risk of failure δ", value: DELTAS.indexOf(s.delta), min: 0, max: DELTAS.length - 1, step: 1, text: String(s.delta), set: (i) => v.set({ delta: DELTAS[Math.round(i)] }) }),
    ],
    say(s, r) {
      const lead = `With ${many(s.m)} samples and ${s.bits ? `${size(s.bits)} hypotheses` : "one hypothesis"} ε is ${short(r.epsilon)}; the worst gap is ${r.mean.toFixed(3)} on average.`;
      if (r.epsilon >= 0.5) return `${lead} A coin’s gap is never above one half: a promise that cannot be broken, and says nothing.${s.bits > s.m ? " By now some hypothesis gets every label of the sample right, or every one wrong, and knows nothing." : ""}`;
      return `${lead} The bound may fail in ${per(s.delta)} of the draws; it fails in ${per(r.exact)}${s.draws ? `, and did in ${many(r.failed)} of these ${many(s.draws)}` : ""}.`;
    },
  });
})();
