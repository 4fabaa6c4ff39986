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
});
