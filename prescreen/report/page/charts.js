// The charts, by Plotly. Colours are those of the page; dashes and markers tell the same.
const MOST_POINTS = 2000, MOST_LINES = 200, BEST = 6, MOST_BARS = 40;
const drawn = {};
const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function layout(more, x = {}, y = {}) {
  const height = more.height || 420;
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
  const narrow = window.innerWidth < 600;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: narrow ? false : "zoom",
    font: { color: colour("ink"), size: narrow ? 11 : 13 }, margin: { l: 10, r: 10, t: 30, b: 10 }, height,
    legend: { orientation: "h", y: -75 / (height - 120) },
    hoverlabel: { bgcolor: colour("raised"), font: { color: colour("ink") }, bordercolor: colour("line"), namelength: -1 },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y }, ...more,
  };
}

function show(id, traces, shape) {
  const place = byId(`chart-${id}`);
  Plotly.react(place, traces, shape, config);
  if (drawn[id]) return;
  drawn[id] = true;
  place.on("plotly_click", (event) => {
    const i = event.points[0].customdata;
    if (typeof i === "number") choose(i);
  });
}

// Points of some candidates, with their names on pointing.
function points(indices, x, y, more) {
  return {
    type: "scatter", mode: "markers", x: indices.map(x), y: indices.map(y), customdata: indices,
    text: indices.map((i) => label(i, 60)), hovertemplate: "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>", ...more,
  };
}

function ring(x, y) {
  const i = state.chosen;
  if (i < 0 || x(i) === null || y(i) === null || x(i) === undefined) return [];
  const marker = { size: 17, symbol: "circle-open", line: { width: 3 }, color: colour("ink") };
  return [points([i], x, y, { name: "chosen", marker })];
}

function drawRanking() {
  const shown = ranked.slice(0, MOST_BARS);
  if (state.chosen >= 0 && data.rank[state.chosen] !== null && !shown.includes(state.chosen)) shown.push(state.chosen);
  const bars = (own) => ({
    type: "data", symmetric: false, thickness: 1.5, array: own.map((i) => (data.high[i] ?? data.scores[i]) - data.scores[i]),
    arrayminus: own.map((i) => data.scores[i] - (data.low[i] ?? data.scores[i])),
  });
  const place = (i) => `${data.rank[i]}  ${label(i, window.innerWidth < 600 ? 14 : 32)}`;
  const traces = [[0, "blue", "circle", "the first, or told from it"], [1, "orange", "square-open", "not told from the first"]]
    .map(([tied, hue, symbol, name]) => {
      const own = shown.filter((i) => data.tied[i] === tied);
      const marker = { color: colour(hue), symbol, size: 9 };
      return points(own, (i) => data.scores[i], place, {
        name, marker, error_x: bars(own), hovertemplate: "%{text}<br>%{x:.3f}<extra></extra>" });
    }).filter((one) => one.x.length);
  show("ranking", [...traces, ...ring((i) => data.rank[i] === null ? null : data.scores[i], place)],
    layout({ height: 140 + 22 * shown.length }, { title: { text: `score (${data.score})` } },
      { type: "category", categoryorder: "array", categoryarray: shown.map(place).reverse() }));
  byId("says-ranking").textContent = ranked.length > shown.length
    ? `The best ${MOST_BARS} of ${text(ranked.length)}, and the chosen one.` : "";
}

function lines(indices, series, more) {
  const trace = { type: "scatter", x: [], y: [], customdata: [], text: [], ...more };
  for (const i of indices) {
    series[i].forEach((value, at) => {
      trace.x.push(steps(i)[at]);
      trace.y.push(value);
      trace.customdata.push(i);
      trace.text.push(label(i, 60));
    });
    for (const one of ["x", "y", "customdata", "text"]) trace[one].push(null);
  }
  return { mode: "lines", hovertemplate: "%{text}<br>step %{x}: %{y:.4g}<extra></extra>", ...trace };
}

function drawTrajectories() {
  const name = byId("measure").value;
  const series = data.trajectories.series[name];
  if (!series) return;
  const read = [...Array(count).keys()].filter((i) => series[i].some((one) => one !== null));
  const best = ranked.slice(0, BEST).filter((i) => read.includes(i));
  const shown = some(read, MOST_LINES, new Set([...best, state.chosen]));
  const rest = shown.filter((i) => !best.includes(i));
  const grey = { color: colour("grey"), width: 1 };
  const pruned = rest.filter((i) => status(i) === "pruned");
  const ended = rest.filter((i) => status(i) !== "pruned" && !isFailed(i));
  const failed = rest.filter(isFailed);
  const last = (i) => series[i].length - 1;
  const hues = ["blue", "orange", "green", "red", "purple", "sky"];
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const symbols = ["circle", "square", "diamond", "triangle-up", "triangle-down", "star"];
  const traces = [
    lines(ended, series, { name: "other candidates", line: grey, opacity: 0.6 }),
    lines(pruned, series, { name: "pruned", line: { ...grey, dash: "dot" } }),
    lines(failed, series, { name: "failed", line: { ...grey, dash: "dashdot", color: colour("red") }, opacity: 0.6 }),
    points(pruned, (i) => steps(i)[last(i)], (i) => series[i][last(i)],
      { name: "pruned here", marker: { symbol: "x", color: colour("red"), size: 8 } }),
    ...best.map((i, at) => lines([i], series, { name: `${data.rank[i]}  ${label(i)}`, mode: "lines+markers",
      line: { color: colour(hues[at]), dash: dashes[at], width: 2 }, marker: { symbol: symbols[at], size: 7 } })),
  ].filter((one) => one.x.length);
  if (state.chosen >= 0 && read.includes(state.chosen)) {
    traces.push(lines([state.chosen], series, { name: `chosen: ${label(state.chosen)}`, mode: "lines+markers",
      line: { color: colour("ink"), width: 4 }, marker: { size: 10, symbol: "circle-open", line: { width: 3 } } }));
  }
  const measure = data.measures.find((one) => one.name === name);
  const way = measure ? (measure.higher ? ", higher is better" : ", lower is better") : ", lower is better";
  show("trajectories", traces, layout({ height: 480 }, { title: { text: "optimizer steps" } },
    { title: { text: plain(name) + way } }));
  byId("says-trajectories").textContent = read.length > shown.length
    ? `The best ${BEST}, the chosen one and others at random: ${MOST_LINES} of ${text(read.length)}.` : `All ${text(read.length)} candidates that were read.`;
}

function plain(name) {
  return name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
