// The playground: asks the service what it knows of a visitor, posts the visitor's clicks, shows what they change.

const SHOWN = 12;
const POLL_MS = 120;
const GIVE_UP_MS = 15000;
const ACTIONS = [["view", "View"], ["cart", "Cart"], ["purchase", "Buy"]];

const at = (id) => document.getElementById(id);
const state = { visitor: null, kind: "user", answer: null, turn: 0 };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail || body.error), { status: response.status });
  return body;
}

const userPath = (what) => `/v1/users/${encodeURIComponent(state.visitor)}/${what}`;
const withKind = (extra = "") => `?kind=${state.kind}${extra}`;
const list = () => ask(userPath("recommendations") + withKind(`&n=${SHOWN}&explain=true`));

function say(text, kind = "") {
  at("status").textContent = text;
  at("status").className = `status ${kind}`;
}

function ago(ms) {
  if (ms === null || ms === undefined) return "–";
  const s = Math.max(0, ms) / 1000;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

const count = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;
const money = (value) => (value === undefined || value === null ? "" : Number(value).toFixed(2));
const spoken = (category) => (category || "").split(".").join(" › ").replaceAll("_", " ");

function hue(text) {
  let h = 0;
  for (const c of text || "") h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function art(item) {
  const tile = make("div", { class: "art", "aria-hidden": "true" }, (item.title || item.item_id).trim().slice(0, 2).toUpperCase());
  const h = hue(item.category || item.item_id);
  tile.style.background = `linear-gradient(135deg, hsl(${h} 45% 52%), hsl(${(h + 40) % 360} 48% 38%))`;
  return tile;
}

function scoreBar(item, best) {
  const bar = make("div", { class: "score", title: `score ${item.score.toFixed(4)}` });
  const parts = item.parts || { relevance: item.score };
  const sum = Object.values(parts).reduce((a, b) => a + b, 0) || 1;
  const width = best > 0 ? Math.max(0, item.score / best) : 0;
  for (const [name, value] of Object.entries(parts)) {
    const piece = make("i", { class: name });
    piece.style.width = `${(100 * width * value) / sum}%`;
    bar.append(piece);
  }
  return bar;
}

function card(item, place, before, best) {
  const was = before ? before.get(item.item_id) : undefined;
  const moved = before ? (was === undefined ? "new" : was - place) : 0;
  let label = "", tone = "";
  if (moved === "new") [label, tone] = ["new", "up"];
  else if (moved > 0) [label, tone] = [`▲${moved}`, "up"];
  else if (moved < 0) [label, tone] = [`▼${-moved}`, "down"];
  const buttons = ACTIONS.map(([type, name]) =>
    make("button", { type: "button", "data-action": type, "aria-label": `${name} ${item.title || item.item_id}`, onclick: () => guard(act(type, item)) }, name));
  return make("li", { class: `item ${tone === "up" ? "moved" : tone === "down" ? "fell" : ""}`, "data-item": item.item_id },
    make("div", { class: "place" }, String(place + 1), make("span", { class: `move ${tone}` }, label)),
    art(item),
    make("div", {},
      make("div", { class: "title" }, item.title || item.item_id),
      make("div", { class: "meta" }, [spoken(item.category), money(item.price)].filter(Boolean).join(" · ")),
      make("ul", { class: "reasons" }, ...item.reasons.map((r) => make("li", { class: r.kind }, `${r.text} · ${Math.round(r.share * 100)}%`))),
      scoreBar(item, best)),
    make("div", { class: "actions" }, ...buttons));
}

function showList(answer, previous) {
  const before = previous ? new Map(previous.items.map((item, i) => [item.item_id, i])) : null;
  const tops = new Map([...at("items").children].map((n) => [n.dataset.item, n.getBoundingClientRect().top]));
  const best = Math.max(...answer.items.map((item) => item.score), 0);
  at("items").replaceChildren(...answer.items.map((item, i) => card(item, i, before, best)));
  at("level").textContent = answer.level + (answer.degraded ? " · degraded" : "");
  at("level").title = `sources: ${answer.sources.join(", ") || "none"}${answer.missing.length ? ` · missing: ${answer.missing.join(", ")}` : ""}`;
  if (previous && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const node of at("items").children) {
      const from = tops.get(node.dataset.item);
      const by = from === undefined ? 0 : from - node.getBoundingClientRect().top;
      const frames = from === undefined ? [{ opacity: 0 }, { opacity: 1 }] : [{ transform: `translateY(${by}px)` }, { transform: "none" }];
      node.animate(frames, { duration: 450, easing: "cubic-bezier(.2,.8,.2,1)" });
    }
  }
  showLive(answer);
  state.answer = answer;
}

function showLive(answer) {
  const rows = [
    ["batch view", answer.view_version, "batch"], ["cut", answer.age_ms.batch === null ? null : `${ago(answer.age_ms.batch)} ago`, "batch"],
    ["model", answer.model_version, "batch"], ["generation", answer.generation, "speed"],
    ["newest event", answer.age_ms.speed === null ? null : `${ago(answer.age_ms.speed)} ago`, "speed"],
  ];
  at("live").replaceChildren(...rows.map(([name, value, layer]) =>
    make("div", { class: layer }, make("dt", {}, name), make("dd", {}, value ?? "–"))));
}

function block(title, ...children) {
  return make("div", { class: "card" }, make("h2", {}, title), ...children);
}

const nothing = (text) => make("p", { class: "empty" }, text);

function showProfile(profile) {
  const rfm = profile.rfm;
  const windows = Object.entries(profile.features);
  const names = [["views", "views"], ["carts", "carts"], ["orders", "orders"], ["units", "units"], ["spend", "spend"]];
  const features = make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, ""), ...windows.map(([name]) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...names.map(([key, label]) => make("tr", {}, make("th", { scope: "row" }, label),
      ...windows.map(([, f]) => make("td", {}, key === "spend" ? money(f[key]) : String(f[key])))))));
  const interests = profile.interests.slice(0, 6).map((row) => {
    const fill = make("i");
    fill.style.width = `${100 * row.share}%`;
    return make("div", { class: "meter" }, make("span", {}, spoken(row.category)), make("span", {}, `${Math.round(100 * row.share)}%`),
      make("div", { class: "track" }, fill));
  });
  const sessions = profile.sessions.slice(0, 4).map((s) => make("div", { class: `session ${s.closed ? "" : "open"}` },
    make("b", {}, `${ago(Date.now() - s.session_start)} ago`),
    make("div", { class: "meta" }, `${count(s.events, "event")} · ${count(s.items, "item")} · intent ${(s.intent / 1000).toFixed(2)}`)));
  at("profile").replaceChildren(
    block("Segment",
      profile.segment ? make("span", { class: "badge" }, profile.segment.segment) : nothing("No segment yet: no purchase before the cut."),
      ...profile.rules.map((rule) => make("span", { class: "badge rule" }, rule.title)),
      rfm ? make("p", { class: "meta" }, `last order ${rfm.recency_days} d before the cut · ${count(rfm.frequency, "order")} · ${money(rfm.monetary)} spent · RFM ${rfm.scores || "–"}`) : null,
      make("p", { class: "pseudonym", title: "What every store knows instead of the id" }, profile.visitor_id)),
    block("Interests", ...(interests.length ? interests : [nothing("None yet.")])),
    block("Activity", features),
    block("Sessions", ...(sessions.length ? sessions : [nothing("None in the speed layer.")])));
  at("seen").replaceChildren(...(profile.last_items.length
    ? profile.last_items.slice(0, 10).map((row) => make("li", {}, make("span", {}, row.title || row.item_id),
      make("span", { class: `layer ${row.layer}` }, `${row.layer} · ${ago(Date.now() - row.event_ms)}`)))
    : [nothing("Nothing yet.")]));
}

function showStranger() {
  at("profile").replaceChildren(block("Profile", nothing("Neither layer has heard of this visitor. Click on an item, and they will.")));
  at("seen").replaceChildren(nothing("Nothing yet."));
}

async function refreshProfile(turn) {
  try {
    const profile = await ask(userPath("profile") + withKind());
    if (turn === state.turn) showProfile(profile);
  } catch (error) {
    if (error.status !== 404) throw error;
    if (turn === state.turn) showStranger();
  }
}

async function refreshTrending() {
  const answer = await ask("/v1/trending?n=8");
  at("trending").replaceChildren(...(answer.items.length
    ? answer.items.map((item) => make("li", {}, make("span", {}, item.title || item.item_id), make("span", { class: "layer" }, item.score.toFixed(1))))
    : [nothing("Nothing yet.")]));
  if (!state.answer) showLive(answer);
}

async function choose(id, kind) {
  const turn = ++state.turn;
  Object.assign(state, { visitor: id, kind, answer: null });
  at("visitor").value = id;
  at("kind").value = kind;
  for (const button of at("samples").children) {
    button.setAttribute("aria-pressed", String(button.dataset.id === id && button.dataset.kind === kind));
  }
  say("Asking …");
  const begun = performance.now();
  const answer = await list();
  if (turn !== state.turn) return;
  showList(answer, null);
  say(`Answered in ${Math.round(performance.now() - begun)} ms.`);
  await refreshProfile(turn);
}

// An answer rests on a click once the click is in the merged history it was folded in from.
const restsOn = (answer, event) => (answer.explanation?.history ?? []).some(
  (entry) => entry.item_id === event.item_id && entry.event_ms === event.event_ms);
const order = (answer) => answer.items.map((item) => item.item_id).join("\n");

function eventOf(type, item) {
  const event = {
    event_id: crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`,
    event_type: type, item_id: item.item_id, event_ms: Date.now(), source: "playground",
    recommendation_id: state.answer.recommendation_id,
    [state.kind === "user" ? "user_id" : "anonymous_id"]: state.visitor,
  };
  if (item.category) event.category = item.category;
  if (item.price !== undefined) event.price = Number(item.price.toFixed(4));
  if (type === "purchase") Object.assign(event, { quantity: 1, order_id: `playground-${event.event_id}`, price: event.price ?? 0, line: 1 });
  return event;
}

async function act(type, item) {
  const turn = ++state.turn;
  const previous = state.answer;
  const event = eventOf(type, item);
  say("Sending …");
  const begun = performance.now();
  await ask("/v1/events", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(event) });
  const acknowledged = Math.round(performance.now() - begun);
  say(`In Kafka after ${acknowledged} ms; waiting for the list …`);
  while (turn === state.turn && performance.now() - begun < GIVE_UP_MS) {
    const answer = await list();
    if (turn !== state.turn) return;
    if (restsOn(answer, event)) {
      const what = order(answer) === order(previous) ? "Scores moved" : "The list moved";
      showList(answer, previous);
      say(`${what} ${Math.round(performance.now() - begun)} ms after the click.`, "good");
      await refreshProfile(turn);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (turn === state.turn) say("The list has not moved: is the stream running?", "bad");
}

function guard(promise) {
  promise.catch((error) => say(error.message || "The service does not answer.", "bad"));
}

async function begin() {
  const known = await ask("/v1/playground/visitors");
  at("samples").replaceChildren(...known.map((v) => make("button",
    { type: "button", "data-id": v.id, "data-kind": v.kind, "aria-pressed": "false", onclick: () => guard(choose(v.id, v.kind)) }, v.label)));
  at("picker").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const id = at("visitor").value.trim();
    if (id) guard(choose(id, at("kind").value));
  });
  setInterval(() => guard(refreshTrending()), 5000);
  await refreshTrending();
  if (known.length) await choose(known[0].id, known[0].kind);
}

guard(begin());
