"use strict";
// The report's header, tables, choices and words, from the evaluation document that the page holds.
(() => {
  const report = JSON.parse(document.getElementById("document").textContent);
  const { place, element, sortableTable, showTable } = tables;
  const percent = `${+(100 * report.confidence).toPrecision(6)} %`;

  // ---- the table of policies ----

  function policyCell(environment, style, { label }) {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = style[label].colour;
    const cell = element("th", { scope: "row", "data-column": "policy" }, swatch, label);
    const roles = [
      ["bar", environment.bar],
      ["upper bar", environment.upper_bar],
    ].filter(([, name]) => name === label);
    cell.append(element("div", {}, ...roles.map(([role]) => element("span", { class: "tag" }, role))));
    return cell;
  }

  function meaning(environment, name) {
    const found = environment.metrics.find((metric) => metric.name === name);
    if (name === "action_mean") return "mean action of the members";
    return found ? found.meaning : "";
  }

  function interval(found, name) {
    const prefix = name === "mean" ? "" : `${name}_`;
    return found ? { value: found[name], low: found[`${prefix}low`], high: found[`${prefix}high`] } : { value: null };
  }

  function policyColumns(environment) {
    const { main } = environment;
    const style = figures.styles(environment);
    const first = environment.policies[0].label;
    const metric = (name, key, title, part) => ({
      key,
      title,
      unit: figures.unit(environment, name),
      hint: meaning(environment, name),
      read: ({ metrics }) => interval(metrics[name], part),
    });
    return [
      {
        key: "policy",
        title: "policy",
        read: ({ label }) => label,
        cell: (policy) => policyCell(environment, style, policy),
      },
      { key: "kind", title: "kind", read: ({ kind }) => kind },
      {
        key: "trainings",
        title: "trainings",
        hint: "training runs behind a learned entry",
        read: ({ runs }) => ({ value: runs.length || null, whole: true }),
      },
      {
        key: "rank",
        title: "rank",
        hint: "1 is the best mean reward",
        read: ({ rank }) => ({ value: rank, whole: true }),
      },
      {
        key: "normalised",
        title: "score",
        hint: `0 is random, 1 is ${environment.upper_bar}`,
        read: ({ normalised }) => interval(normalised, "mean"),
      },
      metric(main, main, main, "mean"),
      { ...metric(main, "difference", "difference", "difference"), hint: `in ${main} to ${first}, paired` },
      { ...metric(main, "iqm", "IQM", "iqm"), hint: `interquartile mean of ${main} over the means by run and seed` },
      ...environment.headline.filter((name) => name !== main).map((name) => metric(name, name, name, "mean")),
      {
        key: "latency_mean",
        title: "decision",
        unit: "ms",
        hint: "mean time of one decision in one world",
        read: ({ latency_ms: found }) => ({ value: found ? found.mean : null }),
      },
      {
        key: "latency_p99",
        title: "decision p99",
        unit: "ms",
        hint: "99th percentile of the time of one decision in one world",
        read: ({ latency_ms: found }) => ({ value: found ? found.p99 : null }),
      },
    ];
  }

  // ---- choices -------------------------------------------------------------------------------------------------

  function choice(box, id, title, environment, names, initial, onChange) {
    const select = element("select", { id });
    const option = (name) => new Option(figures.titled(environment, name), name, false, name === initial);
    const leading = environment.headline.filter((name) => names.includes(name));
    for (const [heading, part] of [
      ["Headline", leading],
      ["Others", names.filter((name) => !leading.includes(name))],
    ]) {
      if (part.length) select.append(element("optgroup", { label: heading }, ...part.map(option)));
    }
    select.addEventListener("change", () => onChange(select.value));
    box.append(element("label", { for: id }, title, select));
    return select;
  }

  // One or two choices of metrics above a plot, and the plot drawn anew at every change; returns how to draw it.
  function chosen(environment, id, titles, names, initials, drawIt) {
    const box = place(`${id}-choices`);
    box.replaceChildren();
    if (!names.length) return () => drawIt("");
    const redraw = () => drawIt(...selects.map((select) => select.value));
    const selects = titles.map((title, index) =>
      choice(
        box,
        `${id}-metric${index ? `-${index + 1}` : ""}`,
        title,
        environment,
        names,
        names.includes(initials[index]) ? initials[index] : names[0],
        redraw,
      ),
    );
    return redraw;
  }

  // ---- words and small tables ----------------------------------------------------------------------------------

  const thousands = (number) => number.toLocaleString("en-GB");
  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));

  function details(id, heads, rows) {
    const head = element("tr", {}, ...heads.map((title) => element("th", { scope: "col" }, title)));
    const lines = rows.map(([first, ...rest]) =>
      element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((text) => element("td", {}, text))),
    );
    const table = element("table", { class: "details" });
    table.append(element("thead", {}, head), element("tbody", {}, ...lines));
    place(id).querySelector("div").replaceChildren(table);
  }

  function leftOut({ settling }) {
    return settling
      ? `the first ${+(100 * settling).toPrecision(6)} % of each episode, while queues fill, are left out`
      : "episodes count from their first step";
  }

  function method(environment) {
    const first = environment.policies[0].label;
    const { seeds, episodes, upper_bar: upperBar } = environment;
    const several = environment.policies.some(({ runs }) => runs.length > 1);
    const learned = environment.policies.some(({ runs }) => runs.length);
    return [
      `Every policy played the same ${thousands(seeds * episodes)} episodes (common random numbers): ` +
        `${seeds} evaluation seeds of ${episodes} episodes each; ${leftOut(environment)}.`,
      `Intervals are ${percent} percentile bootstrap intervals from ${thousands(report.resamples)} resamples of the ` +
        `episodes${several ? ", and of the training runs together with them where an entry has several" : ""}.`,
      ...(learned
        ? [
            "With one training run an interval holds the noise of episodes only and says nothing of another training; " +
              "of several runs, decision times and the plotted episode are of the first.",
          ]
        : []),
      `Differences are to ${first}, paired: both policies are resampled on the same episodes.`,
      "IQM is the interquartile mean over the means by training run and evaluation seed: of n sorted means, the " +
        "int(n / 4) at either end are left out (as scipy.stats.trim_mean and rliable do).",
      `The score is the mean reward on a scale where random is 0 and ${upperBar}, the upper bar, is 1; it can be ` +
        "below 0 or above 1. Schemes, which act in another system, have none, nor has any policy where one of the " +
        "two was not played.",
      "Decision times are of one decision in one world after a warm-up; they depend on the machine.",
    ];
  }

  function showDetails(environment) {
    place("method").replaceChildren(...method(environment).map((text) => element("li", {}, text)));
    details(
      "metrics",
      ["metric", "unit", "meaning"],
      environment.metrics.map(({ name, unit, meaning }) => [name, unit, meaning]),
    );
    const others = environment.policies.filter(({ kind }) => kind !== "baseline");
    place("policies").hidden = !others.length;
    details(
      "policies",
      ["policy", "kind", "trained on", "folders", "scheme"],
      others.map((policy) => [
        policy.label,
        policy.kind,
        policy.training || "",
        policy.runs.join(", "),
        policy.scheme ? words(policy.scheme) : "",
      ]),
    );
    details(
      "configuration",
      ["parameter", "value"],
      Object.entries(environment.configuration).map(([name, value]) => [name, words(value)]),
    );
    const told = Object.entries(report.provenance).flatMap(([name, value]) =>
      name === "versions" && value !== null && typeof value === "object" ? Object.entries(value) : [[name, value]],
    );
    details(
      "versions",
      ["what", "value"],
      told.map(([name, value]) => [name, words(value)]),
    );
  }

  // ---- the page ------------------------------------------------------------------------------------------------

  function showHeader() {
    const ids = report.environments.map(({ env_id: name }) => name);
    const { versions, started, git } = report.provenance;
    place("title").textContent = ids.length > 1 ? `Benchmark: ${ids.length} environments` : `Evaluation of ${ids[0]}`;
    document.title = place("title").textContent;
    const parts = [
      started ? String(started).replace("T", " ") : "",
      git ? `git ${cutGit(String(git))}` : "",
      ...Object.entries(versions || {}).map(([name, version]) => `${name} ${version}`),
    ];
    place("made").textContent = parts.filter(Boolean).join(" \u00b7 ");
    place("notes").hidden = !report.notes.length;
    place("notes").append(...report.notes.map((note) => element("li", {}, note)));
  }

  function trainings({ policies }) {
    const learned = policies.filter(({ runs }) => runs.length).map(({ label, runs }) => `${label} ${runs.length}`);
    return `trainings: ${learned.join(", ") || "none"}`;
  }

  function stamp() {
    const { versions, git, git_changes: changes } = report.provenance;
    const version = `edge-envs ${(versions || {})["edge-envs"] || "of an unknown version"}`;
    if (!git || !/^[0-9a-f]{40}$/.test(git)) return version;
    return `${version}, commit ${cutGit(git)}${changes && changes.length ? " + changes" : ""}`;
  }

  const cutGit = (revision) => (/^[0-9a-f]{40}$/.test(revision) ? revision.slice(0, 10) : revision);

  function showOverview() {
    if (!report.scores || !report.scores.length) return;
    place("overview").hidden = false;
    const columns = [
      {
        key: "label",
        title: "policy",
        read: ({ label }) => label,
        cell: ({ label }) => element("th", { scope: "row", "data-column": "label" }, label),
      },
      { key: "mean", title: "mean score", read: ({ mean }) => ({ value: mean }) },
      ...report.environments.map(({ env_id: name }) => ({
        key: name,
        title: name,
        read: ({ by_env: scores }) => ({ value: name in scores ? scores[name] : null }),
      })),
    ];
    showTable(
      "overview-table",
      sortableTable(columns, report.scores, { key: "mean", direction: -1 }, "Normalised scores"),
    );
    const bars = report.environments.map((each) => `${each.upper_bar} in ${each.env_id}`).join(", ");
    place("overview-note").textContent =
      `Mean reward, 0 where random is and 1 where the upper bar is: ${bars}. The mean is over the environments that ` +
      `a policy plays on, so it does not compare policies that play on different ones. ${stamp()}.`;
  }

  function showTitles(environment) {
    const { env_id: id, preset, options, seeds, episodes, caveat } = environment;
    const set = Object.entries(options)
      .map(([name, value]) => ` ${name}=${words(value)}`)
      .join("");
    place("environment").textContent = id;
    place("setting").textContent =
      `preset ${preset}${set} \u00b7 ${seeds} seeds \u00d7 ${episodes} episodes \u00b7 ${leftOut(environment)}`;
    place("caveat").hidden = !caveat;
    place("caveat").textContent = caveat;
    place("table-note").textContent =
      `Means with ${percent} percentile bootstrap intervals of the ${thousands(seeds * episodes)} episodes, together ` +
      `with the trainings of an entry that has several; differences in ${environment.main} are to ` +
      `${environment.policies[0].label}, paired; ${trainings(environment)}; ${stamp()}. Click a header to sort.`;
    for (const link of place("environments").children) {
      if (link.dataset.env === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  const unique = (names) => [...new Set(names)];

  function showPlots(environment) {
    const { main, headline } = environment;
    const inPolicies = environment.metrics
      .map(({ name }) => name)
      .filter((name) => environment.policies.some(({ metrics }) => name in metrics));
    const inCurves = unique(environment.curves.flatMap(({ metrics }) => Object.keys(metrics)));
    const { seed, series } = environment.episode || { seed: null, series: {} };
    const inSeries = unique(Object.values(series).flatMap((each) => Object.keys(each)));
    const bar = environment.policies.some(({ label }) => label === environment.bar)
      ? ` The dashed line is the evaluation mean of ${environment.bar}, the bar.`
      : "";
    place("curves-note").textContent = inCurves.length
      ? `Validation episodes during training, one line per run; their worlds are not the evaluation's.${bar}`
      : "";
    place("episode-note").textContent = inSeries.length ? `The same episode for each policy (seed ${seed}).` : "";
    const second = headline.find((name) => name !== main && name !== `log_${main}`);
    return [
      chosen(environment, "comparison", ["Metric"], inPolicies, [main], (name) => {
        place("comparison-meaning").textContent = meaning(environment, name);
        plots.bars(environment, name);
        plots.distribution(environment, name);
      }),
      chosen(environment, "tradeoff", ["Across", "Up"], inPolicies, [main, second || main], (across, up) =>
        plots.tradeoff(environment, across, up),
      ),
      chosen(environment, "curves", ["Metric"], inCurves, [main], (name) => plots.curves(environment, name)),
      chosen(environment, "episode", ["Metric"], inSeries, [main], (name) => {
        place("episode-meaning").textContent = meaning(environment, name);
        plots.episode(environment, name);
      }),
    ];
  }

  let redraws = [];

  function show() {
    let wanted = location.hash.slice(1);
    try {
      wanted = decodeURIComponent(wanted);
    } catch {
      wanted = "";
    }
    const environment = report.environments.find(({ env_id: id }) => id === wanted) || report.environments[0];
    showTitles(environment);
    const ranked = environment.policies.some(({ rank }) => rank !== null);
    showTable(
      "table",
      sortableTable(
        policyColumns(environment),
        environment.policies,
        ranked ? { key: "rank", direction: 1 } : null,
        `Policies on ${environment.env_id}`,
      ),
    );
    redraws = showPlots(environment);
    showDetails(environment);
    for (const redraw of redraws) redraw();
  }

  showHeader();
  showOverview();
  place("environments").append(
    ...report.environments.map(({ env_id: id }) =>
      element("a", { href: `#${encodeURIComponent(id)}`, "data-env": id }, id),
    ),
  );
  place("environments").hidden = report.environments.length < 2;
  window.addEventListener("hashchange", show);
  figures.onNarrow(() => redraws.forEach((redraw) => redraw()));
  show();
})();
