// Sorting: every heading of a table becomes a button. Without this script the tables are as they were written.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, place) => {
    const name = head.querySelector(".name");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.title = "sort by this column";
    button.append(...name.childNodes);
    name.replaceWith(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(table.tBodies[0], place, head.dataset.kind === "number", up);
    });
  });
}

// Rows without a value come last in both directions; equal rows keep their order.
function sort(body, place, numeric, up) {
  const key = (row) => {
    const cell = row.cells[place];
    return numeric ? Number(cell.dataset.value ?? NaN) : cell.textContent;
  };
  const missing = (value) => (numeric ? Number.isNaN(value) : value === "-");
  const collator = new Intl.Collator("en", { numeric: true });
  const keyed = Array.from(body.rows, (row) => [key(row), row]);
  keyed.sort(([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = numeric ? (a > b) - (a < b) : collator.compare(a, b); // the difference of two infinities is no number
    return up ? order : -order;
  });
  body.append(...keyed.map(([, row]) => row));
}

// Paper has no clicks: all that can be opened is open on it.
let opened = [];
addEventListener("beforeprint", () => {
  opened = Array.from(document.querySelectorAll("details:not([open])"));
  opened.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
