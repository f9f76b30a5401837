// The table of candidates: sorted by any column, filtered, and cut into pages.
const PAGE = 25;
const table = { sort: 0, down: false, page: 0, size: PAGE, shown: [...Array(count).keys()] };

function half(i) {
  if (data.low[i] === null) return null;
  return Math.max(data.high[i] - data.scores[i], data.scores[i] - data.low[i]);
}

const columns = [
  { name: "rank", of: (i) => data.rank[i], number: true },
  { name: "candidate", of: (i) => data.name[i] },
  { name: "score", of: (i) => data.scores[i], number: true, hint: data.score },
  { name: "±", of: half, number: true, hint: "half of the 95 % interval" },
  { name: "=", of: (i) => (data.tied[i] ? "=" : ""), hint: "not told from the first" },
  ...(data.results.length ? [{ name: data.final, of: (i) => data.results[i], number: true }] : []),
  ...data.measures.map((one, at) => ({
    name: one.name, of: (i) => data.values[at][i], number: true,
    hint: (one.higher ? "higher" : "lower") + " is better" + (one.panel ? "" : "; not in the score"),
  })),
  ...Object.entries(data.costs).filter(([name]) => !data.measures.some((one) => one.name === name))
    .map(([name, own]) => ({ name, of: (i) => own[i], number: true })),
  { name: "loss", of: (i) => data.loss[i], number: true, hint: "of training, at the end" },
  { name: "steps", of: (i) => data.step[i], number: true },
  { name: "seconds", of: (i) => data.seconds[i], number: true },
  { name: "status", of: status },
].filter((one) => {
  for (let i = 0; i < count; i++) if (![null, ""].includes(one.of(i))) return true;
  return ["rank", "candidate"].includes(one.name);
});

function compare(a, b) {
  if (a === null || a === "") return b === null || b === "" ? 0 : 2;
  if (b === null || b === "") return -2;
  return typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
}

function sortRows() {
  const of = columns[table.sort].of;
  table.shown.sort((i, j) => {
    const order = compare(of(i), of(j));
    // What is missing comes last in either direction.
    return (Math.abs(order) === 2 || !table.down ? order : -order) || i - j;
  });
}

function findRows() {
  const wanted = byId("find").value.trim().toLowerCase();
  const configs = Object.entries(data.config);
  table.shown = [...Array(count).keys()].filter((i) => !wanted ||
    [data.name[i], status(i), reason(i), ...configs.map(([key, one]) => `${key}=${one.levels[one.at[i]]}`)]
      .some((own) => own.toLowerCase().includes(wanted)));
  table.page = 0;
  sortRows();
  drawRows();
}

function drawHead() {
  const row = element("tr");
  columns.forEach((one, at) => {
    const sorted = table.sort === at ? (table.down ? "descending" : "ascending") : null;
    const button = element("button", { type: "button", title: one.hint, onclick: () => {
      table.down = table.sort === at ? !table.down : Boolean(one.number) && one.name !== "rank";
      table.sort = at;
      table.page = 0;
      sortRows();
      drawHead();
      drawRows();
      byId("table").querySelectorAll("thead button")[at].focus();
    } }, one.name);
    row.append(element("th", { scope: "col", class: one.number ? "number" : null, "aria-sort": sorted }, button));
  });
  byId("table").tHead.replaceChildren(row);
}

function drawRows() {
  const pages = Math.max(1, Math.ceil(table.shown.length / table.size));
  const from = table.page * table.size;
  const rows = table.shown.slice(from, from + table.size).map((i) => {
    const kind = isFailed(i) ? "failed" : status(i);
    const row = element("tr", { class: kind + (i === state.chosen ? " chosen" : ""), "data-row": i });
    for (const one of columns) row.append(cellOf(one, i));
    row.addEventListener("click", () => choose(i));
    return row;
  });
  byId("table").tBodies[0].replaceChildren(...rows);
  byId("count").textContent = table.shown.length === count ? `${text(count)} candidates`
    : `${text(table.shown.length)} of ${text(count)} candidates`;
  byId("page").textContent = `page ${table.page + 1} of ${pages}`;
  byId("previous").disabled = table.page === 0;
  byId("next").disabled = table.page >= pages - 1;
}

function cellOf(one, i) {
  if (one.name === "candidate") {
    const pressed = String(i === state.chosen);
    const button = element("button", { type: "button", class: "link", "aria-pressed": pressed, title: data.name[i] },
      data.name[i]);
    return element("td", { class: "name" }, button);
  }
  const value = one.of(i);
  return element("td", { class: one.number ? "number" : null }, value === null ? "–" : text(value));
}

// Rows stay, so that the focus stays where it is.
function markRow() {
  for (const row of byId("table").tBodies[0].rows) {
    const chosen = Number(row.dataset.row) === state.chosen;
    row.classList.toggle("chosen", chosen);
    row.querySelector("button").setAttribute("aria-pressed", String(chosen));
  }
}

function turnPage(by) {
  table.page += by;
  drawRows();
}
