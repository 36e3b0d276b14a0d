// What is done with a picture that is there: once more, from it, and the change that is said or written.
// Loaded when it is first needed.

import { $, announce, canStartFrom, fill, setPrompt, startFrom, t } from "./form.js";
import { thumbnailOf } from "./gallery.js";

const DRAWN_SETTINGS = ["negative", "seed", "steps", "guidance", "scheduler", "width", "height"];

export class Changes {
  #page;
  #waiting = null;  // {parent, options, model}: a change that waits to be drawn

  /**
   * @param {{ask: Function, post: Function, order: Function, look: Function, gallery: object, stage: object,
   *   hello: object}} page
   */
  constructor(page) { this.#page = page; }

  #settingsOf(name) { return this.#page.ask(`/records/${encodeURIComponent(name)}`); }

  /** DRAW for a picture like that of the gallery, as it is: same words, same seed. */
  async #versionOf(name) {
    const { gallery, hello } = this.#page;
    const settings = await this.#settingsOf(name);
    const given = DRAWN_SETTINGS.filter((key) => settings[key] !== null && settings[key] !== "");
    const options = Object.fromEntries(given.map((key) => [key, settings[key]]));
    if (settings.init_image && gallery.find(settings.init_image)) {
      Object.assign(options, { init_image: settings.init_image, strength: settings.strength });
    }
    const isHere = hello.models.some((one) => one.name === settings.model);
    return { prompt: settings.prompt, options, from: name, ...(isHere && { model: settings.model }) };
  }

  /** A picture once more with a new seed. @param {string} name */
  async again(name) {
    const { options: { seed, ...options }, from, ...rest } = await this.#versionOf(name);
    await this.#page.order({ ...rest, options });
  }

  /** A picture's settings into the form, and itself as what is started from. @param {string} name */
  async edit(name) {
    fill(await this.#settingsOf(name));
    const { time } = this.#page.gallery.find(name) ?? {};
    startFrom(canStartFrom() ? { name, label: name, source: thumbnailOf(name, time) } : null);
    $("prompt").focus();
  }

  /** HEAR of the protocol, for a change that is said. @param {string} name of the picture */
  async hearOrder(name) {
    const { prompt, ...order } = await this.#versionOf(name);
    return { hear: "speech", revise: { prompt, ...order }, draw_at_once: $("at-once").checked };
  }

  /** A change that is written. */
  async changeByWords() {
    const said = $("change-words").value.trim(), name = this.#page.stage.picture?.name;
    if (!said || !name) return $("change-words").focus();
    const { prompt, model } = await this.#versionOf(name);
    const revised = await this.#page.post("/revise", { prompt, said, ...(model && { model }) });
    await this.offer(revised, name);
    if (!revised.changed) return undefined;
    $("change-words").value = "";
    return $("at-once").checked ? this.draw() : undefined;
  }

  /** The words with the change, to be looked at before they are drawn. */
  async offer(revised, parent) {
    const { prompt, options, model } = await this.#versionOf(parent);
    if (this.#page.stage.picture?.name !== parent) this.#page.look(parent);
    if (revised.negative) options.negative = [options.negative, revised.negative].filter(Boolean).join(", ");
    const isSame = revised.prompt === prompt && !revised.negative;
    this.#waiting = { parent, options, model };
    this.#show(parent, revised, t(isSame ? "revised.same" : "revised"));
  }

  #show(parent, { prompt, note }, title) {
    $("revision").dataset.of = parent;
    $("revision").hidden = false;
    $("revised-title").textContent = title;
    $("revised").value = prompt;
    $("revision-note").textContent = note ?? "";
    announce([title, prompt, note].filter(Boolean).join(" "), true);
    $("revision").scrollIntoView({ block: "nearest" });
  }

  /** Draws the change that waits. */
  async draw() {
    const prompt = $("revised").value.trim();
    if ($("revision").hidden || !prompt) return;
    const { parent, options, model } = this.#waiting;
    await this.#page.order({ prompt, options, from: parent, ...(model && { model }) });
    setPrompt(prompt);
    $("revision").hidden = true;
  }
}
