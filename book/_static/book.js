document.addEventListener("DOMContentLoaded", () => {
  // The sidebar's toggles hold only an icon: say what they open.
  for (const toggle of document.querySelectorAll(".bd-links summary, nav summary")) {
    if (toggle.textContent.trim() || toggle.hasAttribute("aria-label")) continue;
    const link = toggle.closest("li")?.querySelector("a");
    toggle.setAttribute("aria-label", `Pages under ${link ? link.textContent.trim() : "this one"}`);
  }
  // An entry of a bibliography is a list item; the older role that it carries is not understood everywhere.
  for (const entry of document.querySelectorAll(".citation-list > .citation")) entry.setAttribute("role", "listitem");
  // A formula and the full stop after it stay on one line.
  for (const formula of document.querySelectorAll("article span.math")) {
    const next = formula.nextSibling;
    const stop = next?.nodeType === Node.TEXT_NODE ? next.data.match(/^[.,;:!?)\]’”]+/) : null;
    if (!stop) continue;
    const pair = document.createElement("span");
    pair.className = "t2v-nobreak";
    formula.replaceWith(pair);
    pair.append(formula, stop[0]);
    next.data = next.data.slice(stop[0].length);
  }
  // A long name in code may go on in the next line after an underscore or a dot, but not before .py.
  for (const piece of document.querySelectorAll("code .pre")) {
    const parts = piece.textContent.split(/(?<=\w_+)(?=\w)|(?<=\w\.)(?=\w{3})/);
    piece.replaceChildren(...parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])));
  }
});

// A formula that is wider than its place is set smaller, down to three quarters; what is wider still scrolls.
window.addEventListener("load", async () => {
  if (!window.MathJax?.startup) return;
  await MathJax.startup.promise;
  const fit = () => {
    for (const box of document.querySelectorAll("article .math mjx-container")) {
      const place = box.closest("div.math, td, th, p, dt, figcaption");
      if (!place?.clientWidth || getComputedStyle(place).display === "table-cell") continue;  // a cell widens
      box.dataset.size ??= parseFloat(box.style.fontSize) || 100;
      box.style.fontSize = `${box.dataset.size}%`;
      const number = place.querySelector(":scope > .eqno");
      const room = place.clientWidth - (number ? number.offsetWidth + 8 : 0);
      const wanted = (box.querySelector("mjx-math") ?? box).getBoundingClientRect().width;
      if (wanted > room) box.style.fontSize = `${box.dataset.size * Math.max(0.75, 0.99 * room / wanted)}%`;
    }
  };
  fit();
  let width = innerWidth;
  window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; fit(); } });
  document.addEventListener("toggle", fit, true);
});

// What a link leads to is shown beside it when it is pointed at or focused: a term's definition, a citation, an equation, a
// figure. What stands on another page came along in a template. A tap follows the link.
document.addEventListener("DOMContentLoaded", () => {
  const templates = [...document.querySelectorAll("template.t2v-definitions")];
  const shapes = ".math[id^='equation-'], figure[id], .citation[id], .proof[id], .exercise[id]";
  const brought = (name, value) => templates.map((t) => t.content.querySelector(`[${name}="${CSS.escape(value)}"]`)).find(Boolean);
  const content = (link) => {
    const here = link.getAttribute("href").startsWith("#") && document.getElementById(decodeURIComponent(link.hash.slice(1)));
    const found = link.classList.contains("t2v-term") ? brought("data-term", decodeURIComponent(link.hash.slice(1)))
      : here ? here.matches(shapes) && here : brought("data-address", link.getAttribute("href"));
    const copy = found ? found.cloneNode(true) : null;
    for (const part of copy?.querySelectorAll("[id]") ?? []) part.removeAttribute("id");
    for (const part of copy?.querySelectorAll(".headerlink, button, input, details") ?? []) part.remove();
    for (const picture of copy?.querySelectorAll("img") ?? []) picture.loading = "eager";
    copy?.removeAttribute("id");
    return copy;
  };
  const card = document.createElement("div");
  Object.assign(card, { id: "t2v-definition", className: "t2v-definition", hidden: true });
  card.setAttribute("role", "tooltip");
  (document.querySelector("main") ?? document.body).append(card);
  let shown = null, timer = 0;
  const later = (action, wait) => { clearTimeout(timer); timer = setTimeout(action, wait); };
  const hide = () => {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    card.hidden = true;
  };
  // Under the link's first line, or above it where the window ends, and always inside the window.
  const place = (link) => {
    card.style.left = card.style.top = "0";
    const line = link.getClientRects()[0], box = card.getBoundingClientRect(), room = document.documentElement;
    const left = Math.max(8, Math.min(line.left, room.clientWidth - box.width - 8));
    const below = line.bottom + box.height + 8 < room.clientHeight || line.top < box.height + 8;
    card.style.left = `${left - box.left}px`;
    card.style.top = `${(below ? line.bottom + 4 : line.top - box.height - 4) - box.top}px`;
  };
  const show = async (link) => {
    hide();
    const text = content(link);
    if (!text) return;
    shown = link;
    card.replaceChildren(text);
    card.hidden = false;
    link.setAttribute("aria-describedby", card.id);
    place(link);
    if (!card.querySelector(".math") || card.querySelector("mjx-container") || !window.MathJax?.startup) return;
    await MathJax.startup.promise;
    await MathJax.typesetPromise([card]);
    if (shown === link) place(link);
  };
  for (const link of document.querySelectorAll("article a.t2v-term, article a.reference.internal[href*='#']")) {
    if (!link.classList.contains("t2v-term") && !content(link)) continue;
    link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") later(() => show(link), 150); });
    link.addEventListener("pointerleave", () => later(hide, 250));
    link.addEventListener("focus", () => { if (link.matches(":focus-visible")) show(link); });
    link.addEventListener("blur", hide);
    link.removeAttribute("title");  // the card says more than the browser's own hint
  }
  // The card itself may be pointed at, to select from it.
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", () => later(hide, 250));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
});

// On a phone a wide figure scrolls in its place: the arrow keys reach it, too.
window.addEventListener("load", () => {
  const mark = () => {
    for (const box of document.querySelectorAll("article :is(figure, .t2v-slider)")) {
      if (box.scrollWidth > box.clientWidth + 1) { box.tabIndex = 0; } else { box.removeAttribute("tabindex"); }
    }
  };
  mark();
  window.addEventListener("resize", mark);
});

// The frames of a slider are fetched when it comes near the window, so that it moves without waiting.
document.addEventListener("DOMContentLoaded", () => {
  const near = new IntersectionObserver((entries) => {
    for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
      near.unobserve(target);
      for (const frame of target.querySelectorAll("img[hidden]")) { frame.loading = "eager"; new Image().src = frame.src; }
    }
  }, { rootMargin: "200px" });
  for (const slider of document.querySelectorAll(".t2v-slider")) near.observe(slider);
});

// Loads a script once, from beside this one.
const t2vHome = new URL("..", document.currentScript.src).href, t2vLoaded = {};
const t2vLoad = (name) => (t2vLoaded[name] ??= new Promise((done) => {
  document.head.append(Object.assign(document.createElement("script"), { src: t2vHome + name, onload: done }));
}));

// The ledger's tiles: a card's formulas are typeset when it opens, and Escape closes it.
document.addEventListener("DOMContentLoaded", () => {
  const board = document.querySelector(".t2v-board");
  const open = async (event) => {
    const item = event.target.closest("li:has(> .t2v-tile)"), formulas = item?.querySelectorAll(".t2v-tex:not(.math)") ?? [];
    if (!formulas.length) return;
    for (const formula of formulas) formula.classList.add("math");
    if (!window.MathJax) {
      window.MathJax = { loader: { load: ["input/tex", "output/chtml"] }, startup: { typeset: false }, options: { enableMenu: false },
        chtml: { matchFontHeight: false } };
      await t2vLoad("_static/mathjax/startup.js");
    }
    await MathJax.startup.promise;
    MathJax.typesetPromise([...formulas]);
  };
  for (const kind of ["pointerover", "focusin"]) board?.addEventListener(kind, open);
  for (const item of board?.querySelectorAll("li:has(> .t2v-tile)") ?? []) {
    for (const kind of ["pointerleave", "focusout"]) item.addEventListener(kind, () => item.classList.remove("t2v-escaped"));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const item of board?.querySelectorAll("li:is(:hover, :focus-within)") ?? []) item.classList.add("t2v-escaped");
  });
});

// Search: sections whose words begin with the words that are asked for, titles before texts; from the index beside the pages.
const t2vFind = (query, rows, most = 40) => {
  const plain = (text) => text.toLowerCase().normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  const asked = plain(query).match(/[\p{L}\p{N}_.]+/gu) ?? [];
  if (!asked.length) return [];
  const whole = plain(query.trim()), pattern = asked.map((word) => new RegExp(`(?<![\\p{L}\\p{N}])${RegExp.escape?.(word) ?? word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "gu"));
  const hits = [];
  for (const [address, title, top, text] of rows) {
    const head = plain(title), body = plain(text);
    let score = head === whole ? 60 : head.includes(whole) ? 30 : body.includes(whole) ? 6 : 0, missing = false;
    pattern.forEach((word) => {
      const inHead = head.match(word)?.length ?? 0, inBody = body.match(word)?.length ?? 0;
      if (!inHead && !inBody) missing = true;
      score += 8 * inHead + Math.min(6, 2 * Math.log2(1 + inBody));
    });
    if (missing) continue;
    if (/\/\d\d_/.test(address)) score += 4;
    hits.push({ address, title, top, text, score, at: Math.max(0, body.search(pattern[0])) });
  }
  return hits.sort((a, b) => b.score - a.score).slice(0, most);
};
const t2vShow = (hits, list, query) => {
  const words = query.match(/[\p{L}\p{N}_]+/gu) ?? [], escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  list.replaceChildren(...hits.map(({ address, title, top, text, at }) => {
    const item = document.createElement("li"), link = Object.assign(document.createElement("a"), { href: t2vHome + address });
    const from = at > 60 ? text.indexOf(" ", at - 60) + 1 : 0, snippet = document.createElement("span");
    const piece = (from ? "… " : "") + text.slice(from, from + 180).replace(/\s\S*$/, "") + " …";
    piece.split(new RegExp(`(${escaped.join("|")})`, "iu")).forEach((part, i) =>
      snippet.append(i % 2 ? Object.assign(document.createElement("mark"), { textContent: part }) : part));
    link.append(Object.assign(document.createElement("b"), { textContent: title }), top === title ? "" : ` · ${top}`, snippet);
    item.append(link);
    return item;
  }));
};
document.addEventListener("DOMContentLoaded", () => {
  for (const field of document.querySelectorAll("form.bd-search input[name=q]")) {
    const form = field.form, list = Object.assign(document.createElement("ol"), { className: "t2v-hits" });
    const state = Object.assign(document.createElement("p"), { className: "t2v-found" });
    state.setAttribute("role", "status");
    const page = !form.closest("dialog") && document.getElementById("search-results");
    if (page) { page.replaceChildren(state, list); } else form.after(state, list);
    const search = async () => {
      const query = field.value.trim();
      await t2vLoad("search_index.js");
      if (field.value.trim() !== query) return;
      const hits = t2vFind(query, window.T2V_INDEX, page ? 40 : 8);
      t2vShow(hits, list, query);
      state.textContent = !query ? "" : hits.length ? `${hits.length} ${hits.length === 1 ? "section" : "sections"}` : "Nothing has all of these words.";
    };
    field.addEventListener("focus", () => t2vLoad("search_index.js"), { once: true });
    field.addEventListener("input", search);
    if (page) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        history.replaceState(null, "", `?q=${encodeURIComponent(field.value)}`);
        search();
      });
      field.value = new URLSearchParams(location.search).get("q") ?? "";
      if (field.value) search();
    }
  }
});
