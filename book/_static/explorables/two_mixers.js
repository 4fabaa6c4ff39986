/* Chapter 9: two embeddings of eight filters, and what two distances see of them.

Cosine distance 1 − cos(F_a, F_b), as the review paper prints it; symmetric distance of Task2Vec,
d_sym = 1 − cos(F_a/(F_a+F_b), F_b/(F_a+F_b)) (t2v.distance.cosine and .symmetric). A factor c on all of one task leaves the
first as it is, a factor s on one filter of both leaves the second.
*/
(function () {
  "use strict";
  const { h, text, at, clamp, round } = t2vKit;
  const K = 8, LOW = 0.01, HIGH = 10;

  const apart = (x, y) => {
    const dot = (p, q) => p.reduce((sum, v, k) => sum + v * q[k], 0);
    return 1 - dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  };
  const cosine = apart, symmetric = (x, y) => apart(x.map((v, k) => v / (v + y[k])), y.map((v, k) => v / (v + x[k])));

  function compute({ a, b, c, s, filter }) {
    const x = a.map((v, k) => v * c * (k === filter ? s : 1)), y = b.map((v, k) => v * (k === filter ? s : 1));
    return { x, y, cosine: cosine(x, y), symmetric: symmetric(x, y), before: { cosine: cosine(a, b), symmetric: symmetric(a, b) } };
  }

  // --- the picture ---

  function meter(x, y, width, name, formula, now, before, stack) {
    const from = x, to = x + width - 52, scale = (d) => from + clamp(d, 0, 1) * (to - from);
    return h("g", { key: name }, text(x, y, name, { class: "x-bold" }), text(stack ? x : x + 150, stack ? y + 18 : y, formula, { class: "x-soft x-small" }),
      h("rect", { class: "x-card", x: from, y: y + (stack ? 28 : 11), width: to - from, height: 14, rx: 7 }),
      h("rect", { class: "x-dot", x: from, y: y + (stack ? 28 : 11), width: round(Math.max(2, scale(now) - from), 1), height: 14, rx: 4 }),
      h("path", { class: "x-axis", "stroke-width": 2, d: `M${round(scale(before), 1)} ${y + (stack ? 24 : 7)}v22` }),
      text(x + width, y + (stack ? 40 : 23), now.toFixed(3), { class: "x-bold", "text-anchor": "end" }));
  }

  function draw(s, r, v) {
    const plot = { x: 38, y: 58, width: v.width - 46, height: v.narrow ? 190 : 210, domain: [[0, K], [Math.log(0.004), Math.log(25)]] };
    const axes = t2vKit.plane({ ...plot, ticks: [[], [0.01, 0.1, 1, 10].map(Math.log)], names: ["", "Fisher information of a filter (logarithmic)"],
      format: (t) => String(round(Math.exp(t), 2)) });
    const base = plot.y + plot.height, cell = plot.width / K, bar = cell * 0.33;
    const level = (value) => clamp(axes.py(Math.log(value)), plot.y, base), left = (k, task) => plot.x + cell * (k + 0.5) + (task ? 1.5 : -bar - 1.5);
    const value = (y) => Math.exp(axes.toY(y));
    const put = (task, k, wanted) => {
      const key = task ? "b" : "a", list = [...s[key]], factor = (task ? 1 : s.c) * (k === s.filter ? s.s : 1);
      list[k] = round(clamp(wanted / factor, LOW, HIGH), 4);
      return { [key]: list };
    };
    const paint = ([x, y]) => {
      const along = clamp((x - plot.x) / cell, 0, K - 0.001), k = Math.floor(along);
      if (k !== s.filter && s.s !== 1) v.set({ filter: k }); // a factor on a filter moves with the choice: first choose
      else v.set({ ...put(along - k < 0.5 ? 0 : 1, k, value(y)), filter: k });
    };
    const picture = [
      h("rect", { class: "x-area x-move", width: round(cell, 1), height: plot.height, style: at(plot.x + cell * s.filter, plot.y) }),
      axes.nodes,
      ["task a", "task b"].map((name, i) => h("g", { style: at(plot.x + 8 + 84 * i, 20) }, h("rect", { class: `x-c${i + 1}`, width: 12, height: 12, rx: 3, y: -11 }), text(18, 0, name, {}))),
      Array.from({ length: K }, (_, k) => [r.x, r.y].map((list, task) => h("rect", { class: `x-c${task + 1}`, x: round(left(k, task), 1), y: round(level(list[k]), 1), width: round(bar, 1), height: round(base - level(list[k]), 1), rx: 2 }))),
      Array.from({ length: K }, (_, k) => text(plot.x + cell * (k + 0.5), base + 17, k + 1, { class: k === s.filter ? "x-bold" : "x-soft x-small", "text-anchor": "middle" })),
      text(plot.x + plot.width, base + 35, "filter of the probe", { class: "x-soft", "text-anchor": "end" }),
      meter(0, base + 66, v.width, "Cosine distance", "1 − cos(a, b), as the review prints it", r.cosine, r.before.cosine, v.narrow),
      meter(0, base + (v.narrow ? 128 : 116), v.width, "Symmetric distance", "1 − cos(a/(a+b), b/(a+b)), as Task2Vec has it", r.symmetric, r.before.symmetric, v.narrow),
    ];
    const handles = [r.x, r.y].map((list, task) => t2vKit.handle({
      key: task, label: `task ${task ? "b" : "a"}, chosen filter`, x: left(s.filter, task) + bar / 2, y: level(list[s.filter]), now: list[s.filter], min: LOW, max: HIGH,
      text: `filter ${s.filter + 1}: ${list[s.filter].toPrecision(3)}`, radius: 7,
      drag: ([, y]) => v.set(put(task, s.filter, value(y))),
      step: (dx, dy) => v.set(put(task, s.filter, list[s.filter] * 1.15 ** clamp(dx + dy, -60, 60))),
    }));
    const pad = t2vKit.pad({ key: "pad", x: plot.x, y: plot.y, width: plot.width, height: plot.height }, paint);
    return { height: base + (v.narrow ? 178 : 148), picture, handles: [pad, ...handles] };
  }

  // --- the figure ---

  const factor = (value) => `× ${value.toPrecision(2)}`;
  t2vKit.define("two_mixers", {
    title: "Two embeddings as bars, and two distances between them as meters",
    prompt: "Drag any bar, then turn the two knobs below: each leaves one of the meters where it was.",
    settings: { a: [1.6, 0.5, 0.22, 0.05, 0.9, 0.12, 0.35, 0.03], b: [0.5, 1.1, 0.1, 0.16, 0.3, 0.04, 0.7, 0.09], c: 1, s: 1, filter: 1 },
    sane({ a, b, c, s, filter }) {
      const whole = (list, first) => (list.length === K ? list.map((v) => clamp(v, LOW, HIGH)) : first);
      return { a: whole(a, [1.6, 0.5, 0.22, 0.05, 0.9, 0.12, 0.35, 0.03]), b: whole(b, [0.5, 1.1, 0.1, 0.16, 0.3, 0.04, 0.7, 0.09]),
        c: clamp(c, 0.1, 10), s: clamp(s, 0.1, 10), filter: clamp(Math.round(filter), 0, K - 1) };
    },
    compute,
    draw,
    controls: ({ c, s, filter }, r, v) => [
      t2vKit.range({ label: "c: all of task a", value: c, min: 0.1, max: 10, scale: "log", text: factor(c), set: (value) => v.set({ c: value }) }),
      t2vKit.range({ label: "s: the chosen filter, in both tasks", value: s, min: 0.1, max: 10, scale: "log", text: factor(s), set: (value) => v.set({ s: value }) }),
      t2vKit.range({ label: "Chosen filter", value: filter + 1, min: 1, max: K, step: 1, text: `${filter + 1} of ${K}`, set: (value) => v.set({ filter: Math.round(value) - 1 }) }),
    ],
    say({ c, s, filter, a, b }, r) {
      const moved = (now, before) => (Math.abs(now - before) < 5e-4 ? "stays" : now > before ? "grows" : "shrinks");
      const lead = `Cosine distance ${r.cosine.toFixed(3)}, symmetric distance ${r.symmetric.toFixed(3)}; filter ${filter + 1} holds ${r.x[filter].toPrecision(2)} and ${r.y[filter].toPrecision(2)}.`;
      const plain = Math.abs(Math.log(c)) < 0.01 && Math.abs(Math.log(s)) < 0.01;
      if (plain) return `${lead} The marks show where both stand without the knobs.`;
      const knob = Math.abs(Math.log(s)) < 0.01 ? `With all of task a ${factor(c)}` : Math.abs(Math.log(c)) < 0.01 ? `With filter ${filter + 1} ${factor(s)} in both tasks` : "With both knobs turned";
      return `${lead} ${knob}, the cosine distance ${moved(r.cosine, r.before.cosine)} and the symmetric one ${moved(r.symmetric, r.before.symmetric)}.`;
    },
  });
})();
