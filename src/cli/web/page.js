// Draws what /state tells and appends what /events tells. Words of devices and servers become text
// nodes and attributes, never markup.
"use strict";

const MOST = 14;       // devices of a LAN that are all rows
const ROWS = 8;        // rows where there are more; the others are dots
const TABLE = 200;     // devices in the table
const EVENTS = 100;    // events kept
const COLUMNS = ["Device", "State", "Address", "LAN", "Servers", "Seen"];
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const unfolded = new Set();
let state = null;
let looked = null;
let pulses = [];

// --- Small helpers -----------------------------------------------------------------------

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Changes what is different, so that the focus stays and a reader is not interrupted.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function look(node, className) {
  if (node.className !== className) node.className = className;
}

// Makes the children of a node those of the items, by key.
function list(parent, items, key, create, update) {
  const before = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = before.get(name);
    before.delete(name);
    if (!node) {
      node = create(item);
      node.dataset.key = name;
    }
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  before.forEach((node) => node.remove());
}

function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
  }
  return `${seconds} s`;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// --- What is in a state ------------------------------------------------------------------

function stateOf(device) {
  if (device.conflict) return "conflict";
  if (device.waiting.length) return "waiting";
  return device.state === "attached" ? "attached" : "away";
}

const NOTE = { conflict: "in conflict", waiting: "a push waits", away: "away", attached: "" };
const ORDER = ["conflict", "waiting", "attached", "away"];
const SERVER_NOTE = {
  active: "account", mapped: "", noted: "noted", wanted: "wanted", bootstrapping: "looked for",
  "pending-approval": "to be approved", failed: "failed",
};

// --- Drawing -----------------------------------------------------------------------------

function draw() {
  const { status, devices, servers } = state;
  say($("name"), status.id);
  document.title = `${status.health} · ${status.id}`;
  say($("about"), `dm-gateway ${status.version} · up ${age(status.uptime)} · ` +
    `${count(status.devices.known, "device")} · ${count(status.mappings, "mapping")}`);
  drawHealth(status);
  drawServers(servers);
  drawGateway(status);
  drawLans(status, devices);
  drawTable(devices);
  drawRefused(status.refused);
  drawLines();
}

function drawHealth(status) {
  const mark = { healthy: "✓", degraded: "!", down: "✕" }[status.health] || "?";
  let lines = status.troubles || [];
  if (!lines.length) lines = [{ what: status.health === "healthy" ? "All is well." : "" }];
  const key = (line) => `${line.code || ""} ${line.what}`;
  const create = () => {
    const node = make("div");
    const what = make("p", "what");
    what.append(make("strong"), " ", make("span"), make("span", "code"));
    node.append(make("span", "mark"), what, make("p", "try"));
    return node;
  };
  list($("health"), lines, key, create, (node, line) => {
    const isWarning = line.severity === "warn";
    look(node, isWarning ? "degraded" : status.health);
    say(node.querySelector(".mark"), isWarning ? "!" : mark);
    say(node.querySelector("strong"), isWarning ? "worth a look:" : `${status.health}:`);
    say(node.querySelector(".what span"), line.what);
    say(node.querySelector(".code"), line.code || "");
    const more = [line.cause && `Cause: ${line.cause}.`, line.try && `Try: ${line.try}`];
    say(node.querySelector(".try"), more.filter(Boolean).join(" "));
  });
}

function node(kind, id) {
  const node = make("div", "node");
  node.tabIndex = 0;
  node.dataset.kind = kind;
  node.dataset.id = id;
  node.append(make("i", "shape"), make("span", "id"), make("span", "note"));
  return node;
}

function fill(node, id, look_, note, label) {
  look(node, `node ${look_}${isLit(node) ? " lit" : ""}`);
  look(node.querySelector(".shape"), `shape ${look_}`);
  say(node.querySelector(".id"), id);
  say(node.querySelector(".note"), note);
  node.title = id;
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", label);
}

function item(child) {
  const item = make("li");
  item.append(child);
  return item;
}

function drawServers(servers) {
  $("no-servers").hidden = servers.length > 0;
  const shown = unfolded.has("servers") ? servers : servers.slice(0, 12);
  const rest = servers.length - shown.length;
  const items = rest ? [...shown, null] : shown;
  list($("servers"), items, (it) => it ? `s${it.id}` : "more", (it) => {
    if (it) return item(node("server", it.id));
    const more = make("button", "fold");
    more.addEventListener("click", () => { unfolded.add("servers"); draw(); });
    return item(more);
  }, (li, it) => {
    if (!it) return say(li.firstElementChild, `and ${count(rest, "more server")}`);
    const note = it.state in SERVER_NOTE ? SERVER_NOTE[it.state] : it.state;
    const wakes = state.devices.filter((device) => device.allowed.includes(it.id)).length;
    const label = `DM server ${it.id}: ${it.state}${it.why ? `, ${it.why}` : ""}, ` +
      `may wake ${count(wakes, "device")}`;
    fill(li.firstElementChild, it.id, it.state, note, label);
  });
}

function drawGateway(status) {
  const { counters } = status;
  look($("gateway"), status.health);
  $("gateway").setAttribute("aria-label", `The gateway ${status.id} is ${status.health}`);
  const rows = [["pushes", counters.pushes], ["forwarded", counters.forwarded],
    ["held", counters.held], ["refused", counters.pushes_refused]];
  list($("flow"), rows, (row) => row[0], () => {
    const row = make("div");
    row.append(make("dt"), make("dd"));
    return row;
  }, (row, [name, value]) => {
    say(row.firstElementChild, name);
    say(row.lastElementChild, String(value));
  });
}

function drawLans(status, devices) {
  const known = new Set(status.lans.map((lan) => lan.name));
  const lost = [...new Set(devices.map((it) => it.lan).filter((lan) => !known.has(lan)))];
  const gone = lost.map((name) => ({ name, interface: "no longer configured", policy: "" }));
  const byLan = new Map();
  for (const device of devices) {
    if (!byLan.has(device.lan)) byLan.set(device.lan, []);
    byLan.get(device.lan).push(device);
  }
  list($("lans"), [...status.lans, ...gone], (lan) => lan.name, () => {
    const node = make("section", "lan");
    const title = make("h2");
    title.append(make("span"), make("small"), make("small", "state"));
    const fold = make("button", "fold");
    fold.type = "button";
    fold.addEventListener("click", () => {
      const name = node.dataset.key;
      if (!unfolded.delete(name)) unfolded.add(name);
      draw();
    });
    node.append(title, make("ul", "rows"), make("div", "dots"), make("p", "none"), fold);
    return node;
  }, (section, lan) => drawLan(section, lan, byLan.get(lan.name) || []));
}

function drawLan(section, lan, devices) {
  look(section, lan.up === false ? "lan off" : "lan");
  section.setAttribute("aria-label", `LAN ${lan.name}`);
  const [name, about, up] = section.firstElementChild.children;
  say(name, `LAN ${lan.name}`);
  say(about, [lan.interface, lan.policy].filter(Boolean).join(" · "));
  say(up, lan.up === false ? "interface down" : "");
  const rank = (it) => ORDER.indexOf(stateOf(it));
  const sorted = [...devices].sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
  const all = unfolded.has(lan.name);
  const most = all || sorted.length <= MOST ? sorted.length : ROWS;
  list(section.querySelector(".rows"), sorted.slice(0, most), (it) => it.id,
    (it) => item(node("device", it.id)), (li, it) => {
      const is = stateOf(it);
      fill(li.firstElementChild, it.id, is, NOTE[is] || it.address || "",
        `End device ${it.id}: ${NOTE[is] || "attached"}, named ${count(it.servers.length, "server")}`);
    });
  list(section.querySelector(".dots"), sorted.slice(most), (it) => it.id, (it) => {
    const dot = make("i");
    dot.dataset.kind = "device";
    dot.dataset.id = it.id;
    return dot;
  }, (dot, it) => {
    look(dot, `shape ${stateOf(it)}`);
    dot.title = `${it.id}: ${NOTE[stateOf(it)] || "attached"}`;
  });
  const none = section.querySelector(".none");
  none.hidden = sorted.length > 0;
  say(none, "No end devices yet.");
  const fold = section.querySelector(".fold");
  fold.hidden = sorted.length <= MOST;
  fold.setAttribute("aria-expanded", String(all));
  say(fold, all ? "show fewer" : `and ${sorted.length - most} more: show all ${sorted.length}`);
}

function drawTable(devices) {
  const wanted = $("filter").value.trim().toLowerCase();
  const text = (it) => [it.id, it.address, it.lan, stateOf(it), NOTE[stateOf(it)], ...it.servers,
    ...it.aliases].join(" ").toLowerCase();
  const found = wanted ? devices.filter((it) => text(it).includes(wanted)) : devices;
  say($("devices-count"), wanted ? `${found.length} of ${devices.length}` : `${devices.length}`);
  list($("device-rows"), found.slice(0, TABLE), (it) => it.id, () => {
    const row = make("tr");
    const first = make("td", "long");
    const name = make("div", "name");
    name.append(make("i"), make("span"));
    first.append(name);
    row.append(first, make("td", "tight"), make("td", "tight"), make("td"), make("td", "long"),
      make("td", "tight"));
    // Where there is no room for columns.
    COLUMNS.forEach((name, index) => { row.children[index].dataset.name = name; });
    return row;
  }, (row, it) => {
    const [first, is, address, lan, servers, seen] = row.children;
    const id = first.firstElementChild;
    const now = stateOf(it);
    look(id.firstElementChild, `shape ${now}`);
    id.firstElementChild.setAttribute("aria-hidden", "true");
    say(id.lastElementChild, it.id);
    say(is, NOTE[now] || `attached ${age(it.age)}`);
    say(address, it.address || "–");
    say(lan, it.lan);
    say(servers, it.servers.join(", ") || "–");
    say(seen, it.seen === null ? "–" : `${age(it.seen)} ago`);
  });
  const rest = found.length - TABLE;
  $("more-devices").hidden = rest <= 0;
  say($("more-devices"), `and ${rest} more: narrow it down above`);
}

function drawRefused(refused) {
  const rows = Object.entries(refused).sort((a, b) => b[1].count - a[1].count);
  $("refused-section").hidden = !rows.length;
  list($("refused-rows"), rows, (row) => row[0], () => {
    const row = make("tr");
    row.append(make("td"), make("td", "tight"), make("td"));
    return row;
  }, (row, [reason, { count, why }]) => {
    say(row.children[0], String(count));
    say(row.children[1], reason);
    say(row.children[2], why);
  });
}

// --- Lines -------------------------------------------------------------------------------

function anchors() {
  const frame = $("picture").getBoundingClientRect();
  const narrow = frame.width < 700;
  const place = (node, right) => {
    const box = node.getBoundingClientRect();
    return { x: (right ? box.right : box.left) - frame.left, y: box.top + box.height / 2 - frame.top };
  };
  const found = { server: new Map(), device: new Map(), narrow };
  for (const node of document.querySelectorAll("#picture [data-kind]")) {
    found[node.dataset.kind].set(node.dataset.id, place(node, node.dataset.kind === "server" && !narrow));
  }
  found.in = place($("gateway"), false);
  found.out = place($("gateway"), !narrow);
  return found;
}

function curve(from, to, narrow) {
  const bend = narrow ? -26 : (to.x - from.x) / 2;
  const end = narrow ? -26 : -bend;
  return `M${from.x} ${from.y}C${from.x + bend} ${from.y} ${to.x + end} ${to.y} ${to.x} ${to.y}`;
}

function drawLines() {
  const at = anchors();
  const paths = [];
  const folded = [...document.querySelectorAll(".dots > *")].map((dot) => dot.dataset.id);
  const dots = new Set(folded);
  const partners = new Map();
  // Whatever allows it: its list, an account of the gateway's, an operator.
  for (const { id, allowed, waiting } of state.devices) {
    for (const server of allowed) {
      partners.set(`s${server}`, [...(partners.get(`s${server}`) || []), `d${id}`]);
      partners.set(`d${id}`, [...(partners.get(`d${id}`) || []), `s${server}`]);
    }
    if (waiting.length) partners.set(`w${id}`, true);
  }
  const lit = looked && new Set([looked, ...(partners.get(looked) || [])]);
  const isLit = (name) => !lit || lit.has(name);
  for (const server of state.servers) {
    const from = at.server.get(server.id);
    if (!from || !(partners.has(`s${server.id}`) || ["active", "failed"].includes(server.state))) continue;
    const kind = server.state === "failed" ? "failed" : server.state === "active" ? "account" : "";
    paths.push({ key: `s${server.id}`, d: curve(from, at.in, at.narrow), kind });
  }
  for (const device of state.devices) {
    const to = at.device.get(device.id);
    const key = `d${device.id}`;
    // A crowd of dots keeps its lines to itself until one looks at them.
    if (!to || !partners.has(key) || (dots.has(device.id) && !(lit && lit.has(key)))) continue;
    const is = partners.has(`w${device.id}`) ? "waiting" : device.state === "attached" ? "" : "away";
    paths.push({ key, d: curve(at.out, to, at.narrow), kind: is });
  }
  list($("lines"), [...paths, ...pulses.filter((it) => it.node)], (it) => it.key,
    (it) => it.node || document.createElementNS(SVG, "path"), (path, it) => {
      if (it.node) return;
      path.setAttribute("d", it.d);
      path.setAttribute("class", `${it.kind}${lit && isLit(it.key) ? " lit" : ""}`);
    });
  $("picture").classList.toggle("looking", Boolean(lit));
  for (const node of document.querySelectorAll("#picture .node")) {
    node.classList.toggle("lit", Boolean(lit) && isLit(nameOf(node)));
  }
}

const nameOf = (node) => `${node.dataset.kind[0]}${node.dataset.id}`;
const isLit = (node) => looked !== null && looked === nameOf(node);

function lookAt(event) {
  const node = event.target.closest ? event.target.closest("#picture [data-kind]") : null;
  const name = node ? nameOf(node) : null;
  if (name === looked || !state) return;
  looked = name;
  drawLines();
}

// A push on its way: a dot runs along the lines once.
function pulse(event) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (calm || !state || pulses.length > 20) return;
  const at = anchors();
  const server = at.server.get(event.server);
  const device = at.device.get(event.device);
  const ways = [];
  if (server && ["forwarded", "held", "refused"].includes(event.event)) ways.push(curve(server, at.in, at.narrow));
  if (device && ["forwarded", "released"].includes(event.event)) ways.push(curve(at.out, device, at.narrow));
  ways.forEach((way, index) => {
    const dot = document.createElementNS(SVG, "circle");
    dot.setAttribute("r", "4");
    const run = document.createElementNS(SVG, "animateMotion");
    for (const [name, value] of [["dur", "0.7s"], ["path", way], ["fill", "freeze"], ["begin", "indefinite"]]) {
      run.setAttribute(name, value);
    }
    dot.append(run);
    const it = { key: `p${Math.random()}`, node: dot };
    setTimeout(() => {
      dot.dataset.key = it.key;
      pulses.push(it);
      $("lines").append(dot);
      run.beginElement();
      setTimeout(() => {
        pulses = pulses.filter((other) => other !== it);
        dot.remove();
      }, 750);
    }, index * 700);
  });
}

// --- Events ------------------------------------------------------------------------------

const BAD = ["conflict", "session-failed", "bootstrap-failed", "rolled-back", "store",
  "lan-down", "wan-down", "config-refused", "hook-failed"];

function tell(event, isNew) {
  const line = make("li");
  line.className = [BAD.includes(event.event) ? "bad" : event.event === "refused" ? "warn" : "",
    isNew ? "new" : ""].join(" ").trim();
  const time = make("time", "", event.time ? new Date(event.time * 1000).toLocaleTimeString([], { hour12: false }) : "–");
  const who = event.device || event.server || event.lan || "";
  const others = event.device && event.server ? ` (${event.server})` : "";
  const name = make("span", "who", who);
  name.title = who;
  line.append(time, make("span", "kind", event.event), name, make("span", "why", `${event.why}${others}`));
  $("events").prepend(line);
  while ($("events").children.length > EVENTS) $("events").lastElementChild.remove();
  $("no-events").hidden = true;
  if (isNew) pulse(event);
}

// --- Talking -----------------------------------------------------------------------------

function lost(why) {
  look($("live"), "");
  say($("live"), why);
}

let asking = false;
let again = false;

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const answer = await fetch("/state", { signal: AbortSignal.timeout(15000) });
    const found = await answer.json();
    if (answer.ok) {
      state = found;
      draw();
      look($("live"), "on");
      say($("live"), "live");
    } else {
      lost("the gateway does not answer");
      const { what, cause } = found.error;
      drawHealth({ health: "down", troubles: [{ what, cause, try: found.error.try, code: found.error.code }] });
    }
  } catch {
    lost("dm-gateway web has ended");
  }
  asking = false;
  if (again) {
    again = false;
    setTimeout(refresh, 150);
  }
}

async function listen() {
  let after = null;
  for (;;) {
    try {
      const answer = await fetch(after === null ? "/events" : `/events?after=${after}`, { signal: AbortSignal.timeout(25000) });
      const { next, events } = await answer.json();
      // What comes with the first answer was before.
      events.forEach((event) => tell(event, after !== null));
      if (events.length && after !== null) refresh();
      after = next;
    } catch {
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}

$("filter").addEventListener("input", () => state && drawTable(state.devices));
for (const kind of ["mouseover", "focusin"]) document.addEventListener(kind, lookAt);
$("picture").addEventListener("mouseleave", lookAt);
new ResizeObserver(() => state && drawLines()).observe($("picture"));
setInterval(refresh, 3000);
refresh();
listen();
