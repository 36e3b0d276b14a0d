// The gallery: its pages of thumbnails, which picture is a version of which, and the picture that is open.

const PAGE = 60;
const MOST = 200;  // pictures in one answer
const THUMBNAIL = 320;  // pixels
const PATIENCE = 3;  // reads of a folder that changes while it is read

/**
 * @typedef {{name: string, time: string, width: number, height: number, prompt: string, transcript: string,
 *   seed: number, model: string, created: string}} Picture
 * @typedef {{version: string, total: number, from: number, pictures: Picture[]}} Page
 */

/** @param {string} name @returns {string} */
export const addressOf = (name) => `/pictures/${encodeURIComponent(name)}`;

/** @param {string} name @param {string} [time] @returns {string} of at most 320 pixels */
export const thumbnailOf = (name, time = "") => `/thumbnails/${encodeURIComponent(name)}?t=${time}`;

/**
 * A button with a thumbnail.
 * @param {{name: string, time?: string, prompt?: string}} picture
 * @param {() => void} onClick
 * @param {string} [number] shown in a corner
 */
function pictureButton(picture, onClick, number = "") {
  const button = document.createElement("button");
  const image = new Image(THUMBNAIL, THUMBNAIL);
  image.loading = "lazy";
  image.decoding = "async";
  image.src = thumbnailOf(picture.name, picture.time);
  image.alt = `${number} ${picture.prompt || picture.name}`.trim();
  button.type = "button";
  button.className = "picture-button";
  button.dataset.name = picture.name;
  button.onclick = onClick;
  button.append(image);
  if (number) {
    const label = document.createElement("span");
    label.className = "number";
    label.setAttribute("aria-hidden", "true");
    label.textContent = number;
    button.append(label);
  }
  return button;
}

function markCurrent(container, name) {
  for (const button of container.querySelectorAll(".picture-button")) {
    if (button.dataset.name === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/** The grid, newest first, page by page. */
export class Gallery {
  /** @type {Picture[]} */ pictures = [];
  total = 0;
  #version = "";
  #current = "";
  #tiles = new Map();
  #reading = Promise.resolve();
  #parts;
  #get;
  #open;

  /**
   * @param {{list: Element, more: HTMLElement, empty: HTMLElement, total: Element}} parts of the page
   * @param {(address: string) => Promise<Page>} get
   * @param {(picture: Picture) => void} open called when one is chosen
   */
  constructor(parts, get, open) {
    this.#parts = parts;
    this.#get = get;
    this.#open = open;
    parts.more.onclick = () => this.#showMore();
  }

  /** The first page, as the server greets with. @param {Page} page @returns {Promise<void>} */
  async start(page) {
    if (this.pictures.length > page.pictures.length && page.version !== this.#version) return this.reload();
    if (page.version !== this.#version) this.#show(page.pictures, page);
  }

  /** Reads all that is shown once more: somebody changed the folder. */
  reload() { return this.#queue(() => this.#read(Math.max(PAGE, this.pictures.length))); }

  /** @param {string} name @returns {Picture | undefined} where it has been read */
  find(name) { return this.pictures.find((picture) => picture.name === name); }

  /**
   * The picture `step` places further (1: older, -1: newer), where there is one.
   * @param {string} name @param {number} step @returns {Promise<Picture | undefined>}
   */
  async neighbour(name, step) {
    const at = this.pictures.findIndex((picture) => picture.name === name);
    if (at < 0) return this.pictures[0];
    if (at + step >= this.pictures.length && this.pictures.length < this.total) await this.#more();
    return this.pictures[at + step];
  }

  /** @param {string} name of the picture that is open */
  mark(name) {
    this.#current = name;
    markCurrent(this.#parts.list, name);
  }

  async #showMore() {
    const shown = this.pictures.length;
    await this.#more();
    this.#tiles.get(this.pictures[shown]?.name)?.item.firstChild.focus();  // the first new one
  }

  #more() { return this.#queue(() => this.#read(this.pictures.length + PAGE, this.pictures)); }

  /** One after the other: two at once would show a page twice. */
  #queue(read) { return this.#reading = this.#reading.then(read, read); }

  /** At least `wanted` pictures, or all. `known`: the first of them, of the version that is shown. */
  async #read(wanted, known = []) {
    let pictures = known, version = known.length ? this.#version : "", total = Infinity;
    for (let failed = 0; pictures.length < Math.min(wanted, total) && failed < PATIENCE;) {
      const count = Math.min(MOST, wanted - pictures.length);
      const page = await this.#get(`/gallery?from=${pictures.length}&count=${count}`);
      const isSame = !version || page.version === version;
      if (!isSame || (!page.pictures.length && page.total)) failed += 1;
      pictures = isSame ? [...pictures, ...page.pictures] : [];
      ({ version, total } = page);
    }
    this.#show(pictures, { version, total: Math.max(total, pictures.length) });
  }

  #show(pictures, { version, total }) {
    const { list, more, empty, total: count } = this.#parts;
    const focused = list.contains(document.activeElement) && document.activeElement;
    const tiles = new Map(pictures.map((picture) => {
      const old = this.#tiles.get(picture.name);
      return [picture.name, old?.time === picture.time ? old : this.#tile(picture)];
    }));
    list.replaceChildren(...[...tiles.values()].map(({ item }) => item));
    if (focused && focused.isConnected) focused.focus({ preventScroll: true });
    this.#tiles = tiles;
    this.pictures = pictures;
    this.total = total;
    this.#version = version;
    more.hidden = pictures.length >= total;
    empty.hidden = total > 0;
    count.textContent = total ? total.toLocaleString(document.documentElement.lang) : "";
    markCurrent(list, this.#current);
  }

  #tile(picture) {
    const item = document.createElement("li");
    item.append(pictureButton(picture, () => this.#open(picture)));
    return { item, time: picture.time };
  }
}

/** Which picture was made from which, for as long as the tab lives. */
export class Versions {
  #parents;
  #keep;

  /** @param {[string, string][]} kept pairs of picture, parent @param {(pairs: [string, string][]) => void} keep */
  constructor(kept, keep) {
    this.#parents = new Map(kept);
    this.#keep = keep;
  }

  /** @param {string} name @param {string} parent */
  add(name, parent) {
    this.#parents.set(name, parent);
    this.#keep([...this.#parents]);
  }

  /** @param {string} name @returns {string} "" for one that was made from none */
  parentOf(name) { return this.#parents.get(name) ?? ""; }

  /** All versions that belong together, the first one first. @param {string} name @returns {string[]} */
  familyOf(name) {
    const firstOf = (one) => {
      const seen = new Set();
      while (this.#parents.has(one) && !seen.has(one)) { seen.add(one); one = this.#parents.get(one); }
      return one;
    };
    const first = firstOf(name);
    return [first, ...[...this.#parents.keys()].filter((one) => one !== first && firstOf(one) === first)];
  }
}

/** The large picture, beside the one that it was made from, with its versions below. */
export class Stage {
  /** @type {Picture | null} */ picture = null;
  #batch = [];
  #parts;
  #versions;
  #lookUp;
  #t;
  #open;

  /**
   * @param {(id: string) => HTMLElement} part of the page, by its id
   * @param {Versions} versions
   * @param {(name: string) => Picture | undefined} lookUp
   * @param {(key: string, values?: object) => string} t words of a key
   * @param {(name: string) => void} open called when one is chosen
   */
  constructor(part, versions, lookUp, t, open) {
    this.#parts = part;
    this.#versions = versions;
    this.#lookUp = lookUp;
    this.#t = t;
    this.#open = open;
    part("picture").onerror = () => { if (!part("picture").classList.contains("preview")) this.close(); };
    part("before-picture").onerror = () => this.#pair("");
  }

  /**
   * @param {string} name
   * @param {string} [prompt] where the gallery does not know it yet
   * @param {string[]} [batch] the pictures that were drawn together
   */
  show(name, prompt = "", batch = null) {
    const part = this.#parts;
    if (batch) this.#batch = batch;
    else if (!this.#batch.includes(name)) this.#batch = [];
    this.picture = this.#lookUp(name) ?? { name, prompt };
    const image = part("picture");
    image.classList.remove("preview");
    image.src = addressOf(name);
    this.#pair(this.#versions.parentOf(name));
    part("download").href = addressOf(name);
    part("download").download = name;
    part("stage").classList.remove("drawing");
    part("stage").hidden = false;
    this.describe();
  }

  /** Says about the open picture what the gallery knows by now. */
  describe() {
    if (!this.picture) return;
    const part = this.#parts, t = this.#t, { name } = this.picture;
    this.picture = this.#lookUp(name) ?? this.picture;
    const { prompt, width, height, seed, model, transcript } = this.picture;
    if (!part("picture").classList.contains("preview")) {
      part("picture").alt = prompt || name;
      part("caption").textContent = prompt;
    }
    const facts = [transcript && transcript !== prompt && t("facts.said", { words: transcript }),
      seed !== undefined && t("facts.seed", { seed }), width && `${width} × ${height}`, model];
    part("facts").textContent = facts.filter(Boolean).join(" · ");
    part("keep-seed").hidden = seed === undefined;
    this.#strip(part("batch"), this.#batch);
    this.#strip(part("versions"), this.#versions.familyOf(name));
  }

  /**
   * What is being drawn, in the picture's place.
   * @param {string} source @param {string} parent @param {string} prompt
   */
  preview(source, parent, prompt) {
    const image = this.#parts("picture");
    image.classList.add("preview");
    if (image.src !== source) image.src = source;
    image.alt = this.#t("preview");
    this.#parts("caption").textContent = prompt;
    this.#pair(parent);
    this.#parts("stage").classList.add("drawing");  // what belongs to the old picture keeps its place
    this.#parts("stage").hidden = false;
  }

  /** The drawing came to nothing: back to what was there before. */
  endPreview() {
    if (!this.#parts("picture").classList.contains("preview")) return;
    if (this.picture) this.show(this.picture.name, this.picture.prompt);
    else this.close();
  }

  close() {
    this.picture = null;
    this.#parts("stage").hidden = true;
    this.#parts("picture").removeAttribute("src");
    this.#open("");
  }

  #pair(parent) {
    const part = this.#parts;
    part("before").hidden = !parent;
    part("frames").classList.toggle("pair", Boolean(parent));
    if (parent && part("before-picture").dataset.name !== parent) part("before-picture").src = addressOf(parent);
    part("before-picture").dataset.name = parent;
    part("before-picture").alt = parent && (this.#lookUp(parent)?.prompt || parent);
  }

  #strip(section, names) {
    section.hidden = names.length < 2;
    if (section.hidden) return section.lastElementChild.replaceChildren();
    const shown = [...section.querySelectorAll("button")].map((button) => button.dataset.name);
    if (shown.join("/") !== names.join("/")) {
      section.lastElementChild.replaceChildren(...names.map((name, i) => {
        const item = document.createElement("li");
        const button = pictureButton(this.#lookUp(name) ?? { name }, () => this.#open(name), String(i + 1));
        button.firstChild.onerror = () => item.remove();  // somebody removed it
        item.append(button);
        return item;
      }));
    }
    markCurrent(section, this.picture.name);
  }
}
