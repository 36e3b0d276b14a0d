// The page: the server's news, the jobs, what is asked for, and the keys.

import {
  $, Trouble, announce, attempt, chosenModel, drawOrder, hearOrder, isFilledWell, isModelReady,
  ofTab, offerChoices, offerModel, putTexts, remember, sayStatus, setPrompt, setSeed, showError, showWarnings,
  showWords, startFrom, t, takeModel,
} from "./form.js";
import { Gallery, Stage, Versions } from "./gallery.js";
import { Speaking, offerMicrophones, reasonForSilence } from "./voice.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const tab = ofTab.get("tab") ?? newTab();
forgetToken();

/** It has become a cookie, and leaves the address, which people show to others. */
function forgetToken() {
  const address = new URL(location.href);
  if (!address.searchParams.has("token")) return;
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

function newTab() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));  // randomUUID needs a secure address
  const name = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  ofTab.set("tab", name);
  return name;
}

// What the page knows

const state = {
  socket: null, retries: 0, retryTimer: 0,
  hello: null,
  jobs: new Map(),
  told: new Set(ofTab.get("told", [])),  // "7 words": what of a job was taken in, once
  isAway: false,  // the person looks at other pictures meanwhile
  isWriting: false,  // or writes
  soundsOf: "",  // the job whose sounds are shown
};

const versions = new Versions(ofTab.get("versions", []), (pairs) => ofTab.set("versions", pairs));
const gallery = new Gallery(
  { list: $("gallery"), more: $("more-pictures"), empty: $("empty"), total: $("total") },
  (address) => ask(address), (picture) => look(picture.name),
);
const stage = new Stage($, versions, (name) => gallery.find(name), t, (name) => look(name));
const speaking = new Speaking(state.jobs, () => showJobs());

// Talking to the server

/** The JSON answer of an address. Raises Trouble with the server's own words. */
async function ask(address, body, type = "application/json") {
  let answer;
  try {
    const headers = { "X-Tab": tab, ...(body !== undefined && { "Content-Type": type }) };
    answer = await fetch(address, { method: body === undefined ? "GET" : "POST", headers, body });
  } catch {
    throw new Trouble(t("lost.request"), t("lost.remedy"));
  }
  const got = await answer.json().catch(() => ({}));
  if (answer.ok) return got;
  const isLocked = !got.message && [401, 403].includes(answer.status);
  if (isLocked) throw new Trouble(t("locked"), t("locked.remedy"), answer.status);
  throw new Trouble(got.message ?? t("refused", { status: answer.status }), got.remedy, answer.status);
}

const post = (address, order) => ask(address, JSON.stringify(order));

function connect() {
  clearTimeout(state.retryTimer);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live?tab=${tab}`);
  state.socket = socket;
  socket.onmessage = ({ data }) => {
    for (const [what, news] of Object.entries(JSON.parse(data))) hear[what]?.(news);
  };
  socket.onclose = () => {
    if (state.socket !== socket) return;
    state.socket = null;
    speaking.release();
    $("speak").disabled = true;
    $("connection").textContent = t("lost");
    if (state.retries === 1) attempt(askWhy);
    state.retryTimer = setTimeout(connect, RETRY_MS[Math.min(state.retries++, RETRY_MS.length - 1)]);
  };
}

/** A socket that is refused says no reason; an address does. */
async function askWhy() {
  try {
    await ask("/gallery?from=0&count=1");
  } catch (error) {
    if (error.status) throw error;  // else nobody is there, which is told already
  }
}

function reconnectNow() {
  if (!state.socket) connect();
}

const hear = {
  hello(hello) {
    state.hello = hello;
    state.retries = 0;
    state.jobs.clear();
    $("connection").textContent = "";
    $("speak").disabled = Boolean(reasonForSilence());
    offerChoices(hello);
    attempt(() => gallery.start(hello.gallery).then(() => stage.describe()));
    if (!stage.picture && ofTab.get("open")) {
      stage.show(ofTab.get("open"));
      opened(ofTab.get("open"));
    }
    speaking.show();
  },
  model: takeModel,
  job: takeJob,
  gallery() { attempt(() => gallery.reload().then(() => stage.describe())); },
  error(error) {
    speaking.release();
    showError(error);
  },
};

// What is loaded when it is first needed

/** What such a module is given of the page. */
const page = { ask, post, order, begun, look, gallery, stage, get hello() { return state.hello; } };

const failures = new Map();  // of modules, by name

/**
 * A module of ours. After a failure it has another address: Firefox and Safari remember that one failed.
 * Raises Trouble where the server is gone.
 */
async function load(module) {
  const failed = failures.get(module) ?? 0;
  try {
    return await import(failed ? `${module}?${failed}` : module);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    failures.set(module, failed + 1);
    throw new Trouble(t("lost.request"), t("lost.remedy"));
  }
}

let changes = null;

async function loadChanges() {
  const { Changes } = await load("./change.js");
  return changes ??= new Changes(page);
}

const withChanges = (work) => attempt(async () => work(await loadChanges()));
const withFiles = (work) => attempt(async () => work(await load("./files.js")));
const takeFile = (file) => withFiles((files) => files.takeFile(file, page));
const uploadStart = (file) => withFiles((files) => files.uploadStart(file, page));

// Jobs

function once(job, what) {
  const mark = `${job.id} ${what}`;
  if (state.told.has(mark)) return false;
  state.told.add(mark);
  ofTab.set("told", [...state.told].slice(-100));
  return true;
}

function takeJob(job) {
  const isNew = !state.jobs.has(job.id);
  state.jobs.set(job.id, job);
  if (isNew && job.state === "running") forget(job.id);
  speaking.follow(job);
  if (isNewestHeard(job)) {
    showWords(job.final || job.state === "running" ? job.words : "", job.final);
    followSounds(job);
  }
  if (job.final && !job.from && once(job, "words")) takeWords(job);
  if (job.revised && job.stage && once(job, "revised")) setPrompt(job.revised.prompt);  // it is going to be drawn
  if (job.state !== "running") finish(job);
  showJobs();
}

/** The sounds of the newest recording, which come once. */
function followSounds(job) {
  if (state.soundsOf !== job.id) $("sounds").hidden = true;
  state.soundsOf = job.id;
  if (!job.sounds) return;
  attempt(async () => (await load("./sounds.js")).showSounds($("sounds"), job.sounds, t));
}

/** An id that a server counts anew after its start says nothing about what was told before. */
function forget(id) {
  for (const what of ["words", "revised", "preview", "end"]) state.told.delete(`${id} ${what}`);
}

function isNewestHeard(job) {
  const heard = [...state.jobs.values()].filter((one) => one.kind !== "draw");
  return job.kind !== "draw" && heard.every((one) => Number(one.id) <= Number(job.id));
}

function takeWords(job) {
  if (!job.words) return;
  setPrompt(job.words, job.id);
  announce(job.words, true);
}

function finish(job) {
  if (!once(job, "end")) return;
  if (job.revised && job.from && !job.pictures.length && job.state === "done") {
    withChanges((changes) => changes.offer(job.revised, job.from));
  }
  if (job.error) showError(job.error);
  for (const name of job.pictures) if (job.from) versions.add(name, job.from);
  if (job.pictures.length && !state.isAway) {
    stage.show(job.pictures[0], job.prompt, job.pictures);
    opened(job.pictures[0]);
    bringIntoView($("frames"));
  } else if (!running().length) {
    stage.endPreview();
  }
  if (job.pictures.length) attempt(() => gallery.reload().then(() => stage.describe()));
  const n = job.pictures.length;
  sayStatus({ done: n ? t("done", { n }) : "", stopped: t("stopped"), failed: "" }[job.state]);
}

/** As little as is needed, and not while somebody writes the next words. */
function bringIntoView(element) {
  if (!state.isWriting) element.scrollIntoView({ block: "nearest" });
}

const running = () => [...state.jobs.values()].filter((job) => job.state === "running");

/** The one to tell about: whose turn is now, or comes first. */
function foremost() {
  return running().sort((a, b) => a.place - b.place || Number(a.id) - Number(b.id))[0];
}

function showJobs() {
  const job = foremost();
  const isListening = speaking.isOf(job);
  $("stop").disabled = !job && !speaking.isOn;
  $("done").hidden = !job || isListening;
  keepAwake(Boolean(job));
  if (!job) return;
  if (job.done === null || job.place) $("done").removeAttribute("value");
  else $("done").value = job.done;
  const others = running().length - 1;
  const parts = [isListening ? "" : stageOf(job), job.revised?.note, others && t("yours_wait", { n: others })];
  sayStatus(parts.filter(Boolean).join(" · "), job.stage !== "");
  showWarnings(job.warnings);
  if (job.stage === "draw" && job.preview && !state.isAway) {
    stage.preview(job.preview, job.from, job.prompt);
    if (once(job, "preview")) bringIntoView($("frames"));
  }
}

function stageOf(job) {
  if (job.place) return t("place", { n: job.place });
  if (job.stage === "draw" && job.steps) return t("stage.draw.steps", { done: job.steps[0], total: job.steps[1] });
  return t(job.stage ? `stage.${job.stage}` : "stage.begin");
}

let wakeLock = null;

/** A phone that falls asleep loses the connection. */
function keepAwake(isWanted) {
  if (isWanted === Boolean(wakeLock)) return;
  wakeLock?.then((lock) => lock?.release());
  wakeLock = isWanted ? navigator.wakeLock?.request("screen").catch(() => null) ?? null : null;  // refused: battery low
}

/** Whoever looks again finds the page as it is now; a hidden page has lost its wake lock. */
function wakeUp() {
  if (document.hidden) return;
  reconnectNow();
  wakeLock = null;
  showJobs();
}

// Speaking and drawing

/** Begins to listen, or ends it. `isChange`: what is said changes the open picture. */
function speak(isChange = false) {
  if (speaking.isOn) return speaking.end();
  if (!state.socket || !state.hello) return undefined;
  if (!isChange && !isFilledWell()) return undefined;
  const parent = isChange ? stage.picture.name : "";
  const orderOf = isChange ? async () => (await loadChanges()).hearOrder(parent) : hearOrder;
  return speaking.begin(state.socket, orderOf, parent, begin);
}

async function order(draw) {
  const { job } = await post("/draw", draw);
  begun(job);
}

/** An order was taken. Its job may be known already, and may even have ended, before the answer is here. */
function begun(id) {
  const job = state.jobs.get(id);
  if (!job) forget(id);
  if (!job || job.state === "running") begin();
}

/** Something new is under way: its picture is waited for, and what went wrong before is over. */
function begin() {
  state.isAway = state.isWriting = false;
  $("alert").replaceChildren();
}

function draw() {
  const asked = drawOrder();
  if (!asked.prompt) { $("prompt").focus(); return announce(t("prompt.empty")); }
  if (!isFilledWell()) return undefined;
  if (!asked.transcript_of) showWords("", false);
  return attempt(() => order(asked));
}

/** The open picture once more with a new seed; without one, what the form says. */
function again() {
  const name = stage.picture?.name;
  if (name) return withChanges((changes) => changes.again(name));
  setSeed();
  return draw();
}

function edit() {
  const name = stage.picture?.name;
  return name && withChanges((changes) => changes.edit(name));
}

const changeByWords = () => withChanges((changes) => changes.changeByWords());
const drawRevision = () => withChanges((changes) => changes.draw());

function stop() {
  if (speaking.isUnanswered) speaking.release();
  return attempt(() => post("/stop", {}));
}

function keepSeed() {
  const { seed } = stage.picture;
  setSeed(seed);
  sayStatus(t("seed.kept", { seed }));
}

function askForModel() {
  offerModel();
  if (isModelReady() || state.socket?.readyState !== WebSocket.OPEN) return;
  state.socket.send(JSON.stringify({ do: "model", name: chosenModel() }));
}

// Looking at pictures

function look(name) {
  state.isAway = running().length > 0;
  if (name) {
    stage.show(name);
    $("frames").scrollIntoView({ block: "nearest" });
  }
  opened(name);
}

function opened(name) {
  if ($("revision").dataset.of !== name) $("revision").hidden = true;
  gallery.mark(name);
  ofTab.set("open", name);
}

async function step(by) {
  const picture = await attempt(() => gallery.neighbour(stage.picture?.name ?? "", by));
  if (picture) { look(picture.name); announce(picture.prompt || picture.name); }
}

// Files and words from elsewhere

function takeTransfer(transfer) {
  const [file] = transfer.files;
  if (file) return takeFile(file);
  const text = transfer.getData("text/plain").trim();
  if (text) { setPrompt(text); $("prompt").focus(); }
  return undefined;
}

function watchDrops() {
  let leaving = 0;
  const hide = () => { $("drop").hidden = true; };
  addEventListener("dragover", (event) => {
    if (isField(event.target) && !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    clearTimeout(leaving);
    $("drop").hidden = false;
    leaving = setTimeout(hide, 300);  // dragover comes all the time; dragleave also between elements
  });
  addEventListener("drop", (event) => {
    hide();
    if (isField(event.target) && !event.dataTransfer.files.length) return;
    event.preventDefault();
    takeTransfer(event.dataTransfer);
  });
  addEventListener("paste", (event) => {
    if (isField(event.target) && !event.clipboardData.files.length) return;
    event.preventDefault();
    takeTransfer(event.clipboardData);
  });
}

// Keys

const isIn = (target, selector) => target instanceof Element && target.closest(selector) !== null;
const isField = (target) => isIn(target, "textarea, select, input:not([type=checkbox])");
const isControl = (target) => isIn(target, "button, a, summary, input, select, textarea");
const isTick = (target) => isIn(target, "[type=checkbox]");  // which Enter does nothing to

const drawShown = () => $("revision").hidden ? draw() : drawRevision();

const keys = {
  " ": (event) => !isControl(event.target) && !event.repeat && speak,
  Enter: (event) => (!isControl(event.target) || isTick(event.target)) && !event.repeat && drawShown,
  ArrowLeft: () => () => step(-1),
  ArrowRight: () => () => step(1),
  d: () => () => stage.picture && $("download").click(),
  r: (event) => !event.repeat && again,
  e: () => edit,
  c: (event) => !event.repeat && stage.picture && (() => speak(true)),
  "?": () => () => $("keys").showModal(),
};

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || $("keys").open) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {  // types nothing, so it stops from within a field, too
    if (!$("stop").disabled) stop();
    return;
  }
  if (isField(event.target)) return;
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key]?.(event);
  if (!act) return;
  event.preventDefault();
  act();
}

/** After a click with a mouse the keys are the page's again, as in Safari, where a click focuses no button. */
function freeKeys() {
  const { activeElement } = document;
  if (activeElement?.matches("button, [type=checkbox], [type=radio]") && !$("keys").open) activeElement.blur();
}

/** Enter draws, Shift+Enter is a new line. */
function drawOnEnter(event, act) {
  if (event.key !== "Enter" || event.shiftKey || event.altKey || event.isComposing) return;
  event.preventDefault();
  if (!event.repeat) act();
}

// The beginning

function wire() {
  const clicks = {
    speak: () => speak(), change: () => speak(true), stop, again, edit,
    help: () => $("keys").showModal(),
    choose: () => $("file").click(),
    "start-choose": () => $("start-file").click(),
    "start-none": () => { startFrom(null); $("prompt").focus(); },
    "offer-no": () => { $("offer").hidden = true; $("prompt").focus(); },
    "revision-no": () => { $("revision").hidden = true; $("change").focus(); },
    "seed-new": () => { setSeed(); $("seed").focus(); },
    "keep-seed": keepSeed,
  };
  for (const [id, act] of Object.entries(clicks)) $(id).onclick = act;
  const submits = { form: draw, "change-form": changeByWords, revision: drawRevision };
  for (const [id, act] of Object.entries(submits)) $(id).onsubmit = (event) => { event.preventDefault(); act(); };
  for (const [id, take] of [["file", takeFile], ["start-file", uploadStart]]) {
    $(id).onchange = () => { const [file] = $(id).files; $(id).value = ""; if (file) take(file); };
  }
  $("prompt").onkeydown = (event) => drawOnEnter(event, draw);
  $("revised").onkeydown = (event) => drawOnEnter(event, drawRevision);
  $("model").onchange = askForModel;
  addEventListener("keydown", onKey);
  addEventListener("input", () => { state.isWriting = true; });
  addEventListener("click", (event) => { if (event.detail) setTimeout(freeKeys); });
  addEventListener("online", reconnectNow);
  document.addEventListener("visibilitychange", wakeUp);
  navigator.mediaDevices?.addEventListener?.("devicechange", offerMicrophones);
  watchDrops();
}

putTexts();
remember();
wire();
speaking.show();
offerMicrophones();
connect();
