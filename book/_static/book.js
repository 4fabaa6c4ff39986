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

// A glossary term that is pointed at or focused shows its definition; a tap follows the link.
document.addEventListener("DOMContentLoaded", () => {
  const definitions = document.querySelector("template.t2v-definitions");
  if (!definitions) return;
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
  // Under the term's first line, or above it where the window ends, and always inside the window.
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
    const name = decodeURIComponent(link.hash.slice(1));
    const text = definitions.content.querySelector(`[data-term="${CSS.escape(name)}"]`);
    if (!text) return;
    shown = link;
    card.replaceChildren(text.cloneNode(true));
    card.hidden = false;
    link.setAttribute("aria-describedby", card.id);
    place(link);
    if (!card.querySelector(".math") || !window.MathJax?.startup) return;
    await MathJax.startup.promise;
    await MathJax.typesetPromise([card]);
    if (shown === link) place(link);
  };
  for (const link of document.querySelectorAll("a.t2v-term")) {
    link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") later(() => show(link), 150); });
    link.addEventListener("pointerleave", () => later(hide, 250));
    link.addEventListener("focus", () => { if (link.matches(":focus-visible")) show(link); });
    link.addEventListener("blur", hide);
  }
  // The definition itself may be pointed at, to select from it.
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", () => later(hide, 250));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
});
