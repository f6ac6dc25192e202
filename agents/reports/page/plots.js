"use strict";
// Plots of the report: from one environment of the evaluation document to plotly figures. Defines `plots`.
const plots = (() => {
  const { plain, cut, short, axisTitle, styles, layout, withLegend, draw, having, labelPlaces, error } = figures;

  function rows(policies) {
    return {
      tickvals: policies.map((_, row) => row),
      ticktext: policies.map(({ label }) => short(label)),
      range: [policies.length - 0.4, -0.6],
      showgrid: false,
      zeroline: false,
    };
  }

  function bars(environment, name) {
    const style = styles(environment);
    const policies = having(environment, name);
    const traces = policies.map(({ label, metrics }, row) => ({
      type: "bar",
      orientation: "h",
      x: [metrics[name].mean],
      y: [row],
      width: 0.7,
      name: plain(label),
      marker: { color: style[label].colour, opacity: 0.75 },
      hovertemplate: "%{text}<br>%{x}<extra></extra>",
      text: [plain(label)],
      textposition: "none",
      error_x: error(metrics[name], { color: "#1a1a1a" }),
    }));
    const xaxis = { title: { text: axisTitle(environment, name) } };
    draw(
      "bars",
      traces,
      layout(110 + 32 * policies.length, { showlegend: false, xaxis, yaxis: rows(policies) }),
      `No policy has a value of ${name}.`,
    );
  }

  function distribution(environment, name) {
    const style = styles(environment);
    const policies = having(environment, name);
    const traces = policies.map(({ label, metrics }, row) => {
      const values = metrics[name].by_episode.flat().filter((value) => value !== null);
      return {
        type: "box",
        orientation: "h",
        x: values,
        y: values.map(() => row),
        name: plain(label),
        width: 0.7,
        boxpoints: "all",
        jitter: 0.6,
        pointpos: 0,
        line: { width: 1.5 },
        fillcolor: "rgba(0,0,0,0.04)",
        marker: { color: style[label].colour, size: 4, opacity: 0.55 },
      };
    });
    const xaxis = { title: { text: axisTitle(environment, name) } };
    draw(
      "distribution",
      traces,
      layout(110 + 32 * policies.length, { showlegend: false, xaxis, yaxis: rows(policies) }),
      `No policy has a value of ${name}.`,
    );
  }

  function tradeoff(environment, across, up) {
    const style = styles(environment);
    const policies = having(environment, across).filter(({ metrics }) => metrics[up] && metrics[up].mean !== null);
    const places = labelPlaces(
      policies.map(({ metrics }) => metrics[across]),
      policies.map(({ metrics }) => metrics[up]),
      policies.map(({ label }) => cut(label, 26)),
    );
    const traces = policies.map(({ label, metrics }, row) => ({
      type: "scatter",
      mode: figures.narrow() ? "markers" : "markers+text",
      x: [metrics[across].mean],
      y: [metrics[up].mean],
      error_x: error(metrics[across]),
      error_y: error(metrics[up]),
      name: short(label),
      text: [places[row] ? short(label) : ""],
      textposition: places[row] || "top right",
      textfont: { size: 12 },
      cliponaxis: false,
      customdata: [plain(label)],
      hovertemplate: "%{customdata}<br>%{x}<br>%{y}<extra></extra>",
      marker: {
        color: style[label].colour,
        symbol: style[label].symbol,
        size: 10,
        line: { width: 1.5, color: style[label].colour },
      },
    }));
    draw(
      "tradeoff",
      traces,
      withLegend(policies.length, {
        xaxis: { title: { text: axisTitle(environment, across) } },
        yaxis: { title: { text: axisTitle(environment, up) } },
      }),
      "No policy has values of both.",
    );
  }

  function curves(environment, name) {
    const style = styles(environment);
    const seen = new Set();
    const found = environment.curves.filter(({ metrics }) => metrics[name]);
    const traces = found.map(({ label, run, steps, metrics }) => {
      const first = !seen.has(label);
      seen.add(label);
      return {
        type: "scatter",
        mode: "lines+markers",
        x: steps,
        y: metrics[name],
        name: short(label),
        legendgroup: plain(label),
        showlegend: first,
        line: { color: style[label].colour, width: 1.8 },
        marker: { size: 4 },
        text: steps.map(() => plain(run)),
        hovertemplate: "%{text}<br>step %{x}<br>%{y}<extra></extra>",
      };
    });
    const bar = having(environment, name).find(({ label }) => label === environment.bar);
    if (bar && found.length) {
      const all = found.flatMap(({ steps }) => steps);
      const level = bar.metrics[name].mean;
      const ends = all.reduce(
        ([low, high], step) => [Math.min(low, step), Math.max(high, step)],
        [Infinity, -Infinity],
      );
      traces.push({
        type: "scatter",
        mode: "lines",
        x: ends,
        y: [level, level],
        name: `${short(bar.label)} (bar)`,
        line: { color: "#000000", width: 1.5, dash: "dash" },
        hovertemplate: "%{y}<extra></extra>",
      });
    }
    draw(
      "curves",
      traces,
      withLegend(seen.size + 1, {
        xaxis: { title: { text: "training steps" } },
        yaxis: { title: { text: axisTitle(environment, name) } },
      }),
      "None of these policies left training curves.",
    );
  }

  function episode(environment, name) {
    const style = styles(environment);
    const series = environment.episode ? environment.episode.series : {};
    const traces = Object.keys(series)
      .filter((label) => series[label][name])
      .map((label) => {
        const { colour, dash } = style[label] || { colour: "#1a1a1a", dash: "solid" };
        const values = series[label][name];
        return {
          type: "scatter",
          mode: "lines",
          x: values.map((_, step) => step + 1),
          y: values,
          name: short(label),
          line: { color: colour, dash, width: 1.5 },
          text: values.map(() => plain(label)),
          hovertemplate: "%{text}<br>step %{x}<br>%{y}<extra></extra>",
        };
      });
    draw(
      "episode",
      traces,
      withLegend(traces.length, {
        xaxis: { title: { text: "step" } },
        yaxis: { title: { text: axisTitle(environment, name) } },
      }),
      "No episode was recorded.",
    );
  }

  return { bars, distribution, tradeoff, curves, episode };
})();
