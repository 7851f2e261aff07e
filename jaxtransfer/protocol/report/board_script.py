"""The index page's script and what it needs of style: search and sorting, on top of a page that is whole without them."""

import base64
import hashlib

SCRIPT = """
(() => {
  const box = document.getElementById("search");
  const told = document.getElementById("found");
  box.parentElement.hidden = false;
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const rises = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rises ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          const order = compare(x, y);
          return rises || x === "" || y === "" ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
  const items = [...document.querySelectorAll("table.sortable tbody tr")].map((row) => {
    const link = row.querySelector('a[href^="#"]');
    const more = link && document.getElementById(link.getAttribute("href").slice(1));
    const text = (row.textContent + " " + (more ? more.textContent : "")).toLowerCase();
    return {row, more, text};
  });
  const filter = () => {
    const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const {row, more, text} of items) {
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits;
      if (more) more.hidden = !fits;
      shown += fits;
    }
    told.textContent = words.length ? `${shown} of ${items.length}` : "";
  };
  box.addEventListener("input", filter);
  filter();
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", open);
  open();
})();
"""

POLICY_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
"""What the page's policy admits: this script alone, so that no text of a record can run."""

CSS = """
[hidden] { display: none !important; }
.search { display: flex; align-items: center; gap: 14px; margin: 26px 0 0; }
.search input { font: inherit; color: inherit; background: var(--surface); width: min(100%, 460px);
  border: 1px solid var(--line); border-radius: 10px; padding: 9px 14px; }
.search output { color: var(--muted); font-size: 14px; white-space: nowrap; }
.sortable thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; text-align: inherit; }
.sortable thead button:hover { color: var(--accent); }
.sortable [aria-sort] button { color: var(--ink); }
.sortable [aria-sort="ascending"] button::after { content: " \\2191"; }
.sortable [aria-sort="descending"] button::after { content: " \\2193"; }
.place { overflow-wrap: anywhere; }
.sortable tbody th { min-width: 150px; }
.winners td { vertical-align: middle; border-bottom: 0; padding-top: 5px; padding-bottom: 5px; }
.winners tbody th { border-bottom: 0; border-top: 1px solid var(--line); padding-bottom: 3px; }
.winners tbody th small { display: inline; margin-left: 10px; }
.winners .glyph { width: 120px; background: linear-gradient(var(--line), var(--line)) center / 100% 1px
  no-repeat; }
.body { padding: 2px 24px 22px; }
.body > * + * { margin-top: 14px; }
.body h3 { margin-top: 20px; }
.links { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 14.5px; }
.part > summary small { color: var(--muted); font-weight: 400; font-size: 13.5px; margin-left: 8px;
  overflow-wrap: anywhere; }
.part > summary .pill { margin: 0 0 0 8px; }
:target > summary { color: var(--accent); }
@media (max-width: 720px) {
  .body { padding: 2px 16px 18px; }
  .winners .glyph { width: 84px; }
  .sortable tbody th { min-width: 104px; }
}
"""
