"use strict";
// What the page does: show one environment, sort its tables, draw the figures of the chosen metrics.
(() => {
  const NARROW = window.matchMedia("(max-width: 720px)");
  // Plotly would offer to send a chart to its makers' server.
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  };
  const NO_FIGURE = { data: [], layout: {} };
  const { environments, templates } = JSON.parse(document.getElementById("figures").textContent);
  const main = document.getElementById("main");
  let shown = null;

  // ---- environments ----

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return "";
    }
  }

  function show() {
    const all = [...document.querySelectorAll("template")];
    const wanted = all.find(({ dataset }) => dataset.env === decoded(location.hash.slice(1))) || all[0];
    shown = wanted.dataset.env;
    for (const plot of main.querySelectorAll(".plot")) Plotly.purge(plot);
    main.replaceChildren(wanted.content.cloneNode(true));
    for (const link of document.querySelectorAll("nav a")) {
      if (link.textContent === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    drawAll();
  }

  // ---- tables ----

  function sort(head) {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const value = (row) => JSON.parse(row.cells[head.cellIndex].dataset.value);
    const [body] = head.closest("table").tBodies;
    const rows = [...body.rows].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      const atFirst = a.dataset.place - b.dataset.place;
      if (left === null || right === null) return (left === null) - (right === null) || atFirst;
      return direction * (typeof left === "string" ? left.localeCompare(right) : left - right) || atFirst;
    });
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    body.append(...rows);
  }

  // ---- figures ----

  function drawAll() {
    for (const section of main.querySelectorAll("section")) drawSection(section);
  }

  function drawSection(section) {
    const selects = [...section.querySelectorAll("select")];
    const meaning = section.querySelector(".meaning");
    if (meaning && selects.length) meaning.textContent = selects[0].selectedOptions[0].dataset.meaning || "";
    for (const place of section.querySelectorAll(".plot")) {
      const figures = selects.map(({ value }) => environments[shown][place.id][value] || NO_FIGURE);
      draw(place, figures.length > 1 ? crossed(...figures) : figures[0] || NO_FIGURE);
    }
  }

  function draw(place, { data, layout, narrow }) {
    place.classList.toggle("empty", !data.length);
    if (!data.length) {
      Plotly.purge(place);
      place.textContent = place.dataset.nothing;
      return;
    }
    if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
    const template = NARROW.matches ? templates.narrow : templates.wide;
    Plotly.react(place, data, { ...layout, ...(NARROW.matches ? narrow : {}), template }, CONFIG);
  }

  // The points of policies that have both metrics: x from one figure, y from the other.
  function crossed(across, up) {
    const others = new Map(up.data.map((trace) => [trace.meta, trace]));
    const data = across.data
      .filter(({ meta }) => others.has(meta))
      .map((trace) => ({ ...trace, y: others.get(trace.meta).y, error_y: others.get(trace.meta).error_y }));
    const places = labelPlaces(data);
    data.forEach((trace, index) => {
      trace.textposition = places[index] || "top right";
      if (!places[index]) trace.text = [""];
    });
    return { ...across, data, layout: { ...across.layout, yaxis: up.layout.yaxis } };
  }

  // Where the labels of points go, in about the pixels of the plot: the first of six places that is free, or null.
  function labelPlaces(points) {
    const scaled = (axis, length) => {
      const errors = points.map((point) => point[`error_${axis}`]);
      const low = Math.min(...points.map((point, index) => point[axis][0] - errors[index].arrayminus[0]));
      const span = Math.max(...points.map((point, index) => point[axis][0] + errors[index].array[0])) - low || 1;
      return points.map((point) => ((point[axis][0] - low) / span) * length);
    };
    const across = scaled("x", 720);
    const down = scaled("y", -260);
    const taken = points.map((_, index) => [across[index] - 7, down[index] - 7, 14, 14]);
    const meet = (a, b) => a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3];
    return points.map(({ text }, index) => {
      // The text is HTML, in which a character may be written as an entity.
      const width = 7 * text[0].replace(/&\w+;/g, "_").length;
      const [x, y] = [across[index], down[index]];
      const boxes = {
        "top right": [x + 5, y - 20],
        "bottom right": [x + 5, y + 5],
        "top left": [x - 5 - width, y - 20],
        "bottom left": [x - 5 - width, y + 5],
        "top center": [x - width / 2, y - 25],
        "bottom center": [x - width / 2, y + 10],
      };
      const inside = ([left]) => left > -40 && left + width < 760;
      const free = Object.keys(boxes).find(
        (place) =>
          inside(boxes[place]) &&
          !taken.some((box, other) => other !== index && meet(box, [...boxes[place], width, 15])),
      );
      if (!free) return null;
      taken.push([...boxes[free], width, 15]);
      return free;
    });
  }

  // ---- events ----

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("thead button");
    if (button) sort(button.closest("th"));
  });
  main.addEventListener("change", ({ target }) => drawSection(target.closest("section")));
  window.addEventListener("hashchange", show);
  NARROW.addEventListener("change", drawAll);
  show();
})();
