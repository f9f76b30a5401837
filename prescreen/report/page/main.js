// Puts the parts together: charts are drawn when they come into view.
const charts = { ranking: drawRanking, trajectories: drawTrajectories, agreement: drawAgreement,
  capacity: drawCapacity, costs: drawCosts, results: drawResults };
const seen = new Set();

function redraw() {
  for (const id of seen) charts[id]();
}

function see(id) {
  if (seen.has(id)) return;
  seen.add(id);
  charts[id]();
}

function fill(select, names) {
  if (select) select.replaceChildren(...names.map((one) => element("option", { value: one }, one)));
}

function isDark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  redraw();
}

function print(begins) {
  if (begins) {
    for (const id of Object.keys(charts)) if (byId(`chart-${id}`)) see(id);
    state.theme = document.documentElement.dataset.theme;
    table.size = 500;
  } else {
    table.size = PAGE;
  }
  drawRows();
  setTheme(begins ? "light" : state.theme);
  // A page is narrower than a screen.
  for (const id of seen) {
    const width = begins ? 660 : null;
    if (byId(`chart-${id}`)) Plotly.relayout(byId(`chart-${id}`), width ? { width } : { width: null, autosize: true });
  }
}

drawHead();
sortRows();
drawRows();
drawDetails();
fill(byId("measure"), Object.keys(data.trajectories.series));
fill(byId("cost"), Object.keys(data.costs));
state.listeners.push(markRow, drawDetails, redraw);
byId("find").addEventListener("input", findRows);
byId("previous").addEventListener("click", () => turnPage(-1));
byId("next").addEventListener("click", () => turnPage(1));
byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
byId("measure").addEventListener("change", drawTrajectories);
if (byId("cost")) byId("cost").addEventListener("change", drawCapacity);
for (const one of document.querySelectorAll("[data-select]")) {
  one.addEventListener("click", () => choose(Number(one.dataset.select)));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(document.documentElement.dataset.theme));
setTheme();
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
const watch = new IntersectionObserver((entries) => {
  for (const one of entries) if (one.isIntersecting) see(one.target.id.replace("chart-", ""));
}, { rootMargin: "300px" });
for (const id of Object.keys(charts)) if (byId(`chart-${id}`)) watch.observe(byId(`chart-${id}`));
