/* Chapter 7: three matrices with one name, for a model of two weights, p(y = 1 | x) = 1/(1 + exp(−w·x)).

Exact F = mean of p(1−p)xxᵀ; empirical: (y − p)² with the data's labels; drawn: (y − p)² with one label a point from the model.
An ellipse holds the steps δ with δᵀFδ = 0.2: those that the matrix calls equally far. (t2v.fisher.full, in nats.)
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const COUNT = 24, SIZE = 0.2, W = [1.4, -0.8], REACH = 3.2;

  const first = (() => {
    const random = t2vKit.random(7), bell = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const points = [], labels = [];
    for (let i = 0; i < COUNT; i++) {
      const x = [clamp(round(bell() * 1.2, 2), -2.7, 2.7), clamp(round(bell() * 1.1, 2), -2.7, 2.7)];
      points.push(...x);
      labels.push(random() < 1 / (1 + Math.exp(-W[0] * x[0] - W[1] * x[1])) ? 1 : 0);
    }
    return { points, labels };
  })();

  function compute({ points, labels, draw }) {
    const random = t2vKit.random(draw), exact = [0, 0, 0], empirical = [0, 0, 0], drawn = [0, 0, 0], signs = [], chances = [];
    for (let i = 0; i < labels.length; i++) {
      const [a, b] = [points[2 * i], points[2 * i + 1]], p = 1 / (1 + Math.exp(-W[0] * a - W[1] * b)), y = random() < p ? 1 : 0;
      const outer = [a * a, a * b, b * b];
      signs.push(y);
      chances.push(p);
      for (let k = 0; k < 3; k++) {
        exact[k] += (p * (1 - p) * outer[k]) / labels.length;
        empirical[k] += ((labels[i] - p) ** 2 * outer[k]) / labels.length;
        drawn[k] += ((y - p) ** 2 * outer[k]) / labels.length;
      }
    }
    const trace = (m) => m[0] + m[2];
    return { exact, empirical, drawn, traces: [exact, empirical, drawn].map(trace), signs, chances };
  }

  // --- the picture ---

  /** The ellipse δᵀMδ = SIZE around the origin as points: δ = L⁻ᵀ u √SIZE, with M = LLᵀ. */
  function ellipse([a, b, d]) {
    const l = Math.sqrt(Math.max(a, 1e-9)), m = b / l, n = Math.sqrt(Math.max(d - m * m, 1e-9));
    return Array.from({ length: 97 }, (_, i) => {
      const u = [Math.cos((i * Math.PI) / 48), Math.sin((i * Math.PI) / 48)], y = u[1] / n;
      return [Math.sqrt(SIZE) * ((u[0] - m * y) / l), Math.sqrt(SIZE) * y];
    });
  }

  const KINDS = [["exact", "x-s1", "exact: every label, weighted by the model", ""], ["empirical", "x-s2", "empirical: the data’s labels", "7 4"], ["drawn", "x-s3", "one drawn label a point", "2 4"]];

  function draw(s, r, v) {
    const wide = !v.narrow, side = wide ? Math.min(330, v.width * 0.44) : Math.min(300, v.width - 44), top = 40;
    const left = { x: 28, y: top, width: side, height: side, domain: [[-3, 3], [-3, 3]] };
    const right = { x: wide ? v.width - side - 6 : 28, y: wide ? top : top + side + 82, width: side, height: side, domain: [[-REACH, REACH], [-REACH, REACH]] };
    const data = t2vKit.plane({ ...left, ticks: [[-2, 0, 2], [-2, 0, 2]], names: ["first input", "second input"] });
    const steps = t2vKit.plane({ ...right, ticks: [[-2, 0, 2], [-2, 0, 2]], names: ["step of the first weight", "step of the second weight"] });
    const norm = Math.hypot(...W), along = [-W[1] / norm, W[0] / norm].map((u) => u * 6);
    const inside = (box, plane, points, shift) => points.map(([x, y]) => [plane.px(x) - box.x, plane.py(y) - box.y + shift]);
    const picture = [
      data.nodes, steps.nodes,
      h("svg", { x: left.x, y: left.y, width: left.width, height: left.height },
        h("path", { class: "x-dash", d: path(inside(left, data, [along.map((u) => -u), along], 0)) })),
      text(left.x + left.width - 4, left.y + 16, "on this side label 1 is likelier", { class: "x-soft x-small x-halo", "text-anchor": "end" }),
      h("svg", { x: right.x, y: right.y, width: right.width, height: right.height },
        KINDS.map(([key, colour, , dash]) => h("path", { class: colour, "stroke-width": 2.75, "stroke-dasharray": dash || null, d: `${path(inside(right, steps, ellipse(r[key]), 0))}Z` }))),
      h("circle", { class: "x-faint", cx: steps.px(0), cy: steps.py(0), r: 3 }),
    ];
    const foot = right.y + side + 62;
    picture.push(KINDS.map(([, colour, words, dash], i) => {
      const place = wide ? [[28, foot], [28, foot + 21], [v.width / 2 + 24, foot]][i] : [0, foot + 21 * i];
      return h("g", {}, h("path", { class: colour, "stroke-width": 2.75, "stroke-dasharray": dash || null, d: `M${place[0]} ${place[1] - 4}h30` }), text(place[0] + 38, place[1], words, { class: "x-soft" }));
    }));
    const move = (i, x, y) => {
      const points = [...s.points];
      points[2 * i] = round(clamp(x, -2.9, 2.9), 2);
      points[2 * i + 1] = round(clamp(y, -2.9, 2.9), 2);
      v.set({ points, selected: i });
    };
    const handles = s.labels.map((label, i) => {
      const [x, y] = [s.points[2 * i], s.points[2 * i + 1]], chosen = i === s.selected;
      return t2vKit.handle({
        key: `p${i}`, tab: chosen, label: chosen ? "the chosen point" : `point ${i + 1}`, x: data.px(x), y: data.py(y), now: x, min: -2.9, max: 2.9,
        text: `at ${x.toFixed(2)} and ${y.toFixed(2)}, label ${label}, which the model gives ${(label ? r.chances[i] : 1 - r.chances[i]).toFixed(2)}`,
        drag: ([a, b]) => move(i, data.toX(a), data.toY(b)),
        step: (dx, dy) => move(i, x + 0.1 * clamp(dx, -60, 60), y + 0.1 * clamp(dy, -60, 60)),
        press: () => v.set({ labels: s.labels.map((l, k) => (k === i ? 1 - l : l)), selected: i }),
        shape: [h("circle", { class: "x-ring", r: 12 }), chosen && h("circle", { class: "x-thin", r: 9.5 }),
          label ? h("circle", { class: "x-c2 x-edge", r: 6.5 }) : h("rect", { class: "x-c1 x-edge", x: -5.5, y: -5.5, width: 11, height: 11, rx: 1.5 })].filter(Boolean),
      });
    });
    return { height: foot + (wide ? 30 : 50), picture, handles };
  }

  // --- the figure ---

  const sure = first.labels.map((y, i) => (y ? 1 : -1) * (W[0] * first.points[2 * i] + W[1] * first.points[2 * i + 1]));
  const start = { ...first, draw: 1, selected: sure.indexOf(Math.max(...sure)) };
  t2vKit.define("flip_label", {
    title: "Points with labels, and the ellipses of three matrices that are all called Fisher information",
    prompt: "Click a point to flip its label: which ellipses move? Then drag it.",
    settings: start,
    sane({ points, labels, draw: seed, selected }) {
      const whole = points.length === 2 * COUNT && labels.length === COUNT;
      return { points: whole ? points.map((p) => clamp(p, -2.9, 2.9)) : first.points, labels: whole ? labels.map((l) => (l ? 1 : 0)) : first.labels,
        draw: clamp(Math.round(seed), 0, 9999), selected: clamp(Math.round(selected), 0, COUNT - 1) };
    },
    compute,
    draw,
    numbers: (s, r) => ["exact trace", "empirical trace", "trace of one draw"].map((name, i) => [name, r.traces[i].toFixed(3)]),
    controls: (s, r, v) => [
      t2vKit.range({ label: "Chosen point", value: s.selected + 1, min: 1, max: COUNT, step: 1, text: `${s.selected + 1} of ${COUNT}`, set: (value) => v.set({ selected: Math.round(value) - 1 }) }),
      t2vKit.row(
        t2vKit.button({ label: "Flip its label", action: () => v.set({ labels: s.labels.map((l, k) => (k === s.selected ? 1 - l : l)) }) }),
        t2vKit.button({ label: "Draw labels anew", action: () => v.set({ draw: s.draw + 1 }) }),
        t2vKit.button({ label: "Take the drawn labels as data", action: () => v.set({ labels: [...r.signs] }) }),
      ),
    ],
    say(s, r) {
      const flipped = s.labels.filter((l, i) => l !== first.labels[i]).length, i = s.selected, mine = s.labels[i] ? r.chances[i] : 1 - r.chances[i];
      const ratio = r.traces[1] / r.traces[0];
      return `The chosen point has label ${s.labels[i]}, to which the model gives ${mine.toFixed(2)}. ${flipped ? `${flipped} of the ${COUNT} labels ${flipped === 1 ? "is" : "are"} flipped: the` : "The"} empirical trace is ${ratio.toFixed(2)} times the exact one, which no label can move: it knows the points and the model only.`;
    },
  });
})();
