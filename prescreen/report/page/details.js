// Why the chosen candidate is ranked where it is.
function listOf(pairs) {
  return element("dl", {}, ...pairs.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function placesOf(i) {
  return data.measures.map((one, at) => ({ ...one, value: data.values[at][i], place: data.places[at][i], of: ranked.length }))
    .filter((one) => one.value !== null);
}

// In words: what speaks for it and what against.
function sentences(i) {
  const said = [];
  if (isFailed(i)) return [`It failed (${status(i)}): ${reason(i)}`];
  if (status(i) === "pruned") said.push(`It was pruned at step ${text(data.step[i])}.`);
  if (status(i) === "running") said.push("It is not done.");
  if (reason(i)) said.push(reason(i));
  if (data.tied[i]) said.push("It cannot be told from the first: the order among them may be chance.");
  const places = placesOf(i).filter((one) => one.panel && one.place !== null);
  if (places.length > 1) {
    const sorted = [...places].sort((a, b) => a.place - b.place);
    const [best, worst] = [sorted[0], sorted[sorted.length - 1]];
    if (best.place < worst.place) {
      said.push(`For it speaks ${best.name} (place ${best.place}), least does ${worst.name} (place ${worst.place}).`);
    }
  }
  const front = Object.entries(data.fronts).filter(([, own]) => own.includes(i)).map(([name]) => name);
  if (front.length) said.push(`None with as few ${front.join(" or ")} has a better score.`);
  return said;
}

function drawDetails() {
  const i = state.chosen;
  if (i < 0) return byId("details").replaceChildren("There are no candidates.");
  const interval = data.low[i] === null ? "" : ` [${text(data.low[i])}, ${text(data.high[i])}]`;
  const place = data.rank[i] === null ? "without a place" : `rank ${data.rank[i]}`;
  const head = element("div", { class: "head" }, element("div", { class: "title" }, data.name[i]),
    element("p", {}, place + (data.rank[i] === null ? "" : ` of ${text(ranked.length)}`) +
      (data.scores[i] === null ? "" : `, score ${text(data.scores[i])}${interval}`)),
    ...sentences(i).map((one) => element("p", {}, one)));
  const measured = element("div", {}, element("h3", {}, "Measures"), listOf(placesOf(i).map((one) => [
    one.name + (one.panel ? "" : " (not in the score)"),
    text(one.value) + (one.place === null ? "" : `, place ${one.place} of ${one.of}`),
  ])));
  const costs = [...Object.entries(data.costs).map(([name, own]) => [name, text(own[i])]),
    ["steps", text(data.step[i])], ["seconds", text(data.seconds[i])], ["training loss", text(data.loss[i])],
    ...(data.results.length ? [[data.final, text(data.results[i])]] : []),
    ["status", status(i)]].filter(([, value]) => value !== "");
  const spent = element("div", {}, element("h3", {}, "Capacity and cost"), listOf(costs));
  const config = Object.entries(data.config).map(([key, one]) => [key, one.levels[one.at[i]]])
    .filter(([, value]) => value !== null).map(([key, value]) => [key, text(value)]);
  const built = element("div", {}, element("h3", {}, "Config"), config.length ? listOf(config) : "It has none.");
  const known = data.changes[i] || [];
  const changes = known.length ? element("div", { class: "head" }, element("h3", {}, "What would change its place"),
    element("ul", {}, ...known.map((one) => element("li", {}, one)))) : null;
  return byId("details").replaceChildren(...[head, changes, measured, spent, built].filter(Boolean));
}
