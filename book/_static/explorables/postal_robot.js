// needs: letters, postal_robot
/* Chapter 3: the information bottleneck of letters and strokes, solved in the page by Blahut and Arimoto's iteration.

Clusters are points s_t = q(y|t) with weights q(t). Started from one cluster a letter, equal clusters merged, the iteration
ends at the package's optimum (t2v.bottleneck.solve); started from a random partition it may freeze above it
(t2v.bottleneck.blahut_arimoto). The gap is log2 max_s c(s), Csiszár's condition, searched from letters and their mixtures.
*/
(function () {
  "use strict";
  const { h, text, path, at, clamp, round } = t2vKit;
  const { names, strokes, given, box, paths } = t2vKit.data.letters;
  const { curve } = t2vKit.data.postal_robot;
  const N = names.length, M = strokes.length, LOW = 1.05, HIGH = 20, FLOOR = 1e-200;
  const marginal = strokes.map((_, y) => given.reduce((sum, row) => sum + row[y] / N, 0));
  const xlogx = (p) => (p > 0 ? p * Math.log2(p) : 0);
  const known = given.reduce((sum, row) => sum + row.reduce((a, p) => a + xlogx(p), 0) / N, 0) - marginal.reduce((a, p) => a + xlogx(p), 0);

  const rows = Float64Array.from(given.flat());

  /* Clusters are one array m of K × M masses q(t, y). A round sends it to the masses of the encoder that it implies. */
  function step(beta, m) {
    const K = m.length / M, encoder = new Float64Array(N * K), next = new Float64Array(m.length), logs = new Float64Array(m.length);
    const weight = new Float64Array(K), logZ = new Float64Array(N);
    for (let t = 0; t < K; t++) {
      let w = 0;
      for (let y = 0; y < M; y++) w += m[t * M + y];
      for (let y = 0; y < M; y++) logs[t * M + y] = beta * Math.log(Math.max(m[t * M + y] / w, FLOOR));
      weight[t] = Math.log(w);
    }
    for (let x = 0; x < N; x++) {
      let top = -Infinity, sum = 0;
      for (let t = 0; t < K; t++) {
        let e = weight[t];
        for (let y = 0; y < M; y++) e += rows[x * M + y] * logs[t * M + y];
        encoder[x * K + t] = e;
        if (e > top) top = e;
      }
      for (let t = 0; t < K; t++) sum += encoder[x * K + t] = Math.exp(encoder[x * K + t] - top);
      for (let t = 0; t < K; t++) {
        const mass = (encoder[x * K + t] /= sum) / N;
        for (let y = 0; y < M; y++) next[t * M + y] += mass * rows[x * M + y];
      }
      logZ[x] = top + Math.log(sum);
    }
    return { encoder, next, logZ, value: -logZ.reduce((sum, v) => sum + v, 0) / N };
  }

  /** Clusters that no letter could tell apart are one; those that nobody uses are none. */
  function merge(beta, m, same = 1e-6) {
    const kept = [];
    for (let t = 0; t < m.length / M; t++) {
      const one = Array.from(m.subarray(t * M, t * M + M)), w = one.reduce((a, b) => a + b);
      if (w < 1e-9) continue;
      const near = kept.find((k) => 4 * beta * (1 - k.m.reduce((sum, v, y) => sum + Math.sqrt((v / k.w) * (one[y] / w)), 0)) < same);
      if (!near) { kept.push({ m: one, w }); continue; }
      near.w += w;
      one.forEach((v, y) => { near.m[y] += v; });
    }
    return Float64Array.from(kept.flatMap((k) => k.m));
  }

  /** Iterate until nothing moves: Blahut–Arimoto in strides of three rounds (SQUAREM; a stride that leads up is not taken). */
  function iterate(beta, m, merging, strides = 300) {
    let n = 0;
    for (let moved = 1; n < strides && moved > 1e-9; n++) {
      if (merging && n % 8 === 0) m = merge(beta, m);
      const one = step(beta, m).next, at = step(beta, one), two = at.next, far = new Float64Array(m.length);
      let rr = 0, vv = 0, low = 0;
      for (let i = 0; i < m.length; i++) { const r = one[i] - m[i], v = two[i] - one[i] - r; rr += r * r; vv += v * v; }
      const a = vv > 0 ? Math.max(1, Math.sqrt(rr / vv)) : 1;
      for (let i = 0; i < m.length; i++) {
        const r = one[i] - m[i], v = two[i] - one[i] - r;
        far[i] = m[i] + 2 * a * r + a * a * v;
        if (two[i] > 0 && far[i] < 1e-3 * two[i]) low = 1;
      }
      moved = Math.sqrt(rr);
      if (a === 1 || low) { m = two; continue; }
      const there = step(beta, far);
      m = there.value <= at.value ? there.next : two;
    }
    return { m, n };
  }

  /** log2 of the largest c(s): above 0, a new cluster at s would lower the objective. */
  function gapOf(beta, logZ) {
    const starts = [];
    for (let a = 0; a < N; a++) for (let b = a; b < N; b++) starts.push(given[a].map((p, y) => (p + given[b][y]) / 2));
    const climb = (s, steps) => {
      let value = 0;
      for (let i = 0; i < steps; i++) {
        const logs = s.map((p) => Math.log(Math.max(p, FLOOR))), next = new Array(M).fill(0);
        let sum = 0;
        for (let x = 0; x < N; x++) {
          let e = -logZ[x];
          for (let y = 0; y < M; y++) e += beta * given[x][y] * logs[y];
          const mass = Math.exp(e) / N;
          sum += mass;
          for (let y = 0; y < M; y++) next[y] += mass * given[x][y];
        }
        value = sum;
        s = next.map((p) => p / sum);
      }
      return [value, s];
    };
    const first = starts.map((s) => climb(s, 3)).sort((a, b) => b[0] - a[0]).slice(0, 8);
    return Math.max(0, Math.log2(Math.max(...first.map(([, s]) => climb(s, 60)[0]))));
  }

  function informations(encoder, weights, points) {
    let tx = 0, ty = 0;
    weights.forEach((w, t) => {
      for (let x = 0; x < N; x++) if (encoder[x][t] > 0) tx += (encoder[x][t] / N) * Math.log2(encoder[x][t] / w);
      for (let y = 0; y < M; y++) if (points[t][y] > 0) ty += w * points[t][y] * Math.log2(points[t][y] / marginal[y]);
    });
    return { tx: Math.max(0, tx), ty: Math.max(0, ty) };
  }

  /** The encoder, its clusters and what it costs and keeps, from the masses where the iteration ended. */
  function finish(beta, { m, n }) {
    m = merge(beta, m, 1e-3); // what is that near would still meet, in many more rounds
    const { encoder, next, logZ } = step(beta, m), K = m.length / M;
    const mass = (t) => Array.from(next.subarray(t * M, t * M + M)), total = (t) => mass(t).reduce((a, b) => a + b);
    const used = [...Array(K).keys()].filter((t) => total(t) > 1e-6), weights = used.map(total);
    const points = used.map((t, i) => mass(t).map((v) => v / weights[i]));
    const rowsOf = Array.from({ length: N }, (_, x) => used.map((t) => encoder[x * K + t]));
    const { tx, ty } = informations(rowsOf, weights, points);
    return { encoder: rowsOf, weights, points, tx, ty, objective: tx - beta * ty, logZ, strides: n };
  }

  const masses = (labels, K) => {
    const m = new Float64Array(K * M);
    labels.forEach((t, x) => { for (let y = 0; y < M; y++) m[t * M + y] += rows[x * M + y] / N; });
    return m;
  };

  /** A random partition of the letters into so many groups, none empty. */
  function partition(start, groups) {
    const random = t2vKit.random(start), labels = [...names].map((_, x) => (x < groups ? x : Math.floor(random() * groups)));
    for (let i = N - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [labels[i], labels[j]] = [labels[j], labels[i]];
    }
    return labels;
  }

  const solved = new Map(); // the best answer at a price: asked for again at every random start
  function best(beta) {
    if (!solved.has(beta)) solved.set(beta, finish(beta, iterate(beta, masses([...names].map((_, x) => x), N), true)));
    if (solved.size > 50) solved.delete(solved.keys().next().value);
    return solved.get(beta);
  }

  function compute({ beta, start }) {
    const optimum = best(beta);
    const judged = (found, more) => ({ ...found, ...more, best: optimum, get gap() { return gapOf(beta, found.logZ); } }); // asked for by tests only
    if (!start) return judged(optimum, { excess: 0, labels: null });
    const groups = Math.max(2, optimum.weights.length), labels = partition(start, groups);
    const found = finish(beta, iterate(beta, masses(labels, groups), false));
    return judged(found, { excess: Math.max(0, found.objective - optimum.objective), labels });
  }

  // --- the picture ---

  /** Groups in a lasting order: straight strokes first, bowls last; each with its letters and how far they belong. */
  function shelves({ encoder, weights, points }) {
    const place = [0, 1, 2, 2.2, 3, 3.2], score = (s) => s.reduce((sum, p, y) => sum + p * place[y], 0);
    return [...weights.keys()].sort((a, b) => score(points[a]) - score(points[b])).map((t) => ({
      point: points[t],
      members: [...names].map((name, x) => ({ name, x, share: encoder[x][t], rank: encoder[x].filter((q) => q > encoder[x][t]).length }))
        .filter((m) => m.share > 0.12),
    })).filter((shelf) => shelf.members.length);
  }

  /** Set the groups in lines of this width, with the largest letters for which they fit into this height. */
  function arrange(groups, width, height) {
    for (let size = 34; ; size -= 1) {
      const cards = [];
      let x = 0, y = 0, line = 0;
      for (const group of groups) {
        const n = group.members.length, columns = Math.min(n, Math.max(1, Math.ceil(Math.sqrt(n * 1.7)))), w = columns * size + 14;
        const tall = Math.ceil(n / columns) * size + 28;
        if (x && x + w > width) { x = 0; y += line + 10; line = 0; }
        cards.push({ ...group, x, y, w, tall, columns });
        x += w + 10;
        line = Math.max(line, tall);
      }
      if (y + line <= height || size <= 15) return { cards, size, height: y + line };
    }
  }

  const glyph = (x, scale) => {
    const [left, right] = box[x];
    return h("g", { style: `transform: scale(${round(scale, 3)}) translate(${round(-(left + right) / 2, 1)}px, 36px)` },
      paths[x].map((d, y) => d && h("path", { key: y, class: `x-pen x-s${y + 1}`, "stroke-width": 8, d })).filter(Boolean));
  };

  function shelf({ point, members, x, y, w, tall, columns }, i, size) {
    let from = 7;
    const bar = point.map((p, stroke) => {
      const piece = h("rect", { class: `x-c${stroke + 1}`, x: round(from, 1), y: tall - 14, width: round(p * (w - 14), 1), height: 6 });
      from += p * (w - 14);
      return piece;
    });
    return {
      card: h("g", { key: `card ${i}`, class: "x-move", style: at(x, y) }, h("rect", { class: "x-card", rx: 8, width: w, height: tall }), bar),
      letters: members.map((m, k) => h("g", { key: `${m.name}${m.rank}`, class: "x-move",
        style: `${at(x + 7 + size * ((k % columns) + 0.5), y + 8 + size * (Math.floor(k / columns) + 0.5))}; opacity: ${round(clamp(Math.sqrt(m.share), 0.2, 1), 2)}` },
        glyph(m.x, size / 104))),
    };
  }

  const legend = (x, y, width) => {
    const columns = width > 360 ? 3 : 2;
    return strokes.map((name, i) => h("g", { style: at(x + (i % columns) * (width / columns), y + Math.floor(i / columns) * 19) },
      h("rect", { class: `x-c${i + 1}`, width: 11, height: 11, rx: 2, y: -10 }), text(17, 0, name, { class: "x-soft x-small" })));
  };

  function draw({ beta, start }, r, v) {
    const wide = !v.narrow, across = wide ? Math.round(v.width * 0.44) : v.width;
    const plot = { x: 36, y: 40, width: across - 44, height: wide ? 290 : 210, domain: [[0, 4.5], [0, 1.12]] };
    const axes = t2vKit.plane({ ...plot, ticks: [[0, 1, 2, 3, 4], [0, 0.5, 1]],
      names: ["bits kept about the letter", "bits known about the stroke"] });
    const { px, py } = axes, line = [[0, 0], ...curve.map(([, tx, ty]) => [tx, ty])].map(([a, b]) => [px(a), py(b)]);
    const end = plot.x + plot.width, top = plot.y;
    const here = [px(r.tx), py(r.ty)];
    const picture = [
      h("path", { class: "x-area", d: `${path([...line, [end, line.at(-1)[1]], [end, top], [plot.x, top]])}Z` }),
      axes.nodes,
      text(plot.x + 10, top + 20, "impossible", { class: "x-accent" }),
      h("path", { class: "x-line", d: path([...line, [end, line.at(-1)[1]]]) }),
    ];
    if (start) picture.push(lag(beta, r, axes), h("circle", { class: "x-c2", cx: here[0], cy: here[1], r: 6 }));
    const left = wide ? across + 24 : 0, room = v.width - left, y = wide ? 8 : plot.y + plot.height + 56;
    const tall = wide ? 320 : 330, set = arrange(shelves(r), room, tall - 8);
    const shelved = set.cards.map((card, i) => shelf({ ...card, x: card.x + left, y: card.y + y }, i, set.size));
    const foot = wide ? y + tall + 18 : y + set.height + 26;
    picture.push(shelved.map((s) => s.card), shelved.flatMap((s) => s.letters).sort((a, b) => (a.attributes.key < b.attributes.key ? -1 : 1)), legend(left, foot, room));
    const dot = t2vKit.handle({ x: px(r.best.tx), y: py(r.best.ty), label: "price of memory, along the curve", now: beta, min: LOW, max: HIGH,
      text: `β ${beta.toFixed(2)}`, drag: (point) => v.set({ beta: nearest(point, axes) }),
      step: (dx, dy) => v.set({ beta: beta * 1.03 ** (dx + dy) }) });
    return { height: foot + (room > 360 ? 28 : 47), picture, handles: [dot] };
  }

  /** How much too dear a frozen answer is: from the point to the tangent of slope 1/β, along the axis of bits kept. */
  function lag(beta, r, { px, py }) {
    const to = r.best.tx + beta * (r.ty - r.best.ty), ends = [Math.max(0, r.best.tx - beta * r.best.ty), 4.5];
    const tangent = ends.map((tx) => [px(tx), py(r.best.ty + (tx - r.best.tx) / beta)]).filter(([, y]) => y > 0);
    return [h("path", { class: "x-dash", d: path(tangent) }), h("path", { class: "x-s2", "stroke-width": 2.5, d: path([[px(Math.max(0, to)), py(r.ty)], [px(r.tx), py(r.ty)]]) })];
  }

  /** The price at the place of the curve that is nearest to a point of the picture. */
  function nearest([x, y], { px, py }) {
    let found = LOW, least = Infinity;
    for (let i = 1; i < curve.length; i++) {
      const [b0, x0, y0] = curve[i - 1], [b1, x1, y1] = curve[i], a = [px(x0), py(y0)], d = [px(x1) - a[0], py(y1) - a[1]];
      const t = clamp(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d[0] ** 2 + d[1] ** 2 || 1), 0, 1);
      const far = Math.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1]);
      if (far < least) { least = far; found = b0 * (b1 / b0) ** t; }
    }
    return found;
  }

  // --- the figure ---

  const bits = (value) => `${value.toFixed(2)} bits`;
  t2vKit.define("postal_robot", {
    title: "The postal robot's memory against what it can predict, and the groups of letters that it makes",
    prompt: "Drag the dot along the curve: as a bit about the stroke becomes worth more, groups of letters are born.",
    settings: { beta: 4, start: 0 },
    sane: ({ beta, start }) => ({ beta: clamp(beta, LOW, HIGH), start: clamp(Math.round(start), 0, 9999) }),
    compute,
    draw,
    numbers: (s, r) => [
      ["kept about the letter", bits(r.tx)],
      ["known about the stroke", bits(r.ty)],
      ["groups", String(r.weights.length)],
      ["above the best", s.start ? bits(r.excess) : "0 bits"],
    ],
    controls: ({ beta, start }, r, v) => [
      t2vKit.range({ label: "Worth of a bit about the stroke, β", value: beta, min: LOW, max: HIGH, scale: "log", text: beta.toFixed(2), set: (value) => v.set({ beta: value }) }),
      t2vKit.row(
        t2vKit.button({ label: "Begin with random groups", action: () => v.set({ start: start + 1 }) }),
        t2vKit.button({ label: "Back to the best", disabled: !start, action: () => v.set({ start: 0 }) }),
      ),
    ],
    say({ beta, start }, r) {
      const many = r.weights.length === 1 ? "all letters are one to it" : `it tells ${r.weights.length} groups of letters apart`;
      const now = `At β = ${beta.toFixed(2)} the robot keeps ${r.tx.toFixed(2)} of the 4.70 bits that name a letter: ${many}, and knows ${r.ty.toFixed(2)} of the ${known.toFixed(2)} bits about the stroke.`;
      if (!start) return now;
      if (r.excess < 1e-4) return `${now} From these random groups it found the best answer.`;
      return `${now} It is stuck: no small change helps, and yet it pays ${bits(r.excess)} more than the best.`;
    },
  });
})();
