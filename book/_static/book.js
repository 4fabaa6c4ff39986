// The sidebar's toggles hold only an icon: say what they open.
document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll(".bd-links summary, nav summary")) {
    if (toggle.textContent.trim() || toggle.hasAttribute("aria-label")) continue;
    const link = toggle.closest("li")?.querySelector("a");
    toggle.setAttribute("aria-label", `Pages under ${link ? link.textContent.trim() : "this one"}`);
  }
});
