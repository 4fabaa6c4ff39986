/* The kit of the live figures ("explorables"): no library, no network, works from file://.

A page that holds {explorable} NAME loads kit.css, kit.js, the data files that NAME.js asks for, and NAME.js, as classic
deferred scripts. NAME.js calls t2vKit.define(NAME, spec); the kit then replaces each still picture
<div class="t2v-x" data-explorable="NAME"> by the living one. Without scripts, in print and in the PDF the still remains.

HOW TO WRITE ONE (postal_robot.js is the pattern)
  // needs: letters, postal_robot          first line: data files (letters.data.js …), if there are any
  t2vKit.define("postal_robot", {
    title:    "…",                         names the figure for screen readers
    prompt:   "Drag …",                    one sentence that says what to try
    settings: { beta: 3, start: 0 },       all that a reader can change, with its first value: numbers, short strings,
                                           arrays of numbers. This alone is the state, and is kept in the address.
    sane(s)       → s                      repair what came from an address (clamp, round); optional
    compute(s)    → result                 pure mathematics, no page; exposed as t2vExplorables.NAME.compute(settings),
                                           where tests compare it with the Python package
    draw(s, r, v) → { height, picture, handles }   SVG nodes in pixels; v.width is the room (from 300 to 900),
                                           v.narrow says "a phone", v.set({beta: 2}) changes settings
                                           picture: seen only; handles: what can be dragged
    controls(s, r, v) → nodes              t2vKit.range, t2vKit.button, t2vKit.choice, t2vKit.row
    above(s, r, v) → nodes                 the same, over the picture: for the one button that starts it all; optional
    numbers(s, r) → [[label, value], …]    the few numbers that matter, under the picture; optional
    say(s, r)     → "…"                    the state as one or two sentences: shown, and read aloud
  });
Functions must be pure: the same settings give the same picture (scripts/explorables_stills.py draws the still with them).

NODES: h(tag, attributes, ...children), with `key` for what moves among its sisters, on-handlers as functions, `style`.
DRAGGING: t2vKit.handle({x, y, label, now, min, max, text, drag(point), step(dx, dy)}): a point for mouse, touch and arrow
keys (Shift: five times as far; Page keys: ten times; Home, End: infinitely). `drag` gets the pointer in the picture's
pixels; `press` is a click, or Enter. Of many handles, all but the chosen one get tab: false. In `step`, dx and dy count key presses, right and up.
COLOUR: never a literal. Classes from kit.css: x-ink, x-soft, x-faint (text), x-line, x-hair, x-area, x-card, x-dot, and
x-c1 … x-c6 (series; fill) or x-s1 … x-s6 (stroke). x-move lets a transform glide.
AXES: t2vKit.plane({x, y, width, height, domain: [[x0, x1], [y0, y1]], ticks: [[…], […]], names: ["…", "…"]}).
ADDRESS: #postal_robot:beta=2.2;other:…  one part for each figure whose state is not the first one.
*/
(function () {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const HTML = "http://www.w3.org/1999/xhtml";
  const made = (window.t2vExplorables = window.t2vExplorables || {});
  const kit = (window.t2vKit = { data: {} });

  // --- nodes: a description of what should be there, and a patch that makes it so ---

  const h = (kit.h = (tag, attributes, ...children) => ({
    tag,
    attributes: attributes || {},
    children: children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false),
  }));

  function listen(element, type, action) {
    const on = (element.t2vOn = element.t2vOn || {});
    if (!(type in on)) element.addEventListener(type, (event) => element.t2vOn[type]?.(event));
    on[type] = action;
  }

  function dress(element, attributes) {
    const before = element.t2vAttributes || {};
    for (const name of Object.keys(before)) {
      if (name in attributes) continue;
      if (typeof before[name] === "function") element.t2vOn[name.slice(2)] = null;
      else element.removeAttribute(name);
    }
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") listen(element, name.slice(2), value);
      else if (name === "key" || value === before[name]) continue;
      else if (name === "style") element.style.cssText = value;
      else if (value === false || value === null || value === undefined) element.removeAttribute(name);
      else element.setAttribute(name, value === true ? "" : value);
    }
    if ("value" in attributes && element.value !== String(attributes.value)) element.value = attributes.value;
    element.t2vAttributes = attributes;
  }

  function patch(parent, children, space) {
    const known = new Map();
    for (const child of parent.childNodes) known.set(child.t2vKey, child);
    children.forEach((node, i) => {
      const isText = typeof node !== "object";
      const key = isText ? `text ${i}` : `${node.tag} ${node.attributes.key ?? i}`;
      const inner = node.tag === "svg" ? SVG : space;
      let element = known.get(key);
      known.delete(key);
      if (!element) {
        element = isText ? document.createTextNode("") : document.createElementNS(inner, node.tag);
        element.t2vKey = key;
      }
      if (parent.childNodes[i] !== element) parent.insertBefore(element, parent.childNodes[i] || null);
      if (isText) {
        if (element.data !== String(node)) element.data = node;
      } else {
        patch(element, node.children, inner); // before the attributes: a <select> needs its options
        dress(element, node.attributes);
      }
    });
    for (const child of known.values()) child.remove();
  }

  // --- small helpers for pictures ---

  kit.clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  kit.round = (value, digits) => Number(value.toFixed(digits));
  kit.text = (x, y, words, attributes) => h("text", { x: kit.round(x, 1), y: kit.round(y, 1), ...attributes }, words);
  kit.path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${kit.round(x, 1)} ${kit.round(y, 1)}`).join("");
  kit.at = (x, y, scale = 1) =>
    `transform: translate(${kit.round(x, 1)}px, ${kit.round(y, 1)}px)${scale === 1 ? "" : ` scale(${kit.round(scale, 3)})`}`;
  /** A generator of numbers in [0, 1) (mulberry32): the same seed, the same numbers, on every machine. */
  kit.random = (seed) => {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  };

  /** Axes with ticks and names; x and y map data to pixels, toX and toY back. */
  kit.plane = ({ x, y, width, height, domain, ticks, names, format = (t) => String(t).replace("-", "−") }) => {
    const [[x0, x1], [y0, y1]] = domain;
    const px = (value) => x + ((value - x0) / (x1 - x0)) * width;
    const py = (value) => y + height - ((value - y0) / (y1 - y0)) * height;
    const nodes = [
      h("path", { class: "x-hair", d: ticks[1].map((t) => `M${x} ${kit.round(py(t), 1)}h${width}`).join("") }),
      h("path", { class: "x-axis", d: `M${x} ${y + height}h${width}` }),
      ticks[0].map((t) => kit.text(px(t), y + height + 17, format(t), { class: "x-soft x-small", "text-anchor": "middle" })),
      ticks[1].map((t) => kit.text(x - 7, py(t) + 4, format(t), { class: "x-soft x-small", "text-anchor": "end" })),
      kit.text(x + width, y + height + 35, names[0], { class: "x-soft", "text-anchor": "end" }),
      kit.text(x - 24, y - 12, names[1], { class: "x-soft" }),
    ];
    const toX = (value) => x0 + ((value - x) / width) * (x1 - x0);
    const toY = (value) => y0 + ((y + height - value) / height) * (y1 - y0);
    return { nodes, px, py, toX, toY };
  };

  /** What can be dragged: a ring to grab, for mouse, touch and arrow keys. */
  kit.handle = ({ x, y, label, now, min, max, text, drag, step, shape, key, glide, press, tab = true, radius = 9 }) =>
    h(
      "g",
      {
        key: key || label, class: glide ? "x-handle x-move" : "x-handle", role: "slider", tabindex: tab ? "0" : "-1", "aria-label": label,
        "aria-valuenow": kit.round(now, 4), "aria-valuemin": min, "aria-valuemax": max, "aria-valuetext": text,
        style: kit.at(x, y),
        onpointerdown: (event) => begin(event, drag, press),
        onkeydown: (event) => {
          const far = event.shiftKey ? 5 : 1;
          const move = {
            ArrowRight: [far, 0], ArrowLeft: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far], PageUp: [0, 10],
            PageDown: [0, -10], Home: [-Infinity, 0], End: [Infinity, 0],
          }[event.key];
          if (press && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); press(); return; }
          if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          step(...move);
        },
      },
      h("circle", { class: "x-reach", r: 22 }),
      shape || [h("circle", { class: "x-ring", r: radius + 5 }), h("circle", { class: "x-grip", r: radius })],
    );

  /** An area that reacts to a pointer drawn over it, for painting; keys need handles or controls beside it. */
  kit.pad = (attributes, drag) =>
    h("rect", { class: "x-pad", ...attributes, onpointerdown: (event) => begin(event, drag) });

  function begin(event, drag, press) {
    if (event.button) return;
    const element = event.currentTarget, picture = element.ownerSVGElement;
    event.preventDefault();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    let last = null, frame = 0, far = 0;
    const act = () => {
      frame = 0;
      const box = picture.getBoundingClientRect(), room = picture.viewBox.baseVal;
      drag([((last.clientX - box.left) / box.width) * room.width, ((last.clientY - box.top) / box.height) * room.height]);
    };
    const move = (next) => {
      far = Math.max(far, Math.hypot(next.clientX - event.clientX, next.clientY - event.clientY));
      last = next;
      if (press && far < 4) return; // perhaps it is only pressed
      if (!frame) frame = requestAnimationFrame(act);
    };
    const end = () => {
      if (frame) { cancelAnimationFrame(frame); act(); }
      for (const type of ["pointerup", "pointercancel"]) element.removeEventListener(type, end);
      element.removeEventListener("pointermove", move);
      if (press && far < 4) press();
    };
    element.addEventListener("pointermove", move);
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, end);
    move(event);
  }

  // --- controls: real inputs and buttons ---

  kit.row = (...nodes) => h("div", { class: "x-row" }, nodes);

  /** A slider with a name and its value in words; `scale: "log"` for what spans decades. */
  kit.range = ({ label, value, min, max, step, scale, text, set }) => {
    const log = scale === "log", to = log ? Math.log : (v) => v, from = log ? Math.exp : (v) => v;
    const [low, high] = [to(min), to(max)];
    return h(
      "label",
      { key: label, class: "x-range" },
      h("span", {}, label),
      h("input", {
        type: "range", min: low, max: high, step: log ? (high - low) / 400 : step, value: to(value), "aria-valuetext": text,
        oninput: (event) => set(kit.clamp(from(Number(event.target.value)), min, max)),
      }),
      h("output", {}, text),
    );
  };

  kit.button = ({ label, action, pressed, disabled, hint }) =>
    h("button", { key: label, type: "button", class: "x-button", "aria-pressed": pressed === undefined ? null : String(pressed),
      disabled: Boolean(disabled), title: hint, onclick: action }, label);

  /** One of a few: a row of radio buttons that look like tabs. */
  kit.choice = ({ label, options, value, name, set }) =>
    h("fieldset", { key: label, class: "x-choice" }, h("legend", {}, label),
      options.map(([id, words]) => h("label", { key: id },
        h("input", { type: "radio", name, value: id, checked: id === value, onchange: () => set(id) }), h("span", {}, words))));

  /** One of many: a menu. */
  kit.menu = ({ label, options, value, set }) =>
    h("label", { key: label, class: "x-menu" }, h("span", {}, label),
      h("select", { value, onchange: (event) => set(event.target.value) },
        options.map(([id, words]) => h("option", { key: id, value: id, selected: id === value }, words))));

  // --- the state in the address ---

  const write = (value) => (Array.isArray(value) ? value.map(write).join("~") : typeof value === "number" ? String(kit.round(value, 4)) : value);

  function read(words, first) {
    if (Array.isArray(first)) {
      const values = words === "" ? [] : words.split("~").map((w) => read(w, first.length ? first[0] : 0));
      return values.includes(undefined) ? undefined : values;
    }
    if (typeof first !== "number") return words;
    const value = Number(words);
    return words !== "" && Number.isFinite(value) ? value : undefined;
  }

  /** The parts of an address's fragment that belong to figures: name → text. */
  function parts() {
    const found = new Map();
    for (const piece of location.hash.slice(1).split(";")) {
      const [, name, state] = /^(\w+):(.*)$/.exec(piece) || [];
      if (name) found.set(name, state);
    }
    return found;
  }

  function fromAddress(name, first) {
    const settings = { ...first };
    for (const pair of (parts().get(name) || "").split("&")) {
      const [key, words = ""] = pair.split("=");
      if (!(key in first)) continue;
      let value;
      try { value = read(decodeURIComponent(words), first[key]); } catch { continue; }
      if (value !== undefined) settings[key] = value;
    }
    return settings;
  }

  function toAddress(name, settings, first) {
    const changed = Object.keys(first).filter((key) => write(settings[key]) !== write(first[key]));
    const found = parts();
    if (changed.length) found.set(name, changed.map((key) => `${key}=${encodeURIComponent(write(settings[key]))}`).join("&"));
    else if (!found.delete(name)) return; // another part of the address is none of ours
    const hash = [...found].map(([n, state]) => `${n}:${state}`).join(";");
    try { history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search); } catch { /* a page without an address of its own */ }
  }

  // --- a figure ---

  function view(spec, width, set) {
    return { width, narrow: width < 560, set };
  }

  /** The picture of given settings, as a node: for the page, and for the still. */
  kit.picture = (spec, settings, result, v, still) => {
    const { height, picture, handles = [] } = spec.draw(settings, result, v);
    return h("svg", { class: "x-picture", viewBox: `0 0 ${v.width} ${Math.round(height)}`, width: v.width, height: Math.round(height),
      role: still ? "img" : "group", "aria-label": spec.title },
      h("g", { "aria-hidden": "true" }, picture), handles);
  };

  function mount(stage, name, spec) {
    const repair = spec.sane || ((s) => s);
    let settings = repair(fromAddress(name, spec.settings)), width = 0, timer = 0, saver = 0, copied = "";
    const root = document.createElement("div");
    root.className = "x-live";
    const aloud = document.createElement("p");
    aloud.className = "x-aloud";
    aloud.setAttribute("aria-live", "polite");

    function set(changes, quiet) {
      settings = repair({ ...settings, ...changes });
      copied = "";
      render();
      if (quiet) return;
      clearTimeout(saver);
      saver = setTimeout(() => toAddress(name, settings, spec.settings), 200);
    }

    function copy() {
      toAddress(name, settings, spec.settings);
      const tell = (words) => { copied = words; render(); };
      const byHand = () => tell("The address bar holds this view");
      if (!navigator.clipboard) byHand();
      else navigator.clipboard.writeText(location.href).then(() => tell("Link copied"), byHand);
    }

    function render() {
      const result = spec.compute(settings), v = view(spec, width, set);
      const words = spec.say(settings, result), isFirst = Object.keys(spec.settings).every((k) => write(settings[k]) === write(spec.settings[k]));
      const numbers = spec.numbers ? spec.numbers(settings, result) : [];
      patch(root, [
        h("p", { class: "x-prompt" }, spec.prompt),
        spec.above && h("div", { class: "x-controls x-above" }, spec.above(settings, result, v)),
        kit.picture(spec, settings, result, v, false),
        numbers.length && h("dl", { class: "x-numbers" }, numbers.map(([label, value]) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, value)))),
        h("div", { class: "x-controls" }, spec.controls(settings, result, v)),
        h("p", { class: "x-say" }, words),
        h("div", { class: "x-foot" },
          h("button", { type: "button", class: "x-quiet", disabled: isFirst, onclick: () => set({ ...spec.settings }) }, "Start over"),
          h("button", { type: "button", class: "x-quiet", onclick: copy }, copied || "Copy a link to this view")),
      ].filter(Boolean), HTML);
      clearTimeout(timer);
      timer = setTimeout(() => { if (aloud.textContent !== words) aloud.textContent = words; }, 600);
    }

    const room = () => Math.round(kit.clamp(stage.clientWidth, 300, 900));
    width = room();
    render();
    stage.replaceChildren(root, aloud);
    stage.classList.add("x-alive");
    new ResizeObserver(() => { if (room() !== width) { width = room(); render(); } }).observe(stage);
    window.addEventListener("hashchange", () => set(fromAddress(name, spec.settings), true));
    if (parts().has(name)) stage.closest("figure, body").scrollIntoView({ block: "center" });
  }

  /** Register a figure, and bring every place on this page that asks for it to life. */
  kit.define = (name, spec) => {
    made[name] = { compute: (settings) => spec.compute({ ...spec.settings, ...settings }), spec };
    for (const stage of document.querySelectorAll(`[data-explorable="${name}"]`)) {
      try { mount(stage, name, spec); } catch (error) { console.error(`explorable ${name}: ${error.stack}`); } // the still stays
    }
  };

  /** Draw the still of a figure into an element (scripts/explorables_stills.py). */
  kit.still = (name, width, parent) => {
    const { spec } = made[name], settings = spec.settings;
    patch(parent, [kit.picture(spec, settings, spec.compute(settings), view(spec, width, () => {}), true)], HTML);
    return parent.firstChild;
  };
})();
