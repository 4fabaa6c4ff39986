/* Chapter 4: two noisy wires, one price. X = (digit wire, background wire), each of unit variance; what is asked, Y, has a
part for each, of correlation ρ. A tap lets T = X + noise of width σ through: I(T;X) = ½ log(1 + 1/σ²) and
I(T;Y) = −½ log(1 − ρ²/(1 + σ²)). The loss −I(T;Y) + β′I(T;X) adds over the wires, and is least (eq. 3.9, with β = 1/β′) at
I(T;X) = ½ log((β−1)ρ²/(1−ρ²)) where β′ < ρ², and at a closed tap elsewhere (t2v.bottleneck.gaussian, bits).
*/
(function () {
  "use strict";
  const { h, text, path, clamp, round } = t2vKit;
  const MOST = 4, WIRES = ["digit", "background"], STEPS = 80;

  const learnt = (flow, rho) => -0.5 * Math.log2(1 - rho * rho * (1 - 2 ** (-2 * flow))); // 1/(1+σ²) = 1 − 2^(−2 I(T;X))
  const loss = (flow, rho, price) => -learnt(flow, rho) + price * flow;
  const best = (rho, price) => (price < rho * rho ? Math.max(0, 0.5 * Math.log2(((1 / price - 1) * rho * rho) / (1 - rho * rho))) : 0);

  function compute({ digit, background, price, rhoDigit, rhoBackground }) {
    const wires = [[digit, rhoDigit], [background, rhoBackground]].map(([flow, rho]) => {
      const least = best(rho, price);
      return { rho, flow, learnt: learnt(flow, rho), loss: loss(flow, rho, price), sigma: flow > 0 ? 1 / Math.sqrt(2 ** (2 * flow) - 1) : Infinity, best: least, bestLearnt: learnt(least, rho), bestLoss: loss(least, rho, price), closes: rho * rho };
    });
    const sum = (key) => wires[0][key] + wires[1][key];
    return { wires, tx: sum("flow"), ty: sum("learnt"), loss: sum("loss"), bestTx: sum("best"), bestTy: sum("bestLearnt"), bestLoss: sum("bestLoss"), excess: sum("loss") - sum("bestLoss") };
  }

  // --- the picture ---

  const noise = (() => {
    const random = t2vKit.random(4);
    return WIRES.map(() => Array.from({ length: STEPS + 1 }, () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())));
  })();
  const signed = (value) => value.toFixed(3).replace("-", "−").replace(/^−(0\.000)$/, "$1");

  /** What comes through a tap: the signal and its noise, brought to one height. */
  function wave(i, wire, x, y, width) {
    const share = 1 - 2 ** (-2 * wire.flow), a = Math.sqrt(share), b = Math.sqrt(1 - share), tall = 10.5;
    const clean = (k) => 1.3 * Math.sin((k / STEPS) * (i ? 15 : 22) + i);
    const trace = (of) => path(Array.from({ length: STEPS + 1 }, (_, k) => [x + (k / STEPS) * width, y - tall * of(k)]));
    return [h("path", { class: "x-dash", d: trace(clean) }), h("path", { class: `x-s${i + 1}`, "stroke-width": 1.75, d: trace((k) => a * clean(k) + b * noise[i][k]) })];
  }

  function draw(s, r, v) {
    const wide = !v.narrow, width = wide ? v.width / 2 - 52 : v.width - 50, tall = 170;
    const boxes = WIRES.map((_, i) => ({ x: wide ? 44 + i * (v.width / 2 + 4) : 44, y: wide ? 118 : 118 + i * 330, width, height: tall }));
    const picture = [], handles = [];
    r.wires.forEach((wire, i) => {
      const name = WIRES[i], box = boxes[i], floor = Math.min(-0.06, wire.bestLoss) * 1.3, high = Math.max(0.12, -0.4 * floor);
      const step = -floor > 1.2 ? 0.5 : -floor > 0.5 ? 0.2 : -floor > 0.2 ? 0.1 : 0.05, ticks = Array.from({ length: 14 }, (_, k) => round((3 - k) * step, 2) || 0).filter((t) => t > floor && t <= high);
      const plane = t2vKit.plane({ ...box, domain: [[0, MOST], [floor, high]], ticks: [[0, 1, 2, 3, 4], ticks], names: ["I(T;X): bits let through", "loss in bits"] });
      const line = path(Array.from({ length: 81 }, (_, k) => { const flow = (k / 80) * MOST; return [plane.px(flow) - box.x, plane.py(loss(flow, wire.rho, s.price)) - box.y]; }));
      const x = plane.px(wire.flow), y = clamp(plane.py(wire.loss), box.y, box.y + tall), bx = plane.px(wire.best), by = plane.py(wire.bestLoss);
      picture.push(text(box.x - 36, box.y - 96, `The ${name} wire`, { class: "x-big" }), text(box.x + width, box.y - 96, wire.flow > 0 ? `noise σ = ${wire.sigma.toPrecision(2)}` : "closed", { class: "x-soft", "text-anchor": "end" }),
        wave(i, wire, box.x - 36, box.y - 58, width + 36), plane.nodes, h("path", { class: "x-dash", d: `M${box.x} ${round(plane.py(0), 1)}h${width}` }),
        h("svg", { x: box.x, y: box.y, width, height: tall }, h("path", { class: `x-s${i + 1}`, "stroke-width": 2.75, d: line })),
        h("path", { class: "x-s3", "stroke-width": 3, d: `M${round(bx, 1)} ${round(by, 1)}m-7 -7l14 14m0 -14l-14 14` }),
        text(clamp(bx + 12, 0, box.x + width - 130), Math.min(by + 22, box.y + tall - 6), wire.best > 0 ? "cheapest" : `cheapest: closed, since β′ ≥ ${wire.closes.toFixed(2)}`, { class: "x-soft x-small x-halo" }));
      const put = (flow) => v.set({ [name]: round(clamp(flow, 0, MOST), 2) });
      handles.push(t2vKit.handle({ label: `${name} tap`, x, y, now: wire.flow, min: 0, max: MOST, text: `${wire.flow.toFixed(2)} bits through, ${wire.learnt.toFixed(3)} of use, loss ${signed(wire.loss)}`,
        drag: ([px]) => put(plane.toX(px)), step: (dx, dy) => put(wire.flow + 0.05 * clamp(dx + dy, -99, 99)) }));
    });
    // the bill: what you pay and what is least, from the same zero
    const base = boxes[1].y + tall + 84, from = wide ? 88 : 76, room = v.width - from - 62, limit = Math.max(-r.bestLoss, 0.2) * 1.15, scale = (value) => from + ((clamp(value, -limit * 0.3, limit) / limit + 0.3) / 1.3) * room;
    [["you", r.wires.map((w) => -w.loss), r.loss], ["cheapest", r.wires.map((w) => -w.bestLoss), r.bestLoss]].forEach(([name, gains, total], row) => {
      const y = base + 34 * row;
      let plus = 0, minus = 0;
      picture.push(text(from - 12, y + 15, name, { class: "x-bold", "text-anchor": "end" }));
      gains.forEach((gain, i) => {
        const start = gain >= 0 ? plus : minus, end = start + gain;
        if (gain >= 0) plus = end; else minus = end;
        picture.push(h("rect", { key: `${name}${i}`, class: `x-c${i + 1}`, x: round(Math.min(scale(start), scale(end)), 1), y, width: round(Math.abs(scale(end) - scale(start)), 1), height: 20, rx: 2 }));
      });
      picture.push(text(v.width, y + 15, signed(-total), { class: "x-bold", "text-anchor": "end" }));
    });
    picture.push(h("path", { class: "x-axis", d: `M${round(scale(0), 1)} ${base - 6}v68` }), text(wide ? scale(0) : 8, base - 14, "gain I(T;Y) − β′I(T;X) of both wires, in bits", { class: "x-soft" }));
    return { height: base + 66, picture, handles };
  }

  // --- the figure ---

  t2vKit.define("two_taps", {
    title: "Two taps that let information through for a price, and the loss of each",
    prompt: "Set both taps where the loss is least. Then raise the price: which wire closes first?",
    settings: { digit: 1.2, background: 2.5, price: 0.1, rhoDigit: 0.9, rhoBackground: 0.5 },
    sane: ({ digit, background, price, rhoDigit, rhoBackground }) => ({ digit: clamp(digit, 0, MOST), background: clamp(background, 0, MOST), price: clamp(price, 0.02, 1), rhoDigit: clamp(rhoDigit, 0, 0.95), rhoBackground: clamp(rhoBackground, 0, 0.95) }),
    compute,
    draw,
    numbers: (s, r) => [["let through, I(T;X)", `${r.tx.toFixed(2)} bits`], ["of use, I(T;Y)", `${r.ty.toFixed(3)} bits`], ["paid above the least", `${Math.abs(r.excess).toFixed(3)} bits`]],
    controls: (s, r, v) => [
      t2vKit.range({ label: "Price β′ of a bit", value: s.price, min: 0.02, max: 1, step: 0.01, text: s.price.toFixed(2), set: (price) => v.set({ price: round(price, 2) }) }),
      t2vKit.range({ label: "ρ of the digit", value: s.rhoDigit, min: 0, max: 0.95, step: 0.01, text: s.rhoDigit.toFixed(2), set: (rho) => v.set({ rhoDigit: round(rho, 2) }) }),
      t2vKit.range({ label: "ρ of the background", value: s.rhoBackground, min: 0, max: 0.95, step: 0.01, text: s.rhoBackground.toFixed(2), set: (rho) => v.set({ rhoBackground: round(rho, 2) }) }),
      t2vKit.row(t2vKit.button({ label: "Set both to the cheapest", action: () => v.set({ digit: round(clamp(r.wires[0].best, 0, MOST), 2), background: round(clamp(r.wires[1].best, 0, MOST), 2) }) })),
    ],
    say(s, r) {
      const closed = r.wires.map((w) => w.best === 0), [d, b] = r.wires;
      const state = closed[0] && closed[1] ? "both taps are best closed" : closed[1] ? "the background is best shut out, the digit is not" : closed[0] ? "the digit is best shut out, and the background is not" : `it is best to let ${d.best.toFixed(2)} bits of the digit and ${b.best.toFixed(2)} of the background through`;
      return `Your loss is ${signed(r.loss)} bits, the least is ${signed(r.bestLoss)}. At β′ = ${s.price.toFixed(2)} ${state}: the digit wire closes at β′ = ρ² = ${d.closes.toFixed(2)}, the background wire at ${b.closes.toFixed(2)}.`;
    },
  });
})();
