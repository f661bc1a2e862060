/** The line console: joins the transcript, the TCPSocket and the elements of console.html. */

import {
  $, TCPSocket, announce, closeWords, make, offerTargets, readTarget, showProblem, showState, startComposer, store,
} from "./page.js";
import { HexView, TextView, Transcript, hexToBytes, textToBytes } from "./transcript.js";

const MAX_SHOWN_LINES = 5000;
const NEAR_BOTTOM_PX = 60;
const SIGNS = { in: ["‹", "received"], out: ["›", "sent"], note: ["·", "note"] };

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const list = $("lines");
const transcript = new Transcript();
let socket = null;
let view = null;
let shown = new Map(); // key -> the element of the text, for lines that may still grow

// ---- the lines ----

const newView = () => ($("view").value === "hex" ? new HexView() : new TextView());

function show(entry) {
  const isAtBottom = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_BOTTOM_PX;
  const lines = view.feed(entry);
  const fresh = document.createDocumentFragment();
  for (const line of lines) {
    const known = shown.get(line.key);
    if (known !== undefined) known.textContent = line.text;
    else fresh.append(lineItem(line));
  }
  // Only the last line can grow.
  const last = lines.at(-1);
  if (last !== undefined) shown = new Map([...shown].filter(([key]) => key === last.key));
  list.append(fresh);
  while (list.childElementCount > MAX_SHOWN_LINES) list.firstElementChild.remove();
  if (isAtBottom) list.scrollTop = list.scrollHeight;
}

function lineItem({ key, direction, text, at }) {
  const [sign, name] = SIGNS[direction];
  const item = make("li", `line ${direction}`);
  item.setAttribute("role", "none");
  const time = make("time", "line-time", clock.format(at));
  time.dateTime = new Date(at).toISOString();
  const mark = make("span", "line-mark", sign);
  mark.setAttribute("aria-hidden", "true");
  const content = make("span", "line-text", text);
  item.append(time, mark, make("span", "unseen", `${name}: `), content);
  shown.set(key, content);
  return item;
}

function note(words) {
  show(transcript.add("note", words));
}

function showAll() {
  list.replaceChildren();
  shown = new Map();
  view = newView();
  list.dataset.view = $("view").value;
  list.setAttribute("aria-live", "off"); // screen readers have said all of it
  for (const entry of transcript.entries) show(entry);
  list.scrollTop = list.scrollHeight;
  setTimeout(() => list.removeAttribute("aria-live"), 300);
}

// ---- the connection ----

function showConnection() {
  const isIdle = socket === null;
  $("connect").textContent = isIdle ? "Connect" : "Disconnect";
  $("target").readOnly = !isIdle;
}

function connect(target) {
  const opened = new TCPSocket();
  socket = opened;
  opened.onopen = () => {
    showState("online", `connected to ${target.text}`);
    note(`Connected to ${target.text}.`);
    $("text").focus();
  };
  opened.onread = (bytes) => show(transcript.add("in", bytes));
  opened.onclose = (code) => {
    if (socket !== opened) return;
    socket = null;
    showState("offline");
    showConnection();
    note(closeWords(code));
    if (code !== 1000) showProblem(closeWords(code));
    announce(closeWords(code));
  };
  showProblem("");
  showState("connecting");
  opened.open(target.host, target.port, true);
  showConnection();
}

$("target-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket !== null) {
    socket.close();
    return;
  }
  const target = readTarget();
  if (target === null) return;
  store.set("console.target", target.text);
  connect(target);
});

startComposer((text) => {
  if (socket?.readyState !== TCPSocket.READY_STATE_OPEN) {
    showProblem("Connect first: there is no connection to send this on.");
    return false;
  }
  const bytes = $("input-kind").value === "hex" ? hexToBytes(text) : textToBytes(text, $("line-end").value);
  if (bytes === null) {
    showProblem("This is not hexadecimal. Write pairs of digits, such as 48 65 6c 6c 6f 0a.");
    return false;
  }
  showProblem("");
  if (bytes.length === 0) return undefined;
  socket.send(bytes);
  show(transcript.add("out", bytes));
  list.scrollTop = list.scrollHeight;
  return undefined;
});

// ---- the tools ----

$("view").addEventListener("change", showAll);
$("input-kind").addEventListener("change", () => {
  // Hexadecimal is sent as it is, without a line end.
  $("line-end").disabled = $("input-kind").value === "hex";
});
$("line-end").addEventListener("change", () => store.set("console.line-end", $("line-end").value));

$("clear").addEventListener("click", () => {
  transcript.clear();
  showAll();
  $("text").focus();
});

$("save").addEventListener("click", () => {
  const file = new Blob([transcript.toText(newView())], { type: "text/plain;charset=utf-8" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `console-${new Date().toISOString().slice(0, 19).replace(/:/g, "-")}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

view = newView();
showState("offline");
showConnection();
$("line-end").value = store.get("console.line-end") || "lf";
offerTargets("console", 7).then(() => {
  const before = store.get("console.target");
  if ([...$("targets").options].some((option) => option.value === before)) $("target").value = before;
});
$("target").focus();
