// What stands on the page: its texts, what is said to the person, and the fields of the form.

const ANNOUNCE_MS = 4000;  // between two words to a screen reader
const NUMBERS = ["seed", "steps", "guidance", "width", "height"];

// Texts, and what is remembered

export const $ = (id) => document.getElementById(id);
const texts = JSON.parse($("texts").textContent);
const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);

/** The words of a key in the reader's language; `values.n` chooses between one and many. */
export function t(key, values = {}) {
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

export const remembered = memory(() => localStorage);
export const ofTab = memory(() => sessionStorage);

export function putTexts() {
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of document.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
  for (const one of document.querySelectorAll("[data-t-hint]")) one.placeholder = t(one.dataset.tHint);
  document.querySelector(`footer a[lang=${language}]`)?.setAttribute("aria-current", "true");
}

// What is said to the person

export function sayStatus(text, isNews = true) {
  if ($("status").textContent === text) return;
  $("status").textContent = text;
  if (text && isNews) announce(text);
}

let announced = 0, announcing = 0, kept = [];

/** To screen readers, politely: not more often than every few seconds, the newest, and what must not be lost. */
export function announce(text, isKept = false) {
  if (isKept) kept.push(text);
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    announced = Date.now();
    $("announce").textContent = [...new Set([...kept, text])].join(" \u2013 ");
    kept = [];
  }, Math.max(0, announced + ANNOUNCE_MS - Date.now()));
}

export function showError({ message, remedy }) {
  const box = element("div"), words = element("div"), close = element("button", "×");
  words.append(...[message, remedy].filter(Boolean).map((text) => element("p", text)));
  Object.assign(close, { type: "button", className: "quiet", onclick: () => box.remove() });
  close.setAttribute("aria-label", t("close"));
  box.append(words, close);
  $("alert").replaceChildren(box);
}

const element = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

/** What a person can do something about. */
export class Trouble extends Error {
  constructor(message, remedy = "", status = 0) {
    super(message);
    Object.assign(this, { remedy, status });
  }
}

/** Does it, and shows what went wrong. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    showError(error);
    return undefined;
  }
}

export function showWords(words, isFinal) {
  $("words").textContent = words;
  $("words").className = isFinal ? "final" : "partial";
  $("words").hidden = !words;
}

export function showWarnings(warnings) {
  const shown = warnings.join("\n");
  if ($("warnings").dataset.shown === shown) return;
  $("warnings").dataset.shown = shown;
  $("warnings").hidden = !shown;
  $("warnings").replaceChildren(...warnings.map((text) => element("li", text)));
  if (shown) announce(warnings.at(-1), true);
}

// The fields: what can be chosen

/** What the fields do not hold themselves. */
const given = {
  hello: null,
  models: new Map(),  // of `model` messages, by name
  scheduler: "",  // the one that is wished, though the model may not have it
  start: null,  // {name, label, source}: the picture to start from
  wordsOf: "",  // the job whose words the prompt is
};

export function fillSelect(id, rows, value = $(id).value) {
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
export const chosenModel = () => $("model").value;
const model = () => chosenModel() ? { model: chosenModel() } : {};

export function offerChoices(hello) {
  given.hello = hello;
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
}

function offerLanguages(codes) {
  const names = new Intl.DisplayNames([language], { type: "language" });
  const spoken = codes.map((code) => [code, names.of(code)]).sort((a, b) => a[1].localeCompare(b[1], language));
  fillSelect("language", [["", t("language.any")], ...spoken], remembered.get("language", ""));
  field("language").hidden = codes.length < 2;
}

/** @param {object} model the `model` message of the protocol */
export function takeModel(model) {
  given.models.set(model.name, model);
  if (model.name === chosenModel()) offerModel();
}

/** Shows what the chosen model can, and hides what it cannot. */
export function offerModel() {
  const model = given.models.get(chosenModel());
  const row = given.hello?.models.find((one) => one.name === chosenModel());
  $("model-state").textContent = { loading: t("model.loading"), failed: t("model.failed") }[model?.state] ?? "";
  const words = row?.default ? given.hello.words : [];
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
  $("start").hidden = !given.start || !model.init_image;
  fillSelect("scheduler", [["", t("model.usual")], ...model.schedulers.map((name) => [name, name])], given.scheduler);
  $("steps").placeholder = model.steps ?? "";
  $("guidance").placeholder = model.guidance ?? "";
  const step = sizes.multiple || 1, min = step * Math.ceil((sizes.least ?? step) / step), max = sizes.most ?? "";
  ["width", "height"].forEach((id, side) => Object.assign($(id), { placeholder: sizes.usual[side], step, min, max }));
}

export const isModelReady = () => given.models.get(chosenModel())?.state === "ready";
export const canStartFrom = () => Boolean(given.models.get(chosenModel())?.init_image);

// The fields: what is filled in

/** OPTIONS of the protocol: what is filled in, as far as the model can. */
function options() {
  const wanted = {};
  for (const id of ["style", "template", "negative", "scheduler", "long_prompt"]) {
    if (usable(id) && $(id).value.trim()) wanted[id] = $(id).value.trim();
  }
  for (const id of NUMBERS) if (usable(id) && $(id).value !== "") wanted[id] = Number($(id).value);
  const usual = given.models.get(chosenModel())?.sizes?.usual;
  if (usual && (wanted.width || wanted.height)) {
    wanted.width ??= usual[0];
    wanted.height ??= usual[1];
  }
  if (Number($("count").value) > 1) wanted.count = Number($("count").value);
  if (given.start && canStartFrom()) {
    Object.assign(wanted, { init_image: given.start.name, strength: Number($("strength").value) });
  }
  return wanted;
}

/** DRAW of the protocol. */
export function drawOrder() {
  const words = given.wordsOf && { transcript_of: given.wordsOf };
  return { prompt: $("prompt").value.trim(), options: options(), ...model(), ...words };
}

export const chosenHear = () => $("hear").hidden ? "speech" : document.querySelector("input[name=hear]:checked").value;

/** HEAR of the protocol. */
export function hearOrder() {
  return {
    hear: chosenHear(),
    ...(usable("language") && $("language").value && { language: $("language").value }),
    ...($("keep_sound").checked && { keep_sound: true }),
    ...($("at-once").checked && { draw: { options: options(), ...model() } }),
  };
}

/** Whether every field can be used; opens the rest where one of them cannot. */
export function isFilledWell() {
  if ($("form").checkValidity()) return true;
  if ($("more").querySelector(":invalid")) $("more").open = true;
  $("form").reportValidity();
  return false;
}

/** `wordsOf`: the job that heard them, where one did. */
export function setPrompt(text, wordsOf = "") {
  $("prompt").value = text;
  given.wordsOf = wordsOf;
  ofTab.set("prompt", text);
}

/** SETTINGS of a picture into the form. Its style is in its words already. */
export function fill(settings) {
  setPrompt(settings.prompt);
  if (settings.model !== chosenModel() && [...$("model").options].some((one) => one.value === settings.model)) {
    $("model").value = settings.model;
    $("model").dispatchEvent(new Event("change"));
  }
  for (const id of ["style", "template"]) choose(id, "");
  $("negative").value = settings.negative ?? "";
  for (const id of NUMBERS) $(id).value = settings[id] ?? "";
  given.scheduler = settings.scheduler;
  choose("scheduler", given.scheduler);
  showSeed();
}

function showSeed() { $("seed-new").hidden = $("seed").value === ""; }

/** @param {number} [seed] a new one for each picture without it */
export function setSeed(seed) {
  $("seed").value = seed ?? "";
  showSeed();
}

/** @param {{name: string, label: string, source: string} | null} start */
export function startFrom(start) {
  if (given.start?.source.startsWith("blob:")) URL.revokeObjectURL(given.start.source);
  given.start = start;
  $("start").hidden = !start;
  if (!start) return;
  $("start").firstElementChild.src = start.source;
  $("start-name").textContent = t("start.from", { name: start.label });
}

/** What is remembered into the fields, and what is chosen there remembered. */
export function remember() {
  $("at-once").checked = remembered.get("at_once", true);
  $("at-once").onchange = () => remembered.set("at_once", $("at-once").checked);
  $("more").open = remembered.get("more", false);
  $("more").ontoggle = () => remembered.set("more", $("more").open);
  for (const id of ["microphone", "language"]) $(id).onchange = () => remembered.set(id, $(id).value);
  $("prompt").value = ofTab.get("prompt", "");
  $("prompt").oninput = () => ofTab.set("prompt", $("prompt").value);
  $("scheduler").onchange = () => { given.scheduler = $("scheduler").value; };
  $("seed").oninput = showSeed;
}
