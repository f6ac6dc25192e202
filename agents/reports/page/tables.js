"use strict";
// Tables that are sorted by a click, of numbers that carry their whole value. Defines `tables`.
const tables = (() => {
  // Powers of ten between which numbers are written out.
  const [SMALLEST, LARGEST] = [-4, 6];
  // Half an interval this small, relative to the value, comes from rounding.
  const ROUNDING = 1e-9;
  const place = (id) => document.getElementById(id);

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // ---- numbers -------------------------------------------------------------------------------------------------

  // Two digits of half the interval, as on the console; four digits where there is no interval.
  function shown(value, half) {
    if (value === null) return "n/a";
    if (value === 0 && half > 0 && half < 10 ** SMALLEST) return "0";
    const size = Math.floor(Math.log10(Math.max(Math.abs(value), half) || 1));
    const digits = half > 0 ? 1 - Math.floor(Math.log10(half)) : 3 - size;
    const within = (count) => Math.min(20, Math.max(0, count));
    const text =
      size > LARGEST || size < SMALLEST ? value.toExponential(within(digits + size)) : value.toFixed(within(digits));
    return (+text === 0 ? text.replace("-", "") : text).replace(/-/g, "\u2212");
  }

  function numberCell(column, { value, low = null, high = null, whole = false }) {
    const wide = low === null || high === null ? 0 : (high - low) / 2;
    const half = wide > ROUNDING * Math.abs(value) ? wide : 0;
    const text = whole && value !== null ? String(value) : shown(value, half);
    const cell = element("td", { class: "number", "data-column": column, "data-value": JSON.stringify(value) }, text);
    if (low !== null && high !== null) {
      cell.dataset.low = JSON.stringify(low);
      cell.dataset.high = JSON.stringify(high);
      cell.append(element("span", { class: "interval" }, `[${shown(low, half)}, ${shown(high, half)}]`));
    }
    return cell;
  }

  // ---- sortable tables -----------------------------------------------------------------------------------------

  // columns: [{key, title, unit, hint, read: row -> {value, low, high} or a text, cell: row -> element or none}]
  function sortableTable(columns, rows, start, caption) {
    const body = element("tbody", {});
    const heads = new Map();
    const value = (column, row) => {
      const found = column.read(row);
      return typeof found === "string" ? found : found.value;
    };
    function sort(column, direction) {
      const ordered = [...rows].sort((a, b) => {
        const [left, right] = [value(column, a), value(column, b)];
        if (left === null || right === null) return (left === null) - (right === null);
        return direction * (typeof left === "string" ? left.localeCompare(right) : left - right);
      });
      for (const head of heads.values()) head.removeAttribute("aria-sort");
      heads.get(column).setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      fill(ordered);
    }
    function fill(ordered) {
      body.replaceChildren(
        ...ordered.map((row) =>
          element(
            "tr",
            {},
            ...columns.map((column) => {
              if (column.cell) return column.cell(row);
              const found = column.read(row);
              return typeof found === "string"
                ? element("td", { "data-column": column.key }, found)
                : numberCell(column.key, found);
            }),
          ),
        ),
      );
    }
    for (const column of columns) {
      const button = element("button", { type: "button" }, column.title);
      if (column.unit) button.append(element("span", { class: "unit" }, ` (${column.unit})`));
      if (column.hint) button.title = column.hint;
      const text = rows.every((row) => typeof column.read(row) === "string");
      const head = element("th", { scope: "col", class: text ? "" : "number", "data-column": column.key }, button);
      button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1));
      heads.set(column, head);
    }
    if (start)
      sort(
        columns.find(({ key }) => key === start.key),
        start.direction,
      );
    else fill(rows);
    return element(
      "table",
      { "aria-label": caption },
      element("thead", {}, element("tr", {}, ...heads.values())),
      body,
    );
  }

  function showTable(id, table) {
    const box = place(id);
    box.replaceChildren(table);
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", table.getAttribute("aria-label"));
  }

  return { place, element, sortableTable, showTable };
})();
