// The microphone, 50 ms at a time, as 16-bit numbers at the browser's own rate; the server resamples.
// An AudioWorklet hears every sample, also while the page is busy.

const LARGEST = 32767;

registerProcessor("blocks", class extends AudioWorkletProcessor {
  #samples = new DataView(new ArrayBuffer(2 * Math.round(sampleRate / 20)));
  #n_bytes = 0;
  #is_over = false;

  constructor() {
    super();
    this.port.onmessage = () => { this.#is_over = true; };  // the only message: that is all
  }

  process([[channel]]) {
    for (const value of channel ?? []) {
      const sample = Math.round(Math.max(-1, Math.min(1, value)) * LARGEST);
      this.#samples.setInt16(this.#n_bytes, sample, true);  // little-endian on every machine
      this.#n_bytes += 2;
      if (this.#n_bytes === this.#samples.byteLength) this.#post();
    }
    if (!this.#is_over) return true;
    if (this.#n_bytes) this.#post();
    this.port.postMessage(null);  // nothing comes after it
    return false;
  }

  #post() {
    const block = this.#samples.buffer.slice(0, this.#n_bytes);
    this.port.postMessage(block, [block]);
    this.#n_bytes = 0;
  }
});
