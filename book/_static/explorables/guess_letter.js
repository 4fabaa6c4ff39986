// needs: letters
/* Chapter 1: a hidden letter, felt stroke by stroke, and what an estimate from samples makes of the information.

Above: p(letter | strokes) by Bayes' rule, and the evidence of each stroke for the hidden letter, log2 p(y|x)/p(y), whose mean
over letters and strokes is I(X;Y). Below: n letters, one stroke each, and from these pairs the plug-in estimate of I(X;Y), with
Miller and Madow's correction, and after a shuffle (t2v.estimators.plug_in; t2v.information).
*/
(function () {
  "use strict";
  const { h, text, path, at, clamp, round } = t2vKit;
  const { names, strokes, given, box, paths } = t2vKit.data.letters;
  const N = names.length, M = strokes.length, MOST = 3000, LEAST = 10;
  const marginal = strokes.map((_, y) => given.reduce((sum, row) => sum + row[y] / N, 0));
  const log2 = Math.log2, entropy = (p) => -p.reduce((sum, q) => sum + (q > 0 ? q * log2(q) : 0), 0);
  const truth = entropy(marginal) - given.reduce((sum, row) => sum + entropy(row) / N, 0);

  const pick = (p, u) => {
    let i = 0;
    for (let left = u - p[0]; left > 0 && i < p.length - 1; ) left -= p[++i];
    while (!p[i]) i--;
    return i;
  };

  const hiddenLetter = (seed) => Math.floor(t2vKit.random(31 * seed + 2)() * N);

  /** Pairs (letter, stroke) of a seed, and the same strokes in another order. */
  const drawn = new Map();
  function pairs(seed) {
    if (!drawn.has(seed)) {
      const random = t2vKit.random(1000 + seed), x = [], y = [], shuffled = [];
      for (let i = 0; i < MOST; i++) { x.push(Math.floor(random() * N)); y.push(pick(given[x[i]], random())); }
      for (let i = 0; i < MOST; i++) shuffled.push(random());
      drawn.clear();
      drawn.set(seed, { x, y, keys: shuffled });
    }
    return drawn.get(seed);
  }

  function counted(x, y, n) {
    const table = new Float64Array(N * M), rows = new Float64Array(N), columns = new Float64Array(M);
    for (let i = 0; i < n; i++) { table[x[i] * M + y[i]]++; rows[x[i]]++; columns[y[i]]++; }
    let value = 0, used = 0;
    for (let a = 0; a < N; a++)
      for (let b = 0; b < M; b++) {
        const c = table[a * M + b];
        if (c) { used++; value += (c / n) * log2((c * n) / (rows[a] * columns[b])); }
      }
    const nonzero = (list) => list.reduce((sum, c) => sum + (c > 0), 0);
    return { value, corrected: value + (nonzero(rows) - 1 + nonzero(columns) - 1 - (used - 1)) / (2 * n * Math.LN2) };
  }

  function estimates(seed, n) {
    const { x, y, keys } = pairs(seed), order = [...Array(n).keys()].sort((a, b) => keys[a] - keys[b]), mixed = order.map((i) => y[i]);
    const { value, corrected } = counted(x, y, n);
    return { plugIn: value, millerMadow: corrected, shuffled: counted(x, mixed, n).value };
  }

  function compute({ touches, n, sample, hidden }) {
    const likelihood = given.map((row) => touches.reduce((product, y) => product * row[y], 1)), sum = likelihood.reduce((a, b) => a + b);
    const posterior = likelihood.map((p) => (sum ? p / sum : 0)), letter = hiddenLetter(hidden);
    return { posterior, letter, left: entropy(posterior), evidence: touches.map((y) => log2(given[letter][y] / marginal[y])), truth,
      ...estimates(sample, n), x: pairs(sample).x.slice(0, n), y: pairs(sample).y.slice(0, n) };
  }

  // --- the picture ---

  const lines = new Map(); // the estimates of a sample at many n, for the curves
  function curves(sample) {
    if (!lines.has(sample)) {
      lines.clear();
      const sizes = Array.from({ length: 30 }, (_, i) => Math.round(LEAST * (MOST / LEAST) ** (i / 29)));
      lines.set(sample, sizes.map((n) => [n, estimates(sample, n)]));
    }
    return lines.get(sample);
  }

  const glyph = (x, scale) => h("g", { style: `transform: scale(${round(scale, 3)}) translate(${round(-(box[x][0] + box[x][1]) / 2, 1)}px, 36px)` },
    paths[x].map((d, y) => d && h("path", { key: y, class: `x-pen x-s${y + 1}`, "stroke-width": 7, d })).filter(Boolean));

  function letterGrid(r, x, y, width, columns, open) {
    const cell = width / columns, tall = 66, most = Math.max(...r.posterior);
    return { height: Math.ceil(N / columns) * tall, nodes: [...names].map((name, i) => {
      const p = r.posterior[i], [cx, cy] = [x + cell * ((i % columns) + 0.5), y + tall * Math.floor(i / columns) + 24];
      return h("g", { style: at(cx, cy) },
        open && i === r.letter && h("rect", { class: "x-area", x: -cell / 2 + 2, y: -25, width: cell - 4, height: 62, rx: 7 }),
        h("g", { style: `opacity: ${round(p ? 0.25 + 0.75 * Math.sqrt(p / most) : 0.07, 3)}` }, glyph(i, Math.min(0.42, cell / 82))),
        h("rect", { class: "x-dot x-grow", x: -cell * 0.36, y: 25, width: round(Math.max(p ? 1 : 0, cell * 0.72 * p), 2), height: 5, rx: 2 }),
        h("path", { class: "x-hair", d: `M${round(-cell * 0.36, 1)} 32h${round(cell * 0.72, 1)}` }));
    }) };
  }

  function draw(s, r, v) {
    const columns = v.narrow ? 7 : 13, grid = letterGrid(r, 0, 26, v.width, columns, s.open);
    const felt = 26 + grid.height + 26, gap = v.narrow ? 18 : 22;
    const shown = s.touches.slice(-Math.floor((v.width - 100) / gap));
    const top = felt + 66, plot = { x: 34, y: top, width: v.width - 54, height: v.narrow ? 170 : 190, domain: [[Math.log(LEAST), Math.log(MOST)], [0, 2.5]] };
    const axes = t2vKit.plane({ ...plot, ticks: [[10, 30, 100, 300, 1000, 3000].map(Math.log), [0, 1, 2]], names: ["letters felt, one stroke each", "bits: estimates of the information"],
      format: (t) => (Number.isInteger(t) && t < 3 ? String(t) : Math.round(Math.exp(t)).toLocaleString("en")) });
    const { px, py } = axes, line = (key) => path(curves(s.sample).map(([n, e]) => [px(Math.log(n)), py(clamp(e[key], 0, 2.5))]));
    const here = px(Math.log(s.n));
    const picture = [
      text(0, 14, s.touches.length ? "How likely each letter is now" : "26 letters, each as likely as the next", { class: "x-soft" }),
      grid.nodes,
      text(0, felt + 5, s.touches.length ? "felt so far" : "nothing felt yet", { class: "x-soft" }),
      shown.map((y, i) => h("rect", { class: `x-c${y + 1}`, x: 92 + gap * i, y: felt - 6, width: 13, height: 13, rx: 3 })),
      axes.nodes,
      h("path", { class: "x-dash", d: `M${plot.x} ${round(py(truth), 1)}h${plot.width}` }),
      text(plot.x + plot.width, py(truth) - 6, `truth: ${truth.toFixed(2)}`, { class: "x-soft x-small x-halo", "text-anchor": "end" }),
      h("path", { class: "x-s5", "stroke-width": 2, d: line("shuffled") }),
      h("path", { class: "x-s3", "stroke-width": 2, d: line("millerMadow") }),
      h("path", { class: "x-line", d: line("plugIn") }),
      [["plug-in", "x-accent"], ["with Miller and Madow’s correction", "x-c3"], ["plug-in, pairs shuffled", "x-c5"]].map(([words, colour], i) =>
        text(plot.x + plot.width, plot.y + 12 + 17 * i, words, { class: `${colour} x-small x-halo x-bold`, "text-anchor": "end" })),
      h("path", { class: "x-thin", d: `M${round(here, 1)} ${plot.y}v${plot.height}` }),
    ];
    const handle = t2vKit.handle({ x: here, y: py(clamp(r.plugIn, 0, 2.5)), label: "number of letters felt", now: s.n, min: LEAST, max: MOST,
      text: `${s.n} letters, plug-in ${r.plugIn.toFixed(2)} bits`, drag: ([x]) => v.set({ n: Math.round(Math.exp(axes.toX(x))) }),
      step: (dx, dy) => v.set({ n: clamp(Math.round(s.n * 1.1 ** (dx + dy)), dx + dy > 0 ? s.n + 1 : 0, dx + dy < 0 ? s.n - 1 : MOST) }) });
    return { height: top + plot.height + 44, picture, handles: [handle] };
  }

  // --- the figure ---

  t2vKit.define("guess_letter", {
    title: "26 letters, how likely each is after some touches, and estimates of information from samples",
    prompt: "A letter is hidden. Touch its edge, blindly, until you know which it is.",
    settings: { touches: [], hidden: 1, open: 0, n: 60, sample: 1 },
    sane: ({ touches, hidden, open, n, sample }) => ({
      touches: touches.filter((y) => strokes[y] !== undefined).slice(0, 40), hidden: clamp(Math.round(hidden), 0, 9999), open: open ? 1 : 0,
      n: clamp(Math.round(n), LEAST, MOST), sample: clamp(Math.round(sample), 0, 9999) }),
    compute,
    draw,
    numbers: (s, r) => [
      ["letters still possible", String(r.posterior.filter((p) => p > 0).length)],
      ["still to know", `${r.left.toFixed(2)} bits`],
      [`plug-in from ${s.n}`, `${r.plugIn.toFixed(2)} bits`],
      ["the same, shuffled", `${r.shuffled.toFixed(2)} bits`],
    ],
    above: (s, r, v) => [
      t2vKit.row(
        t2vKit.button({ label: "Touch the edge", disabled: s.touches.length >= 40, action: () => {
          const u = t2vKit.random(977 * s.hidden + 13 * s.touches.length + 5)();
          v.set({ touches: [...s.touches, pick(given[r.letter], u)] });
        } }),
        t2vKit.button({ label: s.open ? "Close your eyes" : "Open your eyes", action: () => v.set({ open: s.open ? 0 : 1 }) }),
        t2vKit.button({ label: "Another letter", action: () => v.set({ touches: [], open: 0, hidden: s.hidden + 1 }) }),
      ),
    ],
    controls: (s, r, v) => [
      t2vKit.range({ label: "Letters felt, one stroke each", value: s.n, min: LEAST, max: MOST, scale: "log", text: String(s.n), set: (n) => v.set({ n: Math.round(n) }) }),
      t2vKit.row(t2vKit.button({ label: "Draw other letters", action: () => v.set({ sample: s.sample + 1 }) })),
    ],
    say(s, r) {
      const order = [...r.posterior.keys()].sort((a, b) => r.posterior[b] - r.posterior[a]), top = order[0], last = s.touches.at(-1);
      const shares = `From ${s.n} letters the plug-in estimate is ${r.plugIn.toFixed(2)} bits where ${truth.toFixed(2)} are true; shuffled pairs, which share nothing, give ${r.shuffled.toFixed(2)}.`;
      if (!s.touches.length) return `Nothing is felt yet: ${log2(N).toFixed(2)} bits are to be known.${s.open ? ` The letter is ${names[r.letter]}.` : ""} ${shares}`;
      if (!r.posterior[top]) return `No letter has all of these strokes. ${shares}`;
      const likely = `most likely ${names[top]}, with ${r.posterior[top].toFixed(2)}`, worth = r.evidence.at(-1);
      return `Felt: ${strokes[last]}. Now ${likely}; ${r.left.toFixed(2)} bits are still to be known.${s.open ? ` The letter is ${names[r.letter]}, ${Number.isFinite(worth) ? `for which that stroke spoke with ${worth.toFixed(2).replace("-", "−")} bits` : "which has no such stroke"}.` : ""} ${shares}`;
    },
  });
})();
