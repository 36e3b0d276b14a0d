// Files that are chosen, dropped or pasted: recordings, and pictures. Loaded when there is one.

import {
  $, announce, attempt, canStartFrom, fill, hearOrder, isFilledWell, sayStatus, showError, startFrom, t,
} from "./form.js";

const isPicture = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp)$/i.test(file.name);

/** @param {File} file @param {{ask: Function, begun: Function, hello: object}} page */
export function takeFile(file, page) {
  return isPicture(file) ? takePicture(file, page) : takeRecording(file, page);
}

async function takeRecording(file, page) {
  const most = page.hello?.limits.upload_bytes;
  if (most && file.size > most) {
    return showError({ message: t("too_large", { name: file.name, megabytes: Math.floor(most / 2 ** 20) }) });
  }
  if (!isFilledWell()) return undefined;
  const order = hearOrder();
  sayStatus(t("sending", { name: file.name }));
  const query = new URLSearchParams({ name: file.name, hear: order.hear, order: JSON.stringify(order) });
  const { job } = await page.ask(`/hear?${query}`, file, "application/octet-stream").finally(() => sayStatus(""));
  return page.begun(job);
}

/** One of ours brings its settings back; another one may be started from. */
async function takePicture(file, page) {
  try {
    fill(await page.ask("/records", file, "application/octet-stream"));
    sayStatus(t("settings_back", { name: file.name }));
    $("form").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error.status !== 422 || !canStartFrom()) throw error;
    $("offer").hidden = false;
    $("offer").firstElementChild.textContent = t("start.offer", { name: file.name });
    announce(t("start.offer", { name: file.name }));
    $("offer-yes").onclick = () => { $("offer").hidden = true; attempt(() => uploadStart(file, page)); };
    $("offer-yes").focus();
  }
}

/** @param {File} file the picture to start from @param {{ask: Function}} page */
export async function uploadStart(file, page) {
  const query = new URLSearchParams({ name: file.name });
  const { start } = await page.ask(`/start-picture?${query}`, file, "application/octet-stream");
  startFrom({ name: start, label: file.name, source: URL.createObjectURL(file) });
}
