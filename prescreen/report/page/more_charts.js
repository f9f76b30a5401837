// Charts of measures against each other, of capacity, cost and final results.
function drawAgreement() {
  const own = data.agreement;
  const names = own.names.map(plain);
  const number = (one) => (one === null ? "–" : one.toFixed(2));
  const narrow = window.innerWidth < 600;
  const cells = own.rho.map((row, r) => row.map((rho, c) =>
    `${names[r]} and ${names[c]}<br>ρ ${number(rho)} [${number(own.low[r][c])}, ${number(own.high[r][c])}]`));
  const short = names.map((one) => (narrow && one.length > 12 ? `${one.slice(0, 11)}…` : one));
  const heat = {
    type: "heatmap", z: own.rho, x: names.map((_, at) => at), y: names.map((_, at) => at), zmin: -1, zmax: 1,
    colorscale: "Cividis", text: own.rho.map((row) => row.map(number)), texttemplate: "%{text}",
    customdata: cells, hovertemplate: "%{customdata}<extra></extra>", xgap: 2, ygap: 2, showscale: !narrow,
  };
  const ticks = { tickvals: names.map((_, at) => at), ticktext: short };
  show("agreement", [heat], layout({ height: Math.max(260, 120 + 48 * names.length) },
    { ...ticks, tickangle: -40 }, { ...ticks, autorange: "reversed" }));
}

function drawCapacity() {
  const select = byId("cost");
  if (!select) return;
  const name = select.value, own = data.costs[name], front = data.fronts[name];
  const known = ranked.filter((i) => own[i] !== null && data.scores[i] !== null);
  const on = new Set(front);
  const shown = some(known, MOST_POINTS, new Set([...front, ...ranked.slice(0, 500), state.chosen]));
  const x = (i) => own[i], y = (i) => data.scores[i];
  const rest = shown.filter((i) => !on.has(i));
  const unit = { flops: " (FLOPs per sample)", latency: " (ms)" }[name] || "";
  show("capacity", [
    points(rest, x, y, { name: "beaten at its cost", marker: { color: colour("grey"), size: 7, opacity: 0.75 } }),
    points(front, x, y, { name: "Pareto front", mode: "lines+markers", line: { shape: "hv", width: 1.5, color: colour("red") },
      marker: { symbol: "diamond", size: 10, color: colour("red") } }),
    ...(state.chosen >= 0 && data.rank[state.chosen] !== null ? ring(x, y) : []),
  ], layout({}, { type: "log", title: { text: plain(name) + unit } }, { title: { text: `score (${data.score})` } }));
  byId("says-capacity").textContent = (known.length > shown.length
    ? `The best 500, the front and others at random: ${text(shown.length)} of ${text(known.length)}. ` : "") +
    `On the front: ${front.slice(0, 12).map((i) => data.name[i].slice(0, 40)).join(" · ")}${front.length > 12 ? " …" : ""}`;
}

function drawCosts() {
  const known = [...Array(count).keys()].filter((i) => data.seconds[i] !== null);
  const many = known.length > MOST_POINTS / 10;
  const kinds = [["ok", "ran to its end", "blue", ""], ["pruned", "pruned", "orange", "/"], ["", "failed or running", "red", "x"]];
  const of = (kind) => known.filter((i) => status(i) === kind || (!kind && !["ok", "pruned"].includes(status(i))));
  const traces = kinds.map(([kind, name, hue, shape]) => {
    const own = of(kind), marker = { color: colour(hue), pattern: { shape } };
    if (many) return { type: "histogram", x: own.map((i) => data.seconds[i]), name, marker };
    return { type: "bar", x: own.map((i) => (data.rank[i] === null ? i + 1 : data.rank[i])), y: own.map((i) => data.seconds[i]),
      customdata: own, text: own.map((i) => label(i, 60)), textposition: "none", name, marker,
      hovertemplate: "%{text}<br>%{y:.4g} s<extra></extra>" };
  }).filter((one) => one.x.length);
  const i = state.chosen;
  const mark = many && i >= 0 && data.seconds[i] !== null ? { shapes: [{ type: "line", yref: "paper", y0: 0, y1: 1,
    x0: data.seconds[i], x1: data.seconds[i], line: { color: colour("ink"), width: 2, dash: "dash" } }] } : {};
  if (!many) traces.push(...ring((one) => data.rank[one] ?? one + 1, (one) => data.seconds[one]));
  show("costs", traces, layout({ barmode: many ? "stack" : "overlay", height: 340, ...mark },
    { title: { text: many ? "seconds of a candidate" : "place in the table" } },
    { title: { text: many ? "candidates" : "seconds" } }));
  byId("says-costs").textContent = many ? "The dashed line is the chosen one." : "";
}

function drawResults() {
  if (!byId("chart-results")) return;
  const known = ranked.filter((i) => data.results[i] !== null && data.scores[i] !== null);
  const shown = some(known, MOST_POINTS, new Set([...ranked.slice(0, 500), state.chosen]));
  const x = (i) => data.scores[i], y = (i) => data.results[i];
  show("results", [points(shown, x, y, { name: "candidates", marker: { color: colour("blue"), size: 8, opacity: 0.75 } }),
    ...(state.chosen >= 0 ? ring(x, y) : [])],
  layout({ showlegend: false }, { title: { text: `score (${data.score})` } }, { title: { text: plain(data.final) } }));
}
