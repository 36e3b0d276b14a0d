// The microphone: permission, choice of device, level, and its blocks in order.

const BACKLOG_BYTES = 64 * 1024;  // under way to the server; more waits here, and none is dropped
const LOOK_AGAIN_MS = 50;
export const SILENCE_DB = -60;

/** Why there is no microphone. `key`: of the sentence that says so. */
export class MicrophoneError extends Error {
  /** @param {string} key */
  constructor(key) { super(key); this.key = key; }
}

/** @returns {string} key of the sentence that says why this page can never hear, "" where it can */
export function reasonForSilence() {
  if (!window.isSecureContext) return "microphone.insecure";
  return navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode ? "" : "microphone.unsupported";
}

/** @returns {Promise<{id: string, name: string}[]>} with names only after permission: browsers hide them before */
export async function listMicrophones() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId && device.label)
    .map((device) => ({ id: device.deviceId, name: device.label }));
}

/** One utterance: open, then send; then end, or release. */
export class Voice {
  #context = null;
  #stream = null;
  #node = null;
  #begin = () => {};
  #giveUp = () => {};
  #waiting = [];
  #socket = null;
  #timer = 0;
  #onLevel;

  /** @param {(dB: number) => void} onLevel told the level of each block, in dBFS */
  constructor(onLevel) { this.#onLevel = onLevel; }

  /**
   * Asks for the microphone, and waits until its first block is there: who is told to speak before loses
   * words, as a browser takes its time to start. Call it in a click or a key press: Safari starts sound
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

  /** @returns {Promise<void>} of the first block */
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
    this.#begin();
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
