/* The little that runs in the browser: the theme, keys, and no asking anew while nobody looks. Every page works without it. */
"use strict";
(() => {
  const root = document.documentElement;
  const kept = (() => { try { return localStorage.getItem("muster-theme"); } catch { return null; } })();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  root.classList.add("with-js");

  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  const turn = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("muster-theme", root.dataset.theme); } catch { /* it lasts for this page then */ }
  };

  const typing = (target) => target.closest && target.closest("input, textarea, select, [contenteditable]");

  const step = (by) => {
    const rows = [...document.querySelectorAll("table.rows tbody tr")].filter((row) => row.querySelector("a[href]"));
    if (!rows.length) return;
    const here = rows.findIndex((row) => row.contains(document.activeElement));
    const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by));
    const link = rows[next].querySelector("a[href]");
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  };

  let led = 0; // when g was pressed: what follows within a second says where to

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.timeStamp - led < 1000 && led) {
      led = 0;
      const link = document.querySelector(`nav.parts a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (event.key === "g") led = event.timeStamp;
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "?") { const help = document.getElementById("help"); if (help) help.showModal(); }
    else if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) { event.preventDefault(); field.closest("details")?.setAttribute("open", ""); field.focus(); field.select?.(); }
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("button");
    if (!button) return;
    if (button.id === "theme") turn();
    if (button.id === "keys") document.getElementById("help").showModal();
  });

  document.addEventListener("change", (event) => {
    const all = event.target.closest && event.target.closest("input[data-all]");
    if (!all) return;
    for (const box of all.closest("form").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
  });

  // What a page asks for by itself says so: it keeps no session alive, and nothing is asked while nobody looks.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.closest("[data-live]")) event.preventDefault();
  });
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.hasAttribute("data-live")) event.detail.headers["X-Poll"] = "1";
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !window.htmx) return;
    for (const live of document.querySelectorAll("[data-live]")) window.htmx.trigger(live, "look");
  });

  // A form that was sent is sent once; coming back to the page, it can be sent again.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
