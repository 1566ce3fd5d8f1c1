"use strict";
// Whatever comes from a document enters the page as text, never as markup.

const field = (id) => document.getElementById(id);
// A token, where the server asks for one, stands behind the address: http://host:port/#token=… and is never sent in a URL.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
let latest = 0;

async function get(path) {
  const answer = await fetch(path, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function place(hit) {
  let shown = hit.document;
  if (hit.location.line !== null) shown += `:${hit.location.line}`;
  if (hit.location.page !== null) shown += ` (page ${hit.location.page})`;
  return shown;
}

function snippet(cut) {
  const text = make("p", "", "text");
  // Matches count characters as Python does, code point by code point.
  const letters = Array.from(cut.text);
  let at = 0;
  if (cut.cut_before) text.append("… ");
  for (const [start, end] of cut.matches) {
    text.append(letters.slice(at, start).join(""), make("mark", letters.slice(start, end).join("")));
    at = end;
  }
  text.append(letters.slice(at).join(""), cut.cut_after ? " …" : "");
  return text;
}

function draw(hit) {
  const item = make("li");
  const head = make("div", "", "place");
  const score = make("span", hit.score.toFixed(3));
  const legs = Object.entries(hit.scores).map(([name, value]) => `${name} ${value === null ? "–" : value.toFixed(3)}`);
  score.title = legs.join(", ");
  head.append(make("span", place(hit)), score);
  item.append(head);
  const heading = hit.location.heading;
  const own = heading && hit.title && heading.startsWith(`${hit.title} > `) ? heading.slice(hit.title.length + 3) : heading;
  const names = [hit.title, own !== hit.title ? own : ""].filter(Boolean);
  if (names.length) item.append(make("h2", names.join(" › ")));
  const short = snippet(hit.snippet);
  item.append(short);
  if (hit.snippet.cut_before || hit.snippet.cut_after) {
    const more = make("button", "whole passage", "more");
    more.addEventListener("click", () => {
      const whole = item.querySelector(".whole");
      if (whole) {
        whole.replaceWith(short);
        more.textContent = "whole passage";
      } else {
        short.replaceWith(make("p", hit.text, "text whole"));
        more.textContent = "less";
      }
    });
    item.append(more);
  }
  return item;
}

function say(text, wrong = false) {
  field("said").textContent = text;
  field("said").classList.toggle("wrong", wrong);
}

async function ask() {
  const q = field("q").value.trim();
  const asked = new URLSearchParams({ q, k: field("k").value, mode: field("mode").value });
  if (field("where").value.trim()) asked.set("where", field("where").value.trim());
  if (field("all").checked) asked.set("all_passages", "true");
  history.replaceState(null, "", q ? `?${asked}${location.hash}` : `/${location.hash}`);
  document.title = q ? `${q} – searchengine` : "searchengine";
  const number = ++latest;
  if (!q) {
    field("hits").replaceChildren();
    return say("");
  }
  say("searching …");
  try {
    const found = await get(`/search?${asked}`);
    if (number !== latest) return; // a later question was faster
    field("hits").replaceChildren(...found.hits.map(draw));
    const count = `${found.hits.length} of ${found.searched.toLocaleString("en")} passages, ${found.took_ms} ms`;
    say([count, ...found.notes].join(" · "));
  } catch (error) {
    if (number !== latest) return;
    field("hits").replaceChildren();
    say(error.message, true);
  }
}

async function about() {
  try {
    const state = await get("/status");
    const documents = state.documents.toLocaleString("en");
    field("about").textContent =
      `${documents} documents in ${state.passages.toLocaleString("en")} passages · ${state.roots.join(", ")} · updated ${state.updated}`;
  } catch (error) {
    field("about").textContent = error.message;
  }
}

field("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
for (const id of ["mode", "k", "where", "all"]) field(id).addEventListener("change", ask);

const given = new URLSearchParams(location.search);
for (const id of ["q", "mode", "k", "where"]) if (given.has(id)) field(id).value = given.get(id);
field("all").checked = given.get("all_passages") === "true";
ask();
about();
