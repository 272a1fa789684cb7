// The page asks the API for everything. What comes from mail is put in as text, never as markup; HTML of a message goes into a
// frame that may do nothing.
"use strict";

const at = (id) => document.getElementById(id);
const state = { account: "", mailbox: "INBOX", uid: 0, view: "text", message: null, news: null };

// The token stands behind # once, then in this tab's memory: not in the history, not in a cookie.
if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
const token = () => sessionStorage.getItem("token") || "";

async function ask(path, parameters = {}, options = {}) {
  const query = new URLSearchParams(parameters);
  const reply = await fetch(`/api/v1/${path}?${query}`, { ...options, headers: { Authorization: `Bearer ${token()}` } });
  if (!reply.ok) {
    const told = await reply.json().catch(() => ({ error: reply.statusText }));
    throw new Error(told.error);
  }
  return reply;
}
const json = async (...asked) => (await ask(...asked)).json();
const here = () => ({ account: state.account, mailbox: state.mailbox });

function trouble(error) {
  at("trouble").textContent = error ? error.message : "";
  at("trouble").hidden = !error;
}
const attempt = (work) => async (...given) => {
  try { await work(...given); trouble(null); } catch (error) { trouble(error); }
};

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
const people = (list) => (list || []).map((it) => it.name ? `${it.name} <${it.address || ""}>` : it.address || "").join(", ");
const senders = (list) => (list || []).map((it) => it.name || it.address || "").join(", ");
const when = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });

function choices(select, names, chosen) {
  select.replaceChildren(...names.map((name) => { const it = element("option", name); it.value = name; return it; }));
  select.value = names.includes(chosen) ? chosen : names[0] || "";
  return select.value;
}

const begin = attempt(async () => {
  const accounts = (await json("accounts")).map((it) => it.address);
  state.account = choices(at("accounts"), accounts, state.account);
  await openAccount();
});

async function openAccount() {
  const names = await json("mailboxes", { account: state.account });
  state.mailbox = choices(at("mailboxes"), names, "INBOX");
  await openMailbox();
}

async function openMailbox() {
  close();
  at("list").replaceChildren();
  await list();
  listen();
}

async function list(before) {
  const told = await json("messages", before ? { ...here(), before } : here());
  const rows = told.messages.map(row);
  if (before) at("list").append(...rows); else at("list").replaceChildren(...rows);
  at("more").hidden = !told.more;
  at("empty").hidden = told.total > 0;
  document.title = `${told.total} in ${state.mailbox}, Gatepost`;
  mark();
}

function row(message) {
  const line = element("li");
  const button = element("button", null, message.seen ? "" : "new");
  button.dataset.uid = message.uid;
  const channel = message.arrival ? message.arrival.channel : "";
  button.append(
    element("span", senders(message.from) || "(nobody)", "who"),
    element("span", when(message.received), "when"),
    element("span", message.subject || "(no subject)", "what"),
    element("span", channel, `mark ${channel}`),
  );
  button.addEventListener("click", attempt(() => open(message.uid)));
  line.append(button);
  return line;
}

function mark() {
  for (const button of at("list").querySelectorAll("button")) {
    if (Number(button.dataset.uid) === state.uid) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

async function open(uid) {
  const message = await json("message", { ...here(), uid });
  Object.assign(state, { uid, message });
  at("subject").textContent = message.subject || "(no subject)";
  const facts = [["From", people(message.from)], ["To", people(message.to)], ["Cc", people(message.cc)], ["Date", message.date],
    ["Received", when(message.received)], ["Size", `${message.size.toLocaleString()} octets`]];
  at("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  arrival(message.arrival);
  at("attachments").replaceChildren(...message.attachments.map(attachment));
  at("nothing").hidden = true;
  at("reading").hidden = false;
  for (const tab of at("tabs").children) tab.disabled = (tab.dataset.view === "text" || tab.dataset.view === "html") && !message[tab.dataset.view];
  const wanted = [state.view, "text", "html", "headers"].find((view) => view === "headers" || view === "source" || message[view]);
  mark();
  await show(wanted);
}

function arrival(way) {
  const line = at("arrival");
  line.className = way ? way.channel : "stored";
  if (!way) { line.textContent = "Stored by IMAP, or without a trace of how it came."; return; }
  const tls = way.suite ? ` with ${way.suite}${way.group ? `, ${way.group}` : ""}` : "";
  line.textContent = `${way.channel}: came by ${way.protocol}${tls}${way.from ? ` from ${way.from}` : ""}${way.login ? ", after a login" : ""}.`;
}

function attachment(part) {
  const line = element("li");
  const button = element("button", `${part.name || "unnamed"} (${part.type || "unknown"}, ${part.size.toLocaleString()} octets)`);
  button.addEventListener("click", attempt(async () => save(await ask("part", { ...here(), uid: state.uid, number: part.number }), part.name || "attachment")));
  line.append(button);
  return line;
}

async function save(reply, name) {
  const link = element("a");
  link.href = URL.createObjectURL(await reply.blob());
  link.download = name.replace(/[\/\\\u0000-\u001f\u202a-\u202e\u2066-\u2069]/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function show(view) {
  state.view = view;
  for (const tab of at("tabs").children) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
  const { message } = state;
  if (view === "html") {
    const frame = element("iframe");
    // No permission at all: no scripts, no forms, no origin, no way out. The page's own policy holds inside it too.
    frame.setAttribute("sandbox", "");
    frame.title = "The message as HTML, without images";
    frame.srcdoc = message.html;
    at("view").replaceChildren(frame);
  } else if (view === "headers") {
    const table = element("table");
    for (const [name, value] of message.headers) {
      const line = element("tr");
      line.append(element("td", name), element("td", value));
      table.append(line);
    }
    at("view").replaceChildren(table);
  } else {
    const text = view === "source" ? await (await ask("source", { ...here(), uid: state.uid })).text() : message.text || "";
    at("view").replaceChildren(element("pre", text));
  }
}

function close() {
  Object.assign(state, { uid: 0, message: null });
  at("reading").hidden = true;
  at("nothing").hidden = false;
}

async function remove() {
  if (!state.uid) return;
  const next = neighbour(1) || neighbour(-1);
  await ask("message", { ...here(), uid: state.uid }, { method: "DELETE" });
  close();
  await list();
  if (next) await open(next);
}

function neighbour(step) {
  const uids = [...at("list").querySelectorAll("button")].map((it) => Number(it.dataset.uid));
  const place = uids.indexOf(state.uid);
  return place < 0 ? (step > 0 ? uids[0] : 0) : uids[place + step] || 0;
}

// News of the mailbox; asked for again when the connection ends.
async function listen() {
  if (state.news) state.news.abort();
  const news = state.news = new AbortController();
  while (!news.signal.aborted) {
    try {
      const reply = await ask("events", here(), { signal: news.signal });
      at("live").className = "on";
      at("live").textContent = "live";
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (value.includes("data:")) await attempt(list)();
      }
    } catch { /* told below */ }
    if (news.signal.aborted) return;
    at("live").className = "";
    at("live").textContent = "not connected";
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

at("accounts").addEventListener("change", attempt(async (event) => { state.account = event.target.value; await openAccount(); }));
at("mailboxes").addEventListener("change", attempt(async (event) => { state.mailbox = event.target.value; await openMailbox(); }));
at("more").addEventListener("click", attempt(() => list(at("list").lastElementChild.firstElementChild.dataset.uid)));
at("tabs").addEventListener("click", attempt(async (event) => { if (event.target.dataset.view) await show(event.target.dataset.view); }));
at("save").addEventListener("click", attempt(async () => save(await ask("source", { ...here(), uid: state.uid }), `${state.uid}.eml`)));
at("delete").addEventListener("click", attempt(remove));
document.addEventListener("keydown", attempt(async (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
  const views = { t: "text", h: "html", e: "headers", s: "source" };
  const step = { j: 1, k: -1 }[event.key];
  if (step) { const uid = neighbour(step); if (uid) await open(uid); }
  else if (views[event.key] && state.message && !document.querySelector(`[data-view=${views[event.key]}]`).disabled) await show(views[event.key]);
  else if (event.key === "Delete") await remove();
}));
begin();
