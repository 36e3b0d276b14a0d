// The sounds of a recording: when each was heard, over the spectrogram. Loaded when there are some.

const SECONDS_A_MINUTE = 60;

/** @param {number} seconds @returns {string} like 1:05.2 */
function asTime(seconds) {
  const tenths = Math.round(seconds * 10), minutes = Math.floor(tenths / (10 * SECONDS_A_MINUTE));
  const rest = (tenths / 10 - minutes * SECONDS_A_MINUTE).toFixed(1);
  return `${minutes}:${rest.padStart(4, "0")}`;
}

/**
 * @param {HTMLElement} section filled anew
 * @param {{duration_s: number, things: {phrase: string, weight: number}[], spectrogram: string,
 *   timeline: {start_s: number, end_s: number, name: string, score: number}[]}} sounds
 * @param {(key: string, values?: object) => string} t words of a key
 */
export function showSounds(section, sounds, t) {
  const title = element("h2", t("sounds"));
  const things = element("p", sounds.things.map((thing) => thing.phrase).join(", ") || t("sounds.none"));
  const figure = element("figure");
  if (sounds.spectrogram) {
    const image = new Image();
    image.src = sounds.spectrogram;
    image.alt = t("sounds.spectrogram", { seconds: sounds.duration_s.toFixed(1) });
    figure.append(image);
  }
  figure.append(...lanes(sounds));
  const list = element("ol");
  list.append(...sounds.timeline.map((event) => element("li", t("sounds.event", {
    start: asTime(event.start_s), end: asTime(event.end_s), name: event.name, percent: Math.round(100 * event.score),
  }))));
  section.replaceChildren(title, things, figure, list);
  section.hidden = false;
}

/** A line for each name; the list below says the same in words, so these are no news to a screen reader. */
function lanes({ timeline, duration_s }) {
  const names = [...new Set(timeline.map((event) => event.name))];
  return names.map((name) => {
    const lane = element("div");
    lane.className = "lane";
    lane.setAttribute("aria-hidden", "true");
    for (const event of timeline.filter((one) => one.name === name)) {
      const bar = element("i");
      bar.style.left = `${100 * event.start_s / duration_s}%`;
      bar.style.width = `${100 * (event.end_s - event.start_s) / duration_s}%`;
      lane.append(bar);
    }
    lane.append(element("b", name));
    return lane;
  });
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
