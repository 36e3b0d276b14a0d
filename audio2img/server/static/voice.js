// Speaking: the microphone (permission, choice of device, level, its blocks in order), and the button.

import { $, Trouble, chosenHear, fillSelect, remembered, showError, t } from "./form.js";

const BACKLOG_BYTES = 64 * 1024;  // under way to the server; more waits here, and none is dropped
const LOOK_AGAIN_MS = 50;
const MOST_SILENT = 40;  // blocks of zeros at the beginning, 2 s; a microphone that is switched off gives no others
const SILENCE_DB = -60;

/** Why there is no microphone. `key`: of the sentence that says so. */
class MicrophoneError extends Error {
  /** @param {string} key */
  constructor(key) { super(key); this.key = key; }
}

/** @returns {string} key of the sentence that says why this page can never hear, "" where it can */
export function reasonForSilence() {
  if (!window.isSecureContext) return "microphone.insecure";
  return navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode ? "" : "microphone.unsupported";
}

/** @returns {Promise<{id: string, name: string}[]>} with names only after permission: browsers hide them before */
async function listMicrophones() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId && device.label)
    .map((device) => ({ id: device.deviceId, name: device.label }));
}

/** One utterance: open, then send; then end, or release. */
class Voice {
  #context = null;
  #stream = null;
  #node = null;
  #begin = () => {};
  #giveUp = () => {};
  #waiting = [];
  #n_silent = 0;
  #socket = null;
  #timer = 0;
  #onLevel;

  /** @param {(dB: number) => void} onLevel told the level of each block, in dBFS */
  constructor(onLevel) { this.#onLevel = onLevel; }

  /**
   * Asks for the microphone, and waits until something of it is there: who is told to speak before loses
   * words, as a browser takes its time to start, and begins with zeros. Call it in a click or a key press: Safari starts sound
   * only there.
   * @param {string} device id of the microphone, "" for the browser's own choice
   * @returns {Promise<number>} samples a second
   * @throws {MicrophoneError}
   */
  async open(device) {
    const reason = reasonForSilence();
    if (reason) throw new MicrophoneError(reason);
    // No rate is asked for: Firefox refuses a microphone of another rate than the context's.
    const context = this.#context = new AudioContext({ latencyHint: "interactive" });
    let stream;
    try {
      stream = await getStream(context, device);
      if (this.#context !== context) throw new DOMException("released meanwhile", "AbortError");
      this.#stream = stream;
      await this.#listen();
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      if (this.#context === context) this.release();
      throw new MicrophoneError(KEYS[error.name] ?? "microphone.failed");
    }
    return context.sampleRate;
  }

  /** @returns {Promise<void>} of the first block that is more than zeros, or comes after many */
  #listen() {
    const context = this.#context;
    this.#node = new AudioWorkletNode(context, "blocks", {
      channelCount: 1, channelCountMode: "explicit", numberOfOutputs: 1, outputChannelCount: [1],
    });
    this.#node.port.onmessage = ({ data }) => this.#take(data);
    context.createMediaStreamSource(this.#stream).connect(this.#node);
    this.#node.connect(context.destination);  // silence; without it Safari may not run the node
    this.#stream.getAudioTracks()[0].onended = () => this.end();  // unplugged
    context.onstatechange = () => { if (context.state === "interrupted") this.#take(null); };  // a call on an iPhone
    return new Promise((begin, giveUp) => { this.#begin = begin; this.#giveUp = giveUp; });
  }

  /** Sends what was gathered and what comes over `socket`. @param {WebSocket} socket */
  send(socket) { this.#socket = socket; this.#flush(); }

  /** The person has spoken: the rest is sent, then the word that this was all. */
  end() { this.#node?.port.postMessage(null); }

  /** Lets go of the microphone at once. What was not sent is not sent any more. */
  release() {
    clearTimeout(this.#timer);
    this.#giveUp(new DOMException("released meanwhile", "AbortError"));
    if (this.#node) this.#node.port.onmessage = null;
    this.#stream?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    this.#context?.close().catch(() => {});  // closed already
    this.#context = this.#stream = this.#node = this.#socket = null;
    this.#waiting = [];
  }

  #take(block) {
    if (!block || new Int16Array(block).some(Boolean) || ++this.#n_silent >= MOST_SILENT) this.#begin();
    if (block) {
      this.#onLevel(levelOf(new DataView(block)));
      this.#waiting.push(block);
    } else {
      this.#waiting.push(JSON.stringify({ do: "spoken" }));
      this.#stream.getTracks().forEach((track) => track.stop());  // its light goes out at once
    }
    this.#flush();
  }

  #flush() {
    clearTimeout(this.#timer);
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    while (this.#waiting.length && this.#socket.bufferedAmount < BACKLOG_BYTES) {
      this.#socket.send(this.#waiting.shift());
    }
    if (this.#waiting.length) this.#timer = setTimeout(() => this.#flush(), LOOK_AGAIN_MS);
  }
}

async function getStream(context, device) {
  context.resume().catch(() => {});  // closed meanwhile
  const loading = context.audioWorklet.addModule("/static/worklet.js");
  loading.catch(() => {});  // looked at below, also where the microphone is refused first
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wishes(device) });
  try {
    await loading;
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    throw error;
  }
  return stream;
}

const KEYS = {
  NotAllowedError: "microphone.denied", SecurityError: "microphone.denied",
  NotFoundError: "microphone.none", OverconstrainedError: "microphone.none",
  NotReadableError: "microphone.busy", AbortError: "microphone.failed",
};

// No echo can come from a page that plays nothing, and its canceller would turn a Mac's other sounds down.
// No noise suppression: it removes the very sounds that are to be named and eats soft consonants, and the
// recognizer was trained on noisy speech. Gain control: a quiet laptop microphone is to be heard, too.
// The device is a wish, not a must: an unplugged one falls back to the browser's choice.
function wishes(device) {
  return {
    ...(device && { deviceId: device }),
    channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true,
  };
}

/** @param {DataView} block little-endian int16 @returns {number} dBFS, at least SILENCE_DB */
function levelOf(block) {
  let sum = 0;
  for (let i = 0; i < block.byteLength; i += 2) sum += (block.getInt16(i, true) / 32768) ** 2;
  return Math.max(SILENCE_DB, 10 * Math.log10(sum / (block.byteLength / 2) || 1e-12));
}

// The button

/** What is being spoken: from the press of the button until the server has heard the end. */
export class Speaking {
  /** @type {{job: string, before: Set<string>, isOpen: boolean, isRecorded: boolean, hear: string, parent: string} | null} */
  #recording = null;
  #voice = new Voice(showLevel);
  #jobs;
  #onChange;

  /**
   * @param {Map<string, object>} jobs all that the page knows, by id
   * @param {() => void} onChange told when it begins or ends
   */
  constructor(jobs, onChange) { this.#jobs = jobs; this.#onChange = onChange; }

  get isOn() { return this.#recording !== null; }

  /** Whether the job is not told to this page yet. */
  get isUnanswered() { return this.isOn && !this.#recording.job; }

  /** @param {object} [job] @returns {boolean} whether it is what we speak to */
  isOf(job) { return this.isOn && job?.id === this.#recording.job; }

  /** The person has said all. */
  end() { this.#voice.end(); }

  /**
   * Begins to listen. Call it in a click or a key press.
   * @param {WebSocket} socket
   * @param {() => object | Promise<object>} orderOf gives HEAR of the protocol
   * @param {string} parent the picture that what is said changes, or ""
   * @param {() => void} begin called when the microphone is open
   */
  async begin(socket, orderOf, parent, begin) {
    const recording = this.#recording = {
      job: "", before: new Set(this.#jobs.keys()), isOpen: false, isRecorded: false,
      hear: parent ? "speech" : chosenHear(), parent,
    };
    this.show();
    try {
      const opening = this.#voice.open(remembered.get("microphone", ""));  // first of all: in the gesture
      const [rate, order] = await Promise.all([opening, orderOf()]);
      if (this.#recording !== recording) return;
      recording.isOpen = true;
      begin();
      socket.send(JSON.stringify({ do: "speak", rate, order }));
      this.#voice.send(socket);
      offerMicrophones();
    } catch (error) {
      if (!(error instanceof MicrophoneError || error instanceof Trouble)) throw error;
      if (this.#recording !== recording) return;  // given up meanwhile
      this.release();
      showError(error.key ? { message: t(error.key), remedy: reasonForSilence() ? "" : t("microphone.remedy") } : error);
      $("choose").classList.add("offered");
      return;
    }
    this.show();
  }

  /** Sees whether the job is the one that we speak to, and still listens. @param {object} job */
  follow(job) {
    const recording = this.#recording;
    if (!recording?.isOpen) return;
    if (!recording.job && job.kind === "speak" && !recording.before.has(job.id)) recording.job = job.id;
    if (recording.job !== job.id) return;
    recording.isRecorded ||= job.stage === "record";
    const hasLeft = recording.isRecorded && job.stage !== "record" && !job.place;
    if (job.state !== "running" || job.final || hasLeft) this.release();
    else this.#showHint();
  }

  /** Lets go of the microphone at once. */
  release() {
    this.#recording = null;
    this.#voice.release();
    showLevel(SILENCE_DB);
    this.show();
  }

  show() {
    const isChange = Boolean(this.#recording?.parent);
    $("speak").setAttribute("aria-pressed", String(this.isOn));
    $("speak-name").textContent = t(this.isOn ? "speak.end" : "speak");
    $("change").setAttribute("aria-pressed", String(isChange));
    $("change").textContent = t(isChange ? "speak.end" : "change");
    for (const id of ["ring", "level"]) $(id).classList.toggle("open", this.isOn);
    this.#showHint();
    this.#onChange();
  }

  #showHint() {
    const recording = this.#recording, silence = reasonForSilence();
    const job = recording && this.#jobs.get(recording.job);
    let key = silence || "hint";
    if (recording && !recording.isOpen) key = "hint.wait";
    else if (recording?.hear === "sounds") key = "hint.sounds";  // nobody ends them by falling silent
    else if (job?.speaking) key = "hint.hearing";
    else if (recording) key = recording.parent ? "hint.change" : "hint.listening";
    $("hint").textContent = t(key);
    $("hint").classList.toggle("hearing", key === "hint.hearing");
    $("choose").classList.toggle("offered", Boolean(silence));
  }
}

function showLevel(dB) {
  const share = Math.max(0, Math.min(1, 1 - dB / SILENCE_DB));
  for (const id of ["ring", "level"]) $(id).style.setProperty("--level", share.toFixed(3));
}

/** The choice of microphones, which browsers name only after permission. */
export async function offerMicrophones() {
  const found = await listMicrophones();
  const chosen = remembered.get("microphone", "");
  fillSelect("microphone", [["", t("microphone.usual")], ...found.map(({ id, name }) => [id, name])], chosen);
}
