"use strict";
(function () {
  const body = document.querySelector("#table tbody");
  const rows = Array.from(body.rows);
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const none = document.getElementById("none");
  const select = document.getElementById("sort");
  const heads = Array.from(document.querySelectorAll("#table thead [data-sort]"));
  const filters = Array.from(document.querySelectorAll("[data-filter]"));
  const texts = new Map(rows.map((row) => [row, (row.cells[0].textContent + " " + row.dataset.s).toLowerCase()]));
  const details = new Map();
  let filter = "all";

  document.getElementById("tools").hidden = false;

  // Readers of the page that go by how a table is laid out are told that it is one.
  function giveRoles(row) {
    row.setAttribute("role", "row");
    for (const cell of row.cells) {
      cell.setAttribute("role", { col: "columnheader", row: "rowheader" }[cell.scope] || "cell");
    }
  }
  const table = document.getElementById("table");
  table.setAttribute("role", "table");
  for (const group of [table.tHead, body]) {
    group.setAttribute("role", "rowgroup");
    Array.from(group.rows).forEach(giveRoles);
  }

  // What a filter shows.
  function fits(row) {
    if (filter === "flagged") return "f" in row.dataset;
    return filter === "all" || row.dataset.p === filter;
  }

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      const visible = fits(row) && words.every((word) => text.includes(word));
      row.hidden = !visible;
      if (details.has(row)) details.get(row).hidden = !visible;
      count += visible;
    }
    shown.value = count === rows.length ? count + " tensors" : count + " of " + rows.length + " tensors";
    none.hidden = count > 0;
  }

  function setFilter(name) {
    filter = name;
    for (const each of filters) each.setAttribute("aria-pressed", String(each.dataset.filter === name));
    show();
  }

  // Rows without a number stay behind the others, whichever way these are sorted.
  function sort(name, falling) {
    const at = heads.findIndex((head) => head.dataset.sort === name);
    const cell = heads[at].closest("th").cellIndex;
    const number = new Map(rows.map((row, place) => [row, name === "order" ? place : parseFloat(row.cells[cell].dataset.v)]));
    const sorted = rows.slice().sort((a, b) => {
      const x = number.get(a), y = number.get(b);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return falling ? y - x : x - y;
    });
    const all = document.createDocumentFragment();
    for (const row of sorted) {
      all.append(row);
      if (details.has(row)) all.append(details.get(row));
    }
    body.append(all);
    heads.forEach((head, index) => {
      const way = index === at ? (falling ? "descending" : "ascending") : "none";
      head.closest("th").setAttribute("aria-sort", way);
    });
    select.value = name;
  }

  function open(row) {
    if (!details.has(row)) {
      const detail = document.createElement("tr");
      const cell = document.createElement("td");
      detail.className = "open";
      cell.colSpan = row.cells.length;
      cell.append(document.getElementById("d-" + row.id).content.cloneNode(true));
      detail.append(cell);
      giveRoles(detail);
      details.set(row, detail);
      row.after(detail);
    }
    details.get(row).hidden = row.hidden;
    row.querySelector("button").setAttribute("aria-expanded", "true");
  }

  function close(row) {
    details.get(row).remove();
    details.delete(row);
    row.querySelector("button").setAttribute("aria-expanded", "false");
  }

  // Leads to a tensor from wherever it is named.
  function lead(key) {
    const row = document.getElementById(key);
    if (!row || row.parentNode !== body) return false;
    if (row.hidden) {
      search.value = "";
      setFilter("all");
    }
    open(row);
    row.scrollIntoView({ block: "center" });
    row.querySelector("button").focus({ preventScroll: true });
    return true;
  }

  search.addEventListener("input", show);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; show(); }
  });
  for (const each of filters) each.addEventListener("click", () => setFilter(each.dataset.filter));
  for (const head of heads) {
    head.addEventListener("click", () => {
      const now = head.closest("th").getAttribute("aria-sort");
      const falling = "falling" in head.dataset;
      sort(head.dataset.sort, now === "none" ? falling : now === "ascending");
    });
  }
  select.addEventListener("change", () => {
    const head = heads.find((each) => each.dataset.sort === select.value);
    sort(select.value, "falling" in head.dataset);
  });
  document.getElementById("clear").addEventListener("click", () => { search.value = ""; setFilter("all"); search.focus(); });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (!button) return;
    const row = button.closest("tr");
    if (details.has(row)) close(row); else open(row);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#t"]');
    if (link && lead(link.getAttribute("href").slice(1))) { event.preventDefault(); return; }
    const mark = event.target.closest("[data-key]");
    if (mark) lead(mark.dataset.key);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { event.preventDefault(); search.focus(); }
    const mark = event.target.closest && event.target.closest("[data-key]");
    if (mark && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); lead(mark.dataset.key); }
  });

  // Where the clipboard is refused, as in some browsers for files from disk, the command is selected.
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => {
      const code = button.parentNode.querySelector("code");
      const told = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
      const chosen = () => { getSelection().selectAllChildren(code); };
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(told, chosen); else chosen();
    });
  }

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  if (location.hash) lead(location.hash.slice(1));
})();
