// needs: choose_network
/* Chapter 10 and the landing page: rank six networks before the truth is shown, and pay the regret.

Scores are those of one drawing of images, errors those of another (seeds 0 and 1 of runs/atlas), as in the chapter. Task2Vec:
d_asym = d_sym − α d(source, reference). Kendall's τ-b and regret as in t2v.comparison.compare: where errors tie, so do pairs;
sources that tie for the best prediction count with their mean error.
*/
(function () {
  "use strict";
  const { h, text, at, clamp, round } = t2vKit;
  const data = t2vKit.data.choose_network, tasks = data.tasks, N = tasks.length, SIX = 6;
  const matrix = (packed) => Array.from({ length: N }, (_, a) =>
    Array.from({ length: N }, (_, b) => (parseInt(packed.substr(4 * (a * N + b), 4), 36) - 1e5) / 1e5)); // exactly the table's
  const [error, symmetric, trivial, canonical, logme] = ["error", "symmetric", "trivial", "canonical", "logme"].map((k) => matrix(data[k]));
  const index = (name) => tasks.findIndex(([id]) => id === name);
  const others = (target) => [...Array(N).keys()].filter((s) => s !== target);

  // --- the mathematics ---

  function kendall(predicted, measured) {
    let sum = 0, p = 0, m = 0;
    for (let i = 0; i < predicted.length; i++)
      for (let j = 0; j < i; j++) {
        const a = Math.sign(predicted[i] - predicted[j]), b = Math.sign(round(measured[i] - measured[j], 9));
        sum += a * b;
        p += a * a;
        m += b * b;
      }
    return p && m ? sum / Math.sqrt(p * m) : 0;
  }

  function regret(predicted, measured) {
    const low = Math.min(...predicted), tied = measured.filter((_, i) => predicted[i] === low);
    return tied.reduce((a, b) => a + b) / tied.length - Math.min(...measured);
  }

  const judge = (predicted, measured) => ({ tau: kendall(predicted, measured), regret: regret(predicted, measured) });

  /** Six sources for a target, from the best to the worst of its shelf, in a shuffled order. */
  function shelf(target) {
    const sorted = others(target).sort((a, b) => error[target][a] - error[target][b] || a - b);
    const six = [0, 4, 9, 13, 18, 22].map((place) => sorted[place]), random = t2vKit.random(target + 5);
    for (let i = SIX - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [six[i], six[j]] = [six[j], six[i]];
    }
    return six;
  }

  function compute({ target, order, alpha, reference }) {
    const t = index(target), six = shelf(t), to = reference === "canonical" ? canonical : trivial;
    const mine = order.map((i) => six[i]);
    const distance = (sources, of = t) => sources.map((s) => symmetric[of][s] - alpha * to[of][s]);
    const evidence = (sources, of = t) => sources.map((s) => -logme[of][s]), errors = (sources, of = t) => sources.map((s) => error[of][s]);
    const measured = errors(mine), mean = measured.reduce((a, b) => a + b) / SIX;
    const average = (score) => others(-1).reduce((sum, of) => sum + kendall(score(others(of), of), errors(others(of), of)) / N, 0);
    const place = (values) => values.map((v) => 1 + values.filter((w) => w < v).length);
    return {
      sources: mine.map((s) => tasks[s][0]), six, mine, errors: measured, frozen: data.frozen[t],
      you: judge(mine.map((_, i) => i), measured),
      task2vec: judge(distance(mine), measured),
      logme: judge(evidence(mine), measured),
      chance: { tau: 0, regret: mean - Math.min(...measured) },
      places: { task2vec: place(distance(mine)), logme: place(evidence(mine)) },
      whole: { task2vec: judge(distance(others(t)), errors(others(t))), logme: judge(evidence(others(t)), errors(others(t))) },
      average: { task2vec: average(distance), logme: average(evidence) },
    };
  }

  // --- the picture ---

  const ROW = 44;

  function chip(s, i, r, settings, v, g) {
    const [, name, sign] = tasks[s];
    const to = (place) => {
      const order = settings.order.filter((k) => k !== settings.order[i]);
      order.splice(clamp(place, 0, SIX - 1), 0, settings.order[i]);
      v.set({ order });
    };
    return t2vKit.handle({
      key: tasks[s][0], glide: true, label: `network trained on ${name}`, x: g.left, y: g.top + (i + 0.5) * ROW, now: i + 1, min: 1, max: SIX,
      text: `place ${i + 1} of ${SIX}`,
      drag: ([, y]) => { const place = Math.floor((y - g.top) / ROW); if (place !== i) to(place); },
      step: (dx, dy) => to(Number.isFinite(dx) ? i + dx - dy : dx > 0 ? SIX - 1 : 0),
      shape: [
        h("rect", { class: "x-ring", x: -3, y: -21, width: g.chip + 6, height: 42, rx: 11 }),
        h("rect", { class: "x-card", y: -18, width: g.chip, height: 36, rx: 8 }),
        h("path", { class: "x-thin", d: "M9 -5h9M9 0h9M9 5h9" }),
        text(28, 6, sign, { class: "x-big" }),
        text(g.signs, 5, name, {}),
      ],
    });
  }

  /** The scoreboard: one line for each judge, τ as a dot between −1 and 1, and what its first choice cost. */
  function board(r, { revealed }, x, y, width) {
    const rows = [["You", r.you, 2], ["Task2Vec", r.task2vec, 1], ["LogME", r.logme, 3], ["Blind choice", r.chance, 0]];
    const from = x + 96, to = x + width - 96, scale = (tau) => from + ((tau + 1) / 2) * (to - from), bottom = y + rows.length * 30;
    return [
      h("path", { class: "x-hair", d: [-1, 0, 1].map((t) => `M${round(scale(t), 1)} ${y + 4}V${bottom}`).join("") }),
      [-1, 0, 1].map((t) => text(scale(t), y - 4, String(t).replace("-", "−"), { class: "x-soft x-small", "text-anchor": "middle" })),
      text(x + width, y - 4, "regret", { class: "x-soft x-small", "text-anchor": "end" }),
      text(x, y - 4, "Kendall’s τ", { class: "x-soft x-small" }),
      rows.map(([name, judged, colour], i) => {
        const line = y + 22 + 30 * i;
        return h("g", {}, text(x, line + 4, name, { class: i ? "" : "x-bold" }),
          h("path", { class: "x-hair", d: `M${from} ${line}H${to}` }),
          revealed && h("circle", { class: `x-move ${colour ? `x-c${colour}` : "x-faint"}`, r: i ? 6 : 7.5, style: at(scale(judged.tau), line) }),
          text(x + width, line + 4, revealed ? `+${judged.regret.toFixed(3)}` : "?", { class: revealed ? "" : "x-soft", "text-anchor": "end" }));
      }),
    ];
  }

  function draw(settings, r, v) {
    const wide = !v.narrow, [, name, sign] = tasks[index(settings.target)];
    const g = { left: 26, top: 78, chip: wide ? Math.round(v.width * 0.36) : Math.round(v.width * 0.56), signs: wide ? 100 : 88 };
    const bars = g.left + g.chip + 16, room = v.width - bars - (wide ? 128 : 34), most = Math.max(...r.errors, r.frozen) * 1.02;
    const length = (e) => (e / most) * room, least = Math.min(...r.errors), end = g.top + SIX * ROW;
    const picture = [
      text(0, 20, "New task:", { class: "x-soft" }),
      text(78, 21, sign, { class: "x-big" }), text(78 + (wide ? 76 : 66), 20, name, { class: "x-bold" }),
      text(g.left, 62, "Start from the network for …", { class: "x-soft" }),
      text(bars, 62, wide ? "error on the new task" : "error", { class: "x-soft" }),
      settings.revealed && h("path", { class: "x-dash", d: `M${round(bars + length(r.frozen), 1)} ${g.top}V${end + 4}` }),
      r.mine.map((s, i) => h("g", { key: `row ${i}` }, text(8, g.top + (i + 0.5) * ROW + 5, i + 1, { class: "x-soft", "text-anchor": "middle" }),
        settings.revealed
          ? [h("rect", { class: r.errors[i] === least ? "x-c3" : "x-faint", x: bars, y: g.top + i * ROW + 11, width: round(length(r.errors[i]), 1), height: 22, rx: 3 }),
            text(bars + length(r.errors[i]) + 6, g.top + (i + 0.5) * ROW + 5, r.errors[i].toFixed(2), { class: r.errors[i] === least ? "x-bold x-halo" : "x-soft x-halo" })]
          : h("rect", { class: "x-card", x: bars, y: g.top + i * ROW + 11, width: room, height: 22, rx: 3 }),
        !settings.revealed && text(bars + room / 2, g.top + (i + 0.5) * ROW + 5, "?", { class: "x-soft", "text-anchor": "middle" }),
        wide && settings.revealed && [text(v.width - 76, g.top + (i + 0.5) * ROW + 5, r.places.task2vec[i], { "text-anchor": "middle" }),
          text(v.width - 20, g.top + (i + 0.5) * ROW + 5, r.places.logme[i], { "text-anchor": "middle" })])),
      wide && settings.revealed && [text(v.width - 76, 62, "Task2Vec", { class: "x-soft x-small", "text-anchor": "middle" }),
        text(v.width - 20, 62, "LogME", { class: "x-soft x-small", "text-anchor": "middle" }),
        text(v.width - 48, 46, "their order", { class: "x-soft x-small", "text-anchor": "middle" })],
      settings.revealed && [text(clamp(bars + length(r.frozen), bars + 50, v.width - 4), end + 19, "straight from the probe", { class: "x-soft x-small", "text-anchor": length(r.frozen) > room * 0.6 ? "end" : "middle" })],
      board(r, settings, 0, end + 54, v.width),
    ];
    return { height: end + 54 + 4 * 30 + 8, picture, handles: [...r.mine.keys()].sort((a, b) => r.mine[a] - r.mine[b]).map((i) => chip(r.mine[i], i, r, settings, v, g)) };
  }

  // --- the figure ---

  t2vKit.define("choose_network", {
    title: "Six networks to start from, in your order, and what each costs on a new task",
    prompt: "Which trained network would you start from? Drag the six into your order, best first, then show the truth.",
    settings: { target: "greek_lower", order: [0, 1, 2, 3, 4, 5], revealed: 0, alpha: 0.15, reference: "trivial" },
    sane({ target, order, revealed, alpha, reference }) {
      const valid = order.length === SIX && [...order].sort((a, b) => a - b).every((k, i) => k === i);
      return { target: index(target) < 0 ? "greek_lower" : target, order: valid ? order : [0, 1, 2, 3, 4, 5], revealed: revealed ? 1 : 0,
        alpha: clamp(alpha, 0, 1), reference: reference === "canonical" ? reference : "trivial" };
    },
    compute,
    draw,
    controls: ({ target, order, revealed, alpha, reference }, r, v) => [
      t2vKit.row(
        t2vKit.button({ label: revealed ? "Hide the truth" : "Show the truth", action: () => v.set({ revealed: revealed ? 0 : 1 }) }),
        t2vKit.menu({ label: "New task", options: tasks.map(([id, name]) => [id, name]), value: target,
          set: (id) => v.set({ target: id, order: [0, 1, 2, 3, 4, 5], revealed: 0 }) }),
      ),
      t2vKit.range({ label: "α, Task2Vec’s bonus for sources far from the reference", value: alpha, min: 0, max: 1, step: 0.01, text: alpha.toFixed(2), set: (value) => v.set({ alpha: value }) }),
      t2vKit.choice({ label: "Reference", name: "choose_network_reference", value: reference, options: [["trivial", "a task that prefers no filter"], ["canonical", "the probe’s own task"]],
        set: (value) => v.set({ reference: value }) }),
    ],
    say({ target, revealed, alpha }, r) {
      const minus = (value) => value.toFixed(2).replace("-", "−"), named = (s) => tasks[s][1], [, name] = tasks[index(target)], best = r.mine[r.errors.indexOf(Math.min(...r.errors))];
      if (!revealed) return `The new task is ${name}. Your order: ${r.mine.map(named).join(", ")}. Neither you nor Task2Vec has seen an error yet.`;
      const yours = r.you.regret < 5e-4 ? `your first choice, ${named(r.mine[0])}, is the best of the six` : `the best of the six is ${named(best)}; your first choice costs ${r.you.regret.toFixed(3)} more error`;
      return `For ${name}, ${yours}. Your τ is ${minus(r.you.tau)}, Task2Vec’s ${minus(r.task2vec.tau)} and LogME’s ${minus(r.logme.tau)}; with all 23 sources and 24 targets, at α = ${alpha.toFixed(2)}, ${minus(r.average.task2vec)} and ${r.average.logme.toFixed(2)}.`;
    },
  });
})();
