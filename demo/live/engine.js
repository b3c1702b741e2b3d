// Two workers that paint: one that any browser can run, and one on the GPU where that is quicker.
//
// What computes on GPUs differs from device to device. So the first pictures come from the CPU, the
// GPU paints one of them again in the background, and takes over where its picture is the same and
// it was quicker.

const ALIKE = 35; // decibels
const QUICKER = 0.8; // of the CPU's time
const LOST = "What paints could not be loaded: reload the page, or try another browser.";

class Painter {
  constructor(provider, progress = () => {}) {
    this.provider = provider;
    this.asked = new Map();
    this.number = 0;
    this.worker = new Worker(new URL("./painter.js", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data: { id, answer, problem, progress: bytes } }) => {
      if (bytes) return progress(bytes);
      const { resolve, reject } = this.asked.get(id) || {};
      if (!this.asked.delete(id)) return; // it was given up
      if (problem === undefined) resolve(answer);
      else reject(new Error(problem));
    });
    this.worker.addEventListener("error", (event) => this.fail(event.message || LOST));
    this.ready = this.ask("start", { wanted: provider });
  }

  ask(what, given = {}) {
    return new Promise((resolve, reject) => {
      this.asked.set(++this.number, { resolve, reject });
      this.worker.postMessage({ id: this.number, what, ...given });
    });
  }

  fail(reason) {
    for (const { reject } of this.asked.values()) reject(new Error(reason));
    this.asked.clear();
  }

  stop() {
    this.worker.terminate();
    this.fail("The painter was stopped.");
  }
}

export class Engine {
  // progress: is told {loaded, total} bytes while a model comes; total is NaN where it is not known.
  constructor(progress) {
    this.cpu = new Painter("wasm", progress);
    this.gpu = null; // once it has been tried and is quicker
    this.tried = false;
    this.opened = null;
    this.prepared = null;
  }

  async open(name) {
    const { threads } = await this.cpu.ready;
    this.threads = threads;
    const settings = await this.cpu.ask("open", { name });
    if (name !== this.opened) {
      this.opened = name;
      this.gpu?.stop();
      this.gpu = null;
      this.tried = false;
    }
    return settings;
  }

  found(photo) {
    return this.cpu.ask("found", { photo });
  }

  async prepare(given) {
    this.prepared = given;
    const [answer] = await Promise.all([this.cpu.ask("prepare", given), this.byGpu("prepare", given)]);
    return answer;
  }

  // {picture, times, byGpu}: of the GPU where it has taken over.
  async paint(given) {
    const painted = await this.byGpu("paint", given);
    return painted ? { ...painted, byGpu: true } : { ...(await this.cpu.ask("paint", given)), byGpu: false };
  }

  // What the GPU answers; null where it has not taken over, or fails, as one that was lost does.
  async byGpu(what, given) {
    const { gpu } = this;
    try {
      return gpu && (await gpu.ask(what, given));
    } catch {
      gpu.stop();
      if (this.gpu === gpu) this.gpu = null;
      return null;
    }
  }

  // Let the GPU paint what the CPU has painted; whether it takes over.
  async tryGpu(given, painted) {
    const name = this.opened;
    if (this.tried || navigator.connection?.saveData) return false;
    this.tried = true;
    if (!(await navigator.gpu?.requestAdapter().catch(() => null))) return false;
    const gpu = new Painter("webgpu");
    try {
      await gpu.ready;
      await gpu.ask("open", { name });
      const { prepared } = this;
      await gpu.ask("prepare", prepared);
      await gpu.ask("paint", given); // the first one compiles what it runs
      const again = await gpu.ask("paint", given);
      const isQuicker = again.times.network < QUICKER * painted.times.network;
      const isSame = decibels(again.picture.pixels, painted.picture.pixels) >= ALIKE;
      if (!isQuicker || !isSame) throw new Error("The CPU goes on.");
      for (let sent = prepared; sent !== this.prepared; ) {
        sent = this.prepared; // another look may be chosen meanwhile
        await gpu.ask("prepare", sent);
      }
      if (name !== this.opened) throw new Error("The CPU goes on.");
      this.gpu = gpu;
      return true;
    } catch {
      gpu.stop();
      return false;
    }
  }
}

function decibels(one, other) {
  let error = 0;
  one.forEach((value, at) => (error += (value - other[at]) ** 2));
  return 10 * Math.log10((255 * 255 * one.length) / Math.max(error, 1e-9));
}
