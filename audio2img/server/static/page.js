// The page: what it knows, the socket to the server, what it asks for, and its keys.

import { Gallery, Stage, Versions, thumbnailOf } from "./gallery.js";
import { MicrophoneError, SILENCE_DB, Voice, listMicrophones, reasonForSilence } from "./voice.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const ANNOUNCE_MS = 4000;  // between two words to a screen reader
const DRAWN_SETTINGS = ["negative", "seed", "steps", "guidance", "scheduler", "width", "height"];
const NUMBERS = ["seed", "steps", "guidance", "width", "height"];

const $ = (id) => document.getElementById(id);
const texts = JSON.parse($("texts").textContent);
const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);

/** The words of a key in the reader's language; `values.n` chooses between one and many. */
function t(key, values = {}) {
  const form = "n" in values && plural.select(values.n) === "one" ? `${key}.one` : key;
  return (texts[form] ?? texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** What is remembered; in a window that keeps nothing, for as long as it is open. */
function memory(storage) {
  const kept = new Map();
  return {
    get(name, usual) {
      try { return JSON.parse(storage().getItem(`audio2img.${name}`)) ?? kept.get(name) ?? usual; }
      catch { return kept.get(name) ?? usual; }
    },
    set(name, value) {
      kept.set(name, value);
      try { storage().setItem(`audio2img.${name}`, JSON.stringify(value)); } catch { /* full, or forbidden */ }
    },
  };
}

const remembered = memory(() => localStorage);
const ofTab = memory(() => sessionStorage);
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
  models: new Map(),  // of `model` messages, by name
  jobs: new Map(),
  told: new Set(ofTab.get("told", [])),  // "7 words": what of a job was taken in, once
  isAway: false,  // the person looks at other pictures meanwhile
  isWriting: false,  // or writes
  soundsOf: "",  // the job whose sounds are shown
  wordsOf: "",  // the job whose words the prompt is
  scheduler: "",  // the one that is wished, though the model may not have it
  start: null,  // {name, label}: the picture to start from
  revision: null,  // {parent, options, model}: a change that waits to be drawn
  recording: null,  // what is being spoken: see `speak`
};

const versions = new Versions(ofTab.get("versions", []), (pairs) => ofTab.set("versions", pairs));
const gallery = new Gallery(
  { list: $("gallery"), more: $("more-pictures"), empty: $("empty"), total: $("total") },
  (address) => ask(address), (picture) => look(picture.name),
);
const stage = new Stage($, versions, (name) => gallery.find(name), t, (name) => look(name));
const voice = new Voice(showLevel);

// Talking to the server

class Trouble extends Error {
  constructor(message, remedy = "", status = 0) {
    super(message);
    Object.assign(this, { remedy, status });
  }
}

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

/** Does it, and shows what went wrong. */
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    showError(error);
    return undefined;
  }
}

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
    endRecording();
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
    showJobs();
  },
  model(model) {
    state.models.set(model.name, model);
    if (model.name === chosenModel()) offerModel();
  },
  job: takeJob,
  gallery() { attempt(() => gallery.reload().then(() => stage.describe())); },
  error(error) {
    endRecording();
    showError(error);
  },
};

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
  followRecording(job);
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
  if (job.sounds) import("./sounds.js").then(({ showSounds }) => showSounds($("sounds"), job.sounds, t));
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
  setPrompt(job.words);
  state.wordsOf = job.id;
  announce(job.words, true);
}

function finish(job) {
  if (!once(job, "end")) return;
  if (job.revised && !job.pictures.length && job.state === "done") offerRevision(job.revised, job.from);
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
  const isListening = state.recording !== null && job?.id === state.recording.job;
  $("stop").disabled = !job && !state.recording;
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

function showWarnings(warnings) {
  const shown = warnings.join("\n");
  if ($("warnings").dataset.shown === shown) return;
  $("warnings").dataset.shown = shown;
  $("warnings").hidden = !shown;
  $("warnings").replaceChildren(...warnings.map((text) => element("li", text)));
  if (shown) announce(warnings.at(-1), true);
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

// What is said to the person

function sayStatus(text, isNews = true) {
  if ($("status").textContent === text) return;
  $("status").textContent = text;
  if (text && isNews) announce(text);
}

let announced = 0, announcing = 0, kept = [];

/** To screen readers, politely: not more often than every few seconds, the newest, and what must not be lost. */
function announce(text, isKept = false) {
  if (isKept) kept.push(text);
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    announced = Date.now();
    $("announce").textContent = [...new Set([...kept, text])].join(" \u2013 ");
    kept = [];
  }, Math.max(0, announced + ANNOUNCE_MS - Date.now()));
}

function showError({ message, remedy }) {
  const box = element("div"), words = element("div"), close = element("button", "×");
  words.append(...[message, remedy].filter(Boolean).map((text) => element("p", text)));
  Object.assign(close, { type: "button", className: "quiet", onclick: () => box.remove() });
  close.setAttribute("aria-label", t("close"));
  box.append(words, close);
  $("alert").replaceChildren(box);
}

const element = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

function showWords(words, isFinal) {
  $("words").textContent = words;
  $("words").className = isFinal ? "final" : "partial";
  $("words").hidden = !words;
}

function showHint() {
  const { recording } = state, silence = reasonForSilence();
  const job = recording && state.jobs.get(recording.job);
  let key = silence || "hint";
  if (recording && !recording.isOpen) key = "hint.wait";
  else if (recording?.hear === "sounds") key = "hint.sounds";  // nobody ends them by falling silent
  else if (job?.speaking) key = "hint.hearing";
  else if (recording) key = recording.parent ? "hint.change" : "hint.listening";
  $("hint").textContent = t(key);
  $("hint").classList.toggle("hearing", key === "hint.hearing");
  $("choose").classList.toggle("offered", Boolean(silence));
}

// Speaking

const chosenHear = () => $("hear").hidden ? "speech" : document.querySelector("input[name=hear]:checked").value;

function hearOrder() {
  return {
    hear: chosenHear(),
    ...(usable("language") && $("language").value && { language: $("language").value }),
    ...($("keep_sound").checked && { keep_sound: true }),
    ...($("at-once").checked && { draw: { options: options(), ...model() } }),
  };
}

async function changeOrder() {
  const { prompt, ...order } = await versionOf(stage.picture.name);
  return { hear: "speech", revise: { prompt, ...order }, draw_at_once: $("at-once").checked };
}

/** Begins to listen, or ends it. `isChange`: what is said changes the open picture. */
async function speak(isChange = false) {
  if (state.recording) return voice.end();
  if (!state.socket || !state.hello) return undefined;
  if (!isChange && !isFilledWell()) return undefined;
  const recording = state.recording = {
    job: "", before: new Set(state.jobs.keys()), isOpen: false, isRecorded: false,
    hear: isChange ? "speech" : chosenHear(), parent: isChange ? stage.picture.name : "",
  };
  showRecording();
  try {
    const opening = voice.open(remembered.get("microphone", ""));  // first of all: in the gesture
    const [rate, order] = await Promise.all([opening, isChange ? changeOrder() : hearOrder()]);
    if (state.recording !== recording) return undefined;
    recording.isOpen = true;
    begin();
    showWords("", false);
    state.socket.send(JSON.stringify({ do: "speak", rate, order }));
    voice.send(state.socket);
    listDevices();
  } catch (error) {
    if (!(error instanceof MicrophoneError || error instanceof Trouble)) throw error;
    if (state.recording !== recording) return undefined;  // given up meanwhile
    endRecording();
    showError(error.key ? { message: t(error.key), remedy: reasonForSilence() ? "" : t("microphone.remedy") } : error);
    $("choose").classList.add("offered");
    return undefined;
  }
  return showRecording();
}

/** Whether the job is the one that we speak to, and still listens. */
function followRecording(job) {
  const { recording } = state;
  if (!recording?.isOpen) return;
  if (!recording.job && job.kind === "speak" && !recording.before.has(job.id)) recording.job = job.id;
  if (recording.job !== job.id) return;
  recording.isRecorded ||= job.stage === "record";
  const hasLeft = recording.isRecorded && job.stage !== "record" && !job.place;
  if (job.state !== "running" || job.final || hasLeft) endRecording();
  else showHint();
}

function endRecording() {
  state.recording = null;
  voice.release();
  showLevel(SILENCE_DB);
  showRecording();
}

function showRecording() {
  const { recording } = state;
  const isOpen = recording !== null, isChange = Boolean(recording?.parent);
  $("speak").setAttribute("aria-pressed", String(isOpen));
  $("speak-name").textContent = t(isOpen ? "speak.end" : "speak");
  $("change").setAttribute("aria-pressed", String(isChange));
  $("change").textContent = t(isChange ? "speak.end" : "change");
  for (const id of ["ring", "level"]) $(id).classList.toggle("open", isOpen);
  showHint();
  showJobs();
}

function showLevel(dB) {
  const share = Math.max(0, Math.min(1, 1 - dB / SILENCE_DB));
  for (const id of ["ring", "level"]) $(id).style.setProperty("--level", share.toFixed(3));
}

async function listDevices() {
  const found = await listMicrophones();
  const chosen = remembered.get("microphone", "");
  fillSelect("microphone", [["", t("microphone.usual")], ...found.map(({ id, name }) => [id, name])], chosen);
}

// The form

function fillSelect(id, rows, value = $(id).value) {
  $(id).replaceChildren(...rows.map(([one, label]) => new Option(label, one)));
  choose(id, value);
}

function choose(id, value) {
  $(id).value = value ?? "";
  if ($(id).selectedIndex < 0) $(id).value = "";
  if ($(id).selectedIndex < 0) $(id).selectedIndex = 0;
}

const named = (rows) => rows.map((row) => [row.name, row.about ? `${row.name}: ${row.about}` : row.name]);
const field = (id) => $(id).closest(".field");
const usable = (id) => !field(id).hidden;
const chosenModel = () => $("model").value;
const model = () => chosenModel() ? { model: chosenModel() } : {};

function offerChoices(hello) {
  const usual = hello.models.find((one) => one.default) ?? hello.models[0];
  const isInstalled = (one) => one.installed !== false;
  const models = hello.models.filter(isInstalled).map((one) => [one.name, one.title || one.name]);
  fillSelect("model", models, chosenModel() || usual?.name);
  field("model").hidden = models.length < 2;
  fillSelect("style", [["", t("style.none")], ...hello.styles.map((style) => [style.name, style.name])]);
  fillSelect("template", [["", t("template.none")], ...named(hello.templates)]);
  field("template").hidden = !hello.templates.length;
  offerLanguages(hello.languages);
  $("hear").hidden = !hello.sounds;
  $("no-sounds").hidden = hello.sounds;
  $("no-sounds").textContent = hello.sounds ? "" : t("sounds.cannot", { why: hello.sounds_why });
  offerModel();
  showHint();
}

function offerLanguages(codes) {
  const names = new Intl.DisplayNames([language], { type: "language" });
  const spoken = codes.map((code) => [code, names.of(code)]).sort((a, b) => a[1].localeCompare(b[1], language));
  fillSelect("language", [["", t("language.any")], ...spoken], remembered.get("language", ""));
  field("language").hidden = codes.length < 2;
}

/** Shows what the chosen model can, and hides what it cannot. */
function offerModel() {
  const model = state.models.get(chosenModel());
  const row = state.hello?.models.find((one) => one.name === chosenModel());
  $("model-state").textContent = { loading: t("model.loading"), failed: t("model.failed") }[model?.state] ?? "";
  const words = row?.default ? state.hello.words : [];
  $("known").hidden = !words.length;
  $("known").firstElementChild.textContent = t("known", { n: words.length });
  $("known").lastElementChild.textContent = words.join(" ");
  if (model?.state === "failed" && model.error) showError(model.error);
  if (model?.state !== "ready") return;
  const { sizes } = model;
  const can = {
    negative: model.negative_prompt, width: sizes.multiple > 0, height: sizes.multiple > 0,
    scheduler: model.schedulers.length > 1, "start-choose": model.init_image,
  };
  for (const [id, isOffered] of Object.entries(can)) field(id).hidden = !isOffered;
  $("start").hidden = !state.start || !model.init_image;
  fillSelect("scheduler", [["", t("model.usual")], ...model.schedulers.map((name) => [name, name])], state.scheduler);
  $("steps").placeholder = model.steps ?? "";
  $("guidance").placeholder = model.guidance ?? "";
  const step = sizes.multiple || 1, min = step * Math.ceil((sizes.least ?? step) / step), max = sizes.most ?? "";
  ["width", "height"].forEach((id, side) => Object.assign($(id), { placeholder: sizes.usual[side], step, min, max }));
}

const canStartFrom = () => Boolean(state.models.get(chosenModel())?.init_image);

/** OPTIONS of the protocol: what is filled in, as far as the model can. */
function options() {
  const given = {};
  for (const id of ["style", "template", "negative", "scheduler", "long_prompt"]) {
    if (usable(id) && $(id).value.trim()) given[id] = $(id).value.trim();
  }
  for (const id of NUMBERS) if (usable(id) && $(id).value !== "") given[id] = Number($(id).value);
  const usual = state.models.get(chosenModel())?.sizes?.usual;
  if (usual && (given.width || given.height)) {
    given.width ??= usual[0];
    given.height ??= usual[1];
  }
  if (Number($("count").value) > 1) given.count = Number($("count").value);
  if (state.start && canStartFrom()) {
    Object.assign(given, { init_image: state.start.name, strength: Number($("strength").value) });
  }
  return given;
}

/** Whether every field can be used; opens the rest where one of them cannot. */
function isFilledWell() {
  if ($("form").checkValidity()) return true;
  if ($("more").querySelector(":invalid")) $("more").open = true;
  $("form").reportValidity();
  return false;
}

function setPrompt(text) {
  $("prompt").value = text;
  state.wordsOf = "";
  ofTab.set("prompt", text);
}

/** SETTINGS of a picture into the form. Its style is in its words already. */
function fill(settings) {
  setPrompt(settings.prompt);
  if (settings.model !== chosenModel() && [...$("model").options].some((one) => one.value === settings.model)) {
    $("model").value = settings.model;
    askForModel();
  }
  for (const id of ["style", "template"]) choose(id, "");
  $("negative").value = settings.negative ?? "";
  for (const id of NUMBERS) $(id).value = settings[id] ?? "";
  state.scheduler = settings.scheduler;
  choose("scheduler", state.scheduler);
  showSeed();
}

function keepSeed() {
  const { seed } = stage.picture;
  $("seed").value = seed;
  showSeed();
  sayStatus(t("seed.kept", { seed }));
}

function showSeed() { $("seed-new").hidden = $("seed").value === ""; }

function startFrom(start) {
  if (state.start?.source.startsWith("blob:")) URL.revokeObjectURL(state.start.source);
  state.start = start;
  $("start").hidden = !start;
  if (!start) return;
  $("start").firstElementChild.src = start.source;
  $("start-name").textContent = t("start.from", { name: start.label });
}

function askForModel() {
  offerModel();
  if (state.models.get(chosenModel())?.state === "ready" || state.socket?.readyState !== WebSocket.OPEN) return;
  state.socket.send(JSON.stringify({ do: "model", name: chosenModel() }));
}

// Drawing

async function order(draw) {
  const { job } = await post("/draw", draw);
  forget(job);
  begin();
}

/** Something new is under way: its picture is waited for, and what went wrong before is over. */
function begin() {
  state.isAway = state.isWriting = false;
  $("alert").replaceChildren();
}

function draw() {
  const prompt = $("prompt").value.trim();
  if (!prompt) { $("prompt").focus(); return announce(t("prompt.empty")); }
  if (!isFilledWell()) return undefined;
  const words = state.wordsOf && { transcript_of: state.wordsOf };
  if (!words) showWords("", false);
  return attempt(() => order({ prompt, options: options(), ...model(), ...words }));
}

const settingsOf = (name) => ask(`/records/${encodeURIComponent(name)}`);

/** DRAW for a picture like that of the gallery, as it is: same words, same seed. */
async function versionOf(name) {
  const settings = await settingsOf(name);
  const given = DRAWN_SETTINGS.filter((key) => settings[key] !== null && settings[key] !== "");
  const options = Object.fromEntries(given.map((key) => [key, settings[key]]));
  if (settings.init_image && gallery.find(settings.init_image)) {
    Object.assign(options, { init_image: settings.init_image, strength: settings.strength });
  }
  const isHere = state.hello.models.some((one) => one.name === settings.model);
  return { prompt: settings.prompt, options, from: name, ...(isHere && { model: settings.model }) };
}

/** The open picture once more with a new seed; without one, what the form says. */
function again() {
  if (!stage.picture) { $("seed").value = ""; showSeed(); return draw(); }
  return attempt(async () => {
    const { options: { seed, ...options }, from, ...rest } = await versionOf(stage.picture.name);
    await order({ ...rest, options });
  });
}

function edit() {
  const { name } = stage.picture ?? {};
  if (!name) return undefined;
  return attempt(async () => {
    fill(await settingsOf(name));
    startFrom(canStartFrom() ? { name, label: name, source: thumbnailOf(name, stage.picture?.time) } : null);
    $("prompt").focus();
  });
}

function stop() {
  if (state.recording && !state.recording.job) endRecording();
  return attempt(() => post("/stop", {}));
}

// Changes

/** The words with the change, to be looked at before they are drawn. */
async function offerRevision(revised, parent) {
  if (!parent) return undefined;
  return attempt(async () => {
    const { prompt, options, model: drawnBy } = await versionOf(parent);
    if (stage.picture?.name !== parent) look(parent);
    if (revised.negative) options.negative = [options.negative, revised.negative].filter(Boolean).join(", ");
    const isSame = revised.prompt === prompt && !revised.negative;
    showRevision({ parent, options, model: drawnBy }, revised, t(isSame ? "revised.same" : "revised"));
  });
}

function showRevision(revision, revised = {}, title = "") {
  state.revision = revision;
  $("revision").hidden = !revision;
  if (!revision) return;
  $("revised-title").textContent = title;
  $("revised").value = revised.prompt;
  $("revision-note").textContent = revised.note ?? "";
  announce([title, revised.prompt, revised.note].filter(Boolean).join(" "), true);
  $("revision").scrollIntoView({ block: "nearest" });
}

function drawRevision() {
  const { parent, options, model } = state.revision ?? {}, prompt = $("revised").value.trim();
  if (!parent || !prompt) return undefined;
  return attempt(async () => {
    await order({ prompt, options, from: parent, ...(model && { model }) });
    setPrompt(prompt);
    showRevision(null);
  });
}

function changeByWords() {
  const said = $("change-words").value.trim(), name = stage.picture?.name;
  if (!said || !name) return $("change-words").focus();
  return attempt(async () => {
    const { prompt, model } = await versionOf(name);
    const revised = await post("/revise", { prompt, said, ...(model && { model }) });
    await offerRevision(revised, name);
    if (!revised.changed) return;
    $("change-words").value = "";
    if ($("at-once").checked) await drawRevision();
  });
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
  if (state.revision?.parent !== name) showRevision(null);
  gallery.mark(name);
  ofTab.set("open", name);
}

async function step(by) {
  const picture = await attempt(() => gallery.neighbour(stage.picture?.name ?? "", by));
  if (picture) { look(picture.name); announce(picture.prompt || picture.name); }
}

// Files and words from elsewhere

const isPicture = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp)$/i.test(file.name);

function takeFile(file) {
  if (isPicture(file)) return takePicture(file);
  const most = state.hello?.limits.upload_bytes;
  if (most && file.size > most) {
    return showError({ message: t("too_large", { name: file.name, megabytes: Math.floor(most / 2 ** 20) }) });
  }
  if (!isFilledWell()) return undefined;
  return attempt(async () => {
    const order = hearOrder();
    sayStatus(t("sending", { name: file.name }));
    const query = new URLSearchParams({ name: file.name, hear: order.hear, order: JSON.stringify(order) });
    const { job } = await ask(`/hear?${query}`, file, "application/octet-stream").finally(() => sayStatus(""));
    forget(job);
    begin();
  });
}

/** One of ours brings its settings back; another one may be started from. */
function takePicture(file) {
  return attempt(async () => {
    try {
      fill(await ask("/records", file, "application/octet-stream"));
      sayStatus(t("settings_back", { name: file.name }));
      $("form").scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (error.status !== 422 || !canStartFrom()) throw error;
      $("offer").hidden = false;
      $("offer").firstElementChild.textContent = t("start.offer", { name: file.name });
      announce(t("start.offer", { name: file.name }));
      $("offer-yes").onclick = () => { $("offer").hidden = true; uploadStart(file); };
      $("offer-yes").focus();
    }
  });
}

function uploadStart(file) {
  return attempt(async () => {
    const query = new URLSearchParams({ name: file.name });
    const { start } = await ask(`/start-picture?${query}`, file, "application/octet-stream");
    startFrom({ name: start, label: file.name, source: URL.createObjectURL(file) });
  });
}

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

const drawShown = () => state.revision ? drawRevision() : draw();

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

function putTexts() {
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of document.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
  for (const one of document.querySelectorAll("[data-t-hint]")) one.placeholder = t(one.dataset.tHint);
  document.querySelector(`footer a[lang=${language}]`)?.setAttribute("aria-current", "true");
}

function remember() {
  $("at-once").checked = remembered.get("at_once", true);
  $("at-once").onchange = () => remembered.set("at_once", $("at-once").checked);
  $("more").open = remembered.get("more", false);
  $("more").ontoggle = () => remembered.set("more", $("more").open);
  for (const id of ["microphone", "language"]) $(id).onchange = () => remembered.set(id, $(id).value);
  $("prompt").value = ofTab.get("prompt", "");
  $("prompt").oninput = () => ofTab.set("prompt", $("prompt").value);
}

function wire() {
  const clicks = {
    speak: () => speak(), change: () => speak(true), stop, again, edit,
    help: () => $("keys").showModal(),
    choose: () => $("file").click(),
    "start-choose": () => $("start-file").click(),
    "start-none": () => { startFrom(null); $("prompt").focus(); },
    "offer-no": () => { $("offer").hidden = true; $("prompt").focus(); },
    "revision-no": () => { showRevision(null); $("change").focus(); },
    "seed-new": () => { $("seed").value = ""; showSeed(); $("seed").focus(); },
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
  $("seed").oninput = showSeed;
  $("model").onchange = askForModel;
  $("scheduler").onchange = () => { state.scheduler = $("scheduler").value; };
  addEventListener("keydown", onKey);
  addEventListener("input", () => { state.isWriting = true; });
  addEventListener("click", (event) => { if (event.detail) setTimeout(freeKeys); });
  addEventListener("online", reconnectNow);
  document.addEventListener("visibilitychange", wakeUp);
  navigator.mediaDevices?.addEventListener?.("devicechange", listDevices);
  watchDrops();
}

putTexts();
remember();
wire();
showRecording();
listDevices();
connect();
