// What all parts of the page share: the data, which candidate is chosen, numbers as text, elements.
const data = JSON.parse(document.getElementById("data").textContent);
const count = data.name.length;
const ranked = data.rank.map((one, i) => (one === null ? -1 : i)).filter((i) => i >= 0);
const state = { chosen: count ? 0 : -1, listeners: [] };
const byId = (id) => document.getElementById(id);
const status = (i) => data.status.levels[data.status.at[i]];
const reason = (i) => data.reason.levels[data.reason.at[i]];
const isFailed = (i) => !["ok", "pruned", "running"].includes(status(i));
const steps = (i) => data.trajectories.steps.levels[data.trajectories.steps.at[i]];

// Choose a candidate everywhere.
function choose(i) {
  state.chosen = i;
  for (const listener of state.listeners) listener();
}

// A new element; texts are always texts.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined).map((one) =>
    one instanceof Node ? one : String(one)));
  return made;
}

function text(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size < 1e7 && Number.isInteger(value)) return value.toLocaleString("en");
  if (size >= 1e5 && size < 1e15) return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });
  return size >= 1e15 || (size > 0 && size < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
}

// A name in a chart, which would act on markup.
function label(i, longest = 32) {
  const name = data.name[i];
  const short = name.length > longest ? name.slice(0, longest) + "…" : name;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// Some of many indices, always the same ones: those kept, and others at random.
function some(indices, most, kept) {
  if (indices.length <= most) return indices;
  const chosen = new Set(indices.filter((i) => kept.has(i)).slice(0, most));
  let seed = 1;
  while (chosen.size < most) {
    seed = (seed * 48271) % 2147483647;
    chosen.add(indices[seed % indices.length]);
  }
  return indices.filter((i) => chosen.has(i));
}
