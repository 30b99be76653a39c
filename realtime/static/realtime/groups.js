/** The page of groups: who is here, and what is said to the group, to one, to everyone, to oneself. */

import { GroupClient } from "../client/groups.js";
import { append, clockTime, Entrance } from "./entrance.js";
import { stickToEnd } from "./screen.js";
import { answerOf } from "./visa.js";

const LOOK_AGAIN_MS = 15_000; // where comings and goings are not announced
const TO = { group: "", direct: "to you", broadcast: "to everyone", echo: "back to you" };

const $ = (id) => document.getElementById(id);
const tell = (text) => ($("notice").textContent = text);

let client, visa, group, me;
let here = new Set();
let allowed = true; // to see who is here
let looking = false;
let again = false;

const entrance = new Entrance({
  connect,
  entered: () => look(),
  name: () => `${me} in ${group}`,
  refused: "You were not let in: the credentials are not valid, or somebody else holds this client id.",
});

function connect(given) {
  clear();
  visa = given;
  allowed = true;
  [group, me] = [$("group").value, $("client").value];
  $("place").textContent = group;
  // A key and a token are told apart by how a key begins.
  const credential = async () => visa.token();
  const isKey = $("token").value.trim().startsWith("gwk_");
  client = new GroupClient({ group, client: me, [isKey ? "apiKey" : "jwt"]: credential });
  client.on("message", (message) => heard(message));
  client.on("presence", (message) => {
    heard(message);
    look();
  });
  client.on("error", ({ message }) => append($("heard"), [["span", message]], { kind: "error" }));
  client.on("gap", ({ reason }) => append($("heard"), [["span", `Messages may be missing here (${reason}).`]], { kind: "gap" }));
  client.on("dropped", ({ reason }) => tell(`Not sent: ${reason}.`));
  client.on("state", ({ state }) => state === "stopped" && clear());
  return client;
}

/** Nothing of this person stays on the screen. */
function clear() {
  for (const list of ["heard", "members", "known"]) $(list).replaceChildren();
  $("say").reset();
  aim();
  tell("");
}

// ---------------------------------------------------------------------------- what is heard

function heard({ msg_type: type, target, from_id: from, to_id: to, cmd, msg, payload, sent_at: at }) {
  const mine = from === me;
  if (target === "group" && !here.has(from)) {
    here.add(from); // comings are not announced everywhere
    look();
  }
  const direction = target === "direct" && mine && to !== me ? `to ${to}` : TO[target];
  const words = [msg, type === "presence" && !msg ? payload.status : ""].filter(Boolean).join(" ");
  const rest = type === "presence" || !Object.keys(payload).length ? "" : JSON.stringify(payload);
  const parts = [["time", clockTime(at)], ["strong", from], ["small", direction], ["b", cmd ?? ""], ["span", words, "text"], ["code", rest]];
  append($("heard"), parts.filter(([, text]) => text), { kind: mine ? "mine" : type });
}

/** Who is here; asked while an answer is awaited, it is asked once more afterwards. */
async function look() {
  again = looking;
  if (looking || !allowed) return;
  looking = true;
  try {
    const asking = fetch(`/api/presence/?group=${encodeURIComponent(group)}`, { headers: await visa.headers(), credentials: "omit" });
    const { members, next } = await answerOf(asking);
    list(members);
    $("members-problem").textContent = next ? "And more." : "";
  } catch (error) {
    allowed = error.status !== 403;
    $("members-problem").textContent = `Cannot be listed: ${error.message}`;
  }
  looking = false;
  if (again) look();
}

function list(members) {
  const focused = $("members").contains(document.activeElement) ? document.activeElement.value : null;
  here = new Set(members.map(({ client_id: id }) => id));
  $("members").replaceChildren();
  $("known").replaceChildren(...members.map(({ client_id: id }) => new Option(id)));
  for (const { client_id: id, user } of members) {
    const item = append($("members"), [["button", id, "name"], ["small", [user ?? "a guest", id === me ? "you" : ""].filter(Boolean).join(" · ")]], { most: 1000 });
    const button = item.querySelector("button");
    Object.assign(button, { type: "button", value: id, title: `Write to ${id}` });
    button.addEventListener("click", () => writeTo(id));
    if (id === focused) button.focus();
  }
}

// ---------------------------------------------------------------------------- what is said

function writeTo(id) {
  $("target").value = "direct";
  $("to").value = id;
  aim();
  $("message").focus();
}

function aim() {
  const direct = $("target").value === "direct";
  $("to").hidden = !direct;
  $("to").required = direct;
}

$("target").addEventListener("change", () => aim());
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const [target, to, text] = ["target", "to", "message"].map((id) => $(id).value);
  const ways = {
    group: () => client.sendGroup(text),
    direct: () => client.sendDirect(to, text),
    broadcast: () => client.broadcast(text),
    echo: () => client.echo(text),
  };
  if (!ways[target]()) return;
  $("message").value = "";
  tell(client.queued ? "It waits for the connection." : target === "direct" ? `Sent to ${to}.` : "");
  entrance.changed();
});
$("clear").addEventListener("click", () => $("heard").replaceChildren());
setInterval(() => client?.state === "ready" && !document.hidden && look(), LOOK_AGAIN_MS);
stickToEnd($("heard").parentElement);
