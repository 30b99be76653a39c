/** The page of topics: subscribe with a filter, publish, hear, and a chart of telemetry. */

import { TopicClient } from "../client/topics.js";
import { Chart, inWords, numbersIn } from "./chart.js";
import { append, clockTime, Entrance } from "./entrance.js";
import { stickToEnd } from "./screen.js";

const TELEMETRY = "telemetry";
const MOST_FIELDS = 100;

const $ = (id) => document.getElementById(id);
const tell = (text) => ($("notice").textContent = text);

const chart = new Chart($("chart"));
const series = new Map(); // field -> [[ms, value], …]
const subscribed = new Map(); // what the row says -> how to end it
let client;

const entrance = new Entrance({ connect, entered: () => tell("Connected."), name: () => client.userId, refused: "The token was not accepted, or the server is away." });

function connect(visa) {
  clear();
  client = new TopicClient({ token: () => visa.token() });
  client.subscribe(TELEMETRY, {}, measured);
  client.on("error", ({ message }) => tell(message));
  client.on("gap", ({ channel, reason }) => append($("heard"), [["span", `Messages of ${channel} may be missing here (${reason}).`]], { kind: "gap" }));
  client.on("dropped", ({ reason }) => tell(`Not published: ${reason}.`));
  client.on("state", ({ state }) => state === "stopped" && clear());
  return client;
}

/** Nothing of this person stays on the screen. */
function clear() {
  for (const list of ["heard", "subscriptions"]) $(list).replaceChildren();
  for (const form of ["listen", "publish"]) $(form).reset();
  subscribed.clear();
  series.clear();
  chart.show([]);
  $("field").replaceChildren(new Option("No numbers yet", ""));
  $("field").disabled = true;
  $("now").textContent = "";
  $("chart-text").textContent = "Numbers that come on the channel telemetry are drawn here.";
}

// ---------------------------------------------------------------------------- what is heard

function heard(message) {
  const { channel, from, data, timestamp } = message;
  const text = JSON.stringify(data) ?? "no data";
  append($("heard"), [["time", clockTime(timestamp)], ["strong", channel], ["span", from ?? "the server", "soft"], ["code", text]]);
}

function subscribe(channel, filters) {
  const name = filters ? `${channel} ${JSON.stringify(filters)}` : channel;
  if (subscribed.has(name)) return tell(`Subscribed to ${name} already.`);
  let count = 0;
  const off = client.subscribe(channel, { filters }, (data, message) => {
    counter.textContent = ` ${(count += 1)}`;
    heard(message);
  });
  const item = append($("subscriptions"), [["span", channel, "name"], ["code", filters ? JSON.stringify(filters) : ""], ["output", ""], ["button", "End"]]);
  const [counter, end] = [item.querySelector("output"), item.querySelector("button")];
  end.type = "button";
  end.setAttribute("aria-label", `End the subscription to ${name}`);
  end.addEventListener("click", () => {
    off();
    subscribed.delete(name);
    item.remove();
    $("channel").focus();
  });
  subscribed.set(name, off);
  tell(`Subscribed to ${name}.`);
}

function measured(data, { timestamp }) {
  const at = Date.parse(timestamp);
  for (const [field, value] of numbersIn(data)) {
    if (!series.has(field)) offer(field);
    if (series.has(field)) chart.add(series.get(field), at, value);
  }
  describe();
}

function offer(field) {
  if (series.size >= MOST_FIELDS) return;
  series.set(field, []);
  const { value } = $("field");
  $("field").replaceChildren(...[...series.keys()].sort().map((name) => new Option(name, name)));
  $("field").value = value || field;
  $("field").disabled = false;
  if (!value) chart.show(series.get(field));
}

function describe() {
  const points = series.get($("field").value) ?? [];
  if (!points.length) return;
  $("now").textContent = String(points.at(-1)[1]);
  $("chart-text").textContent = inWords($("field").value, points);
}

// ---------------------------------------------------------------------------- what is asked

/** What the field holds as JSON; undefined, and a word under it, if it is none. */
function json(field, fits, wanted) {
  let value;
  try {
    value = JSON.parse($(field).value);
  } catch (error) {
    wanted = `${wanted}: ${error.message}`;
  }
  const good = value !== undefined && fits(value);
  $(`${field}-problem`).textContent = good ? "" : wanted;
  $(field).toggleAttribute("aria-invalid", !good);
  if (!good) $(field).focus();
  return good ? value : undefined;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

$("listen").addEventListener("submit", (event) => {
  event.preventDefault();
  $("filters-problem").textContent = "";
  $("filters").removeAttribute("aria-invalid");
  if (!$("filters").value.trim()) return subscribe($("channel").value);
  const filters = json("filters", isObject, "A filter is a JSON object");
  if (filters) subscribe($("channel").value, filters);
});
$("publish").addEventListener("submit", (event) => {
  event.preventDefault();
  const data = json("payload", () => true, "This is not JSON");
  if (data === undefined) return;
  if (client.publish($("to").value, data)) tell(client.queued ? "It waits for the connection." : "Published.");
  entrance.changed();
});
$("field").addEventListener("change", () => {
  chart.show(series.get($("field").value));
  describe();
});
$("clear").addEventListener("click", () => $("heard").replaceChildren());
stickToEnd($("heard").parentElement);
