"use strict";
// What the plots share: colours, texts that plotly takes, layouts, error bars, places of labels. Defines `figures`.
const figures = (() => {
  // Dark colours that stay apart for colour-blind readers on white (Okabe and Ito; Tol).
  const COLOURS = [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#882255",
    "#117733",
    "#332288",
    "#999933",
    "#aa4499",
    "#44aa99",
  ];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon", "star"];
  const DASHES = ["solid", "dash", "dot"];
  const KINDS = ["learned", "own", "upper bar", "scheme", "baseline"];
  const NARROW = window.matchMedia("(max-width: 720px)");
  // Plotly would offer to send a chart to its makers' server.
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  };

  // Plotly reads a little HTML in its texts; labels are not HTML.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text, length) => {
    const letters = [...text];
    if (letters.length <= length) return text;
    const end = Math.floor((length - 1) / 2);
    return letters.slice(0, length - 1 - end).join("") + "\u2026" + letters.slice(letters.length - end).join("");
  };
  const short = (text) => plain(cut(text, NARROW.matches ? 16 : 26));
  const unit = (environment, name) => {
    const metric = environment.metrics.find((each) => each.name === name);
    return metric && metric.unit !== "-" ? metric.unit : "";
  };
  const titled = (environment, name) => (unit(environment, name) ? `${name} (${unit(environment, name)})` : name);
  const axisTitle = (environment, name) => plain(titled(environment, name));

  // Colour, symbol and dash of every policy: black for the bar, grey for random; agents and the upper bar come first
  // where there are more policies than colours.
  function styles(environment) {
    const found = {};
    const urgency = ({ label, kind }) => KINDS.indexOf(label === environment.upper_bar ? "upper bar" : kind);
    const ordered = [...environment.policies].sort((a, b) => urgency(a) - urgency(b));
    let next = 0;
    for (const { label } of ordered) {
      if (label === environment.bar) found[label] = { colour: "#000000", symbol: "diamond-wide", dash: "dash" };
      else if (label === "random") found[label] = { colour: "#767676", symbol: "x-thin-open", dash: "dot" };
      else {
        const turn = Math.floor(next / COLOURS.length);
        found[label] = {
          colour: COLOURS[next % COLOURS.length],
          symbol: SYMBOLS[next % SYMBOLS.length],
          dash: DASHES[turn % DASHES.length],
        };
        next += 1;
      }
    }
    return found;
  }

  function layout(height, more) {
    const axis = { gridcolor: "#e4e4e4", zerolinecolor: "#b0b0b0", linecolor: "#8a8a8a", automargin: true };
    return {
      height,
      paper_bgcolor: "#fff",
      plot_bgcolor: "#fff",
      hovermode: "closest",
      autosize: true,
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif", size: 13, color: "#1a1a1a" },
      margin: { l: 50, r: 15, t: 30, b: 45 },
      ...more,
      xaxis: { ...axis, ...more.xaxis },
      yaxis: { ...axis, ...more.yaxis },
    };
  }

  // A legend beside the plot, or below it where the page is narrow, with room for its lines.
  function withLegend(entries, more) {
    const height = Math.max(420, 120 + 21 * entries);
    if (!NARROW.matches) return layout(height, { showlegend: true, legend: { y: 1 }, ...more });
    const legend = { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom" };
    const lines = 21 * entries;
    return layout(350 + lines, { showlegend: true, legend, ...more, margin: { l: 50, r: 15, t: 30, b: 60 + lines } });
  }

  function draw(id, traces, figure, nothing) {
    const place = document.getElementById(id);
    if (traces.length) {
      place.classList.remove("empty");
      if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
      return Plotly.react(place, traces, figure, CONFIG);
    }
    Plotly.purge(place);
    place.classList.add("empty");
    place.textContent = nothing;
    return null;
  }

  // The policies of an environment that have a value of a metric.
  const having = (environment, name) =>
    environment.policies.filter(({ metrics }) => metrics[name] && metrics[name].mean !== null);
  const above = ({ mean, high }) => (high === null ? 0 : high - mean);
  const below = ({ mean, low }) => (low === null ? 0 : mean - low);

  // Where the labels of points go: the first of six places with room, in about the plot's pixels; null for nowhere.
  function labelPlaces(horizontal, vertical, texts) {
    const scale = (statistics, length) => {
      const low = Math.min(...statistics.map((each) => each.mean - below(each)));
      const span = Math.max(...statistics.map((each) => each.mean + above(each))) - low || 1;
      return statistics.map(({ mean }) => ((mean - low) / span) * length);
    };
    const across = scale(horizontal, 720);
    const down = scale(vertical, -260);
    const taken = texts.map((_, row) => [across[row] - 7, down[row] - 7, 14, 14]);
    const meet = (a, b) => a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3];
    return texts.map((text, row) => {
      const width = 7 * [...text].length;
      const [x, y] = [across[row], down[row]];
      const boxes = {
        "top right": [x + 5, y - 20],
        "bottom right": [x + 5, y + 5],
        "top left": [x - 5 - width, y - 20],
        "bottom left": [x - 5 - width, y + 5],
        "top center": [x - width / 2, y - 25],
        "bottom center": [x - width / 2, y + 10],
      };
      const free = Object.keys(boxes).find(
        (place) => !taken.some((box, other) => other !== row && meet(box, [...boxes[place], width, 15])),
      );
      if (!free) return null;
      taken.push([...boxes[free], width, 15]);
      return free;
    });
  }

  const error = (statistics, more) => ({
    type: "data",
    symmetric: false,
    array: [above(statistics)],
    arrayminus: [below(statistics)],
    width: 4,
    thickness: 1.5,
    ...more,
  });

  const onNarrow = (job) => NARROW.addEventListener("change", job);
  const narrow = () => NARROW.matches;

  return {
    plain,
    cut,
    short,
    unit,
    titled,
    axisTitle,
    styles,
    layout,
    withLegend,
    draw,
    having,
    labelPlaces,
    error,
    narrow,
    onNarrow,
  };
})();
