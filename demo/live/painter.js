// The worker that paints: it opens the exported networks, prepares a look once, and paints layouts.
//
// Messages {id, what, ...} are answered by {id, answer} or {id, problem}. Pictures are {pixels: RGBA,
// width, height}; layouts {labels: {set, width, height}}, {strokes: {set, width, height}} or {pose:
// {joints: 18 rows [x, y, score], width, height}}. While files come, {progress: {loaded, total}}.

import { canny, figure, fittedSize, greyOf, lines, oneHot, withDistance } from "./encode.js";
import { GUIDES } from "./guides.js";
import { resampled } from "./planes.js";
import { cutOut, planesOf, readEdges, readFace, readLandscape, readMask, readPerson } from "./readers.js";
import { PERSON_CLASSES } from "./skinning.js";

const READ_SIDE = 256; // shorter side at which edges are found, to be read
const MOST_THREADS = 4;

let ort = null;
let provider = "wasm";
let job = null; // {name, settings, prepare, paint}: one at a time, as phones have little memory
let look = null; // {exemplar, style, width, height, landmarks}
let coming = { loaded: 0, total: 0 }; // bytes; total: NaN where it is not known
const readers = {};

// Where the page is isolated from others, the browser shares memory among threads.
async function start({ wanted }) {
  provider = wanted;
  ort = await import(wanted === "webgpu" ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS)
    : 1;
  return { threads: ort.env.wasm.numThreads };
}

async function fetched(address) {
  const answer = await fetch(new URL(address, import.meta.url));
  if (!answer.ok) throw new Error(`${address} is not there (${answer.status}); reload the page.`);
  return answer;
}

// The bytes of a file, and on the way how many of it and of those that are asked for with it are there.
async function bytesOf(address) {
  const answer = await fetched(address);
  const { headers, body } = answer;
  // Of a file that was packed for the way the header tells another length.
  coming.total += headers.get("content-encoding") ? NaN : Number(headers.get("content-length") || NaN);
  const parts = [];
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(value);
    coming.loaded += value.length;
    self.postMessage({ progress: coming });
  }
}

async function session(address, providers = [provider]) {
  return ort.InferenceSession.create(await bytesOf(address), { executionProviders: providers });
}

async function open({ name }) {
  if (job?.name !== name) {
    await Promise.all([job?.prepare.release(), job?.paint.release()]);
    job = look = null;
    coming = { loaded: 0, total: 0 };
    const [settings, prepare, paint] = await Promise.all([
      fetched(`./models/${name}/model.json`).then((answer) => answer.json()),
      session(`./models/${name}/prepare.onnx`),
      session(`./models/${name}/paint.onnx`),
    ]);
    job = { name, settings, kind: kindOf(settings), prepare, paint };
  }
  return job.settings;
}

function kindOf({ condition, classes }) {
  if (condition.type === "pose") return "pose";
  if (condition.type === "edge") return "portrait";
  return String(classes) === String(PERSON_CLASSES) ? "person" : "regions";
}

async function read(name, images, number, width, height) {
  readers[name] ||= session(`./readers/${name}.onnx`, ["wasm"]).catch((problem) => {
    delete readers[name]; // asked for again with the next photo
    throw problem;
  });
  const reader = await readers[name];
  return reader.run({ images: new ort.Tensor("float32", images, [number, 3, height, width]) });
}

// A photo of a visitor's own as the networks know such, and the layout that it shows. Where it shows
// no layout that can be read, there is none.
async function found({ photo }) {
  const size = fittedSize(photo.width, photo.height, job.settings);
  if (job.kind === "portrait") {
    const picture = resized(photo, size.width, size.height);
    return { picture, layout: { strokes: strokesOf(picture) } };
  }
  if (job.kind === "regions") {
    const picture = resized(photo, size.width, size.height);
    return { picture, layout: { labels: (await readLandscape(picture, read)).labels } };
  }
  const reading = await readPerson(photo, read);
  if (!reading) return { picture: resized(photo, size.width, size.height), layout: null };
  const [height, width] = job.settings.size;
  const picture = cutOut(photo, reading, width, height);
  const { points, labels } = (await readPerson(picture, read)) || {};
  if (!points) return { picture, layout: null };
  if (job.kind === "person") return { picture, layout: { labels } };
  return { picture, layout: { pose: { joints: points.map(jointOf(width, height)), width, height } } };
}

const jointOf = (width, height) => ([x, y]) =>
  Number.isNaN(x) ? [0, 0, 0] : [x * width, y * height, 1];

function strokesOf({ pixels, width, height }) {
  return { set: canny(greyOf(pixels), width, height, job.settings.condition), width, height };
}

// The edges of a photo as they are encoded.
function photoLines(photo, width, height) {
  const small = resized(photo, width, height, "linear");
  const set = canny(greyOf(small.pixels), width, height, job.settings.condition);
  return withDistance(set, width, height, job.settings.condition.reach);
}

function resized({ pixels, width, height }, newWidth, newHeight, filter = "cubic") {
  const made = new Uint8ClampedArray(4 * newWidth * newHeight).fill(255);
  planesOf({ pixels }).forEach((plane, part) => {
    const values = resampled(plane, width, height, newWidth, newHeight, filter, true);
    values.forEach((value, at) => (made[4 * at + part] = value));
  });
  return { pixels: made, width: newWidth, height: newHeight };
}

// Prepare a look. layout: its own, where it is known.
async function prepare({ photo, layout }) {
  const { width, height } = fittedSize(photo.width, photo.height, job.settings);
  const { pixels } = resized(photo, width, height);
  const places = width * height;
  const values = Float32Array.from({ length: 3 * places }, (_, at) =>
    pixels[4 * (at % places) + Math.floor(at / places)] / 255,
  );
  const exemplar = new ort.Tensor("float32", values, [1, 3, height, width]);
  const given = { exemplar };
  if (job.prepare.inputNames.includes("exemplar_condition")) {
    const [wide, high] = [width, height].map((side) => side / job.settings.matching_scale);
    const made = photoLines(photo, wide, high);
    given.exemplar_condition = new ort.Tensor("float32", made, [1, job.settings.channels, high, wide]);
  }
  const { style } = await job.prepare.run(given);
  const landmarks = job.settings.guided ? await landmarksOfLook(photo, layout) : null;
  look = { exemplar, style, width, height, landmarks };
  return { guided: Boolean(landmarks) };
}

async function landmarksOfLook(photo, layout) {
  if (job.kind === "portrait") return readFace(photo, read, job.settings.face_side);
  if (layout && job.kind === "pose") {
    const given = await landmarksOf(layout);
    const seen = await readPerson(photo, read);
    return seen ? { ...given, labels: seen.labels, isRead: true } : given;
  }
  if (layout) return landmarksOf(layout);
  return job.kind === "regions" ? readLandscape(photo, read) : readPerson(photo, read);
}

async function landmarksOf({ labels, strokes, pose }) {
  if (job.kind === "person") return readMask(labels, read);
  if (job.kind === "regions") return { points: [], labels, isRead: false };
  if (pose) {
    const least = job.settings.condition.min_score;
    const points = pose.joints.map(([x, y, score]) =>
      score > least ? [x / pose.width, y / pose.height] : [NaN, NaN],
    );
    return { points, isRead: false };
  }
  const scale = READ_SIDE / Math.min(strokes.width, strokes.height);
  const [width, height] = [strokes.width, strokes.height].map(
    (side) => Math.round(Math.min(side * scale, 2 * READ_SIDE) / 16) * 16,
  );
  const drawn = lines(strokes, width, height, job.settings.condition.reach);
  return readEdges(drawn, width, height, read, job.settings.face_side);
}

function encoded({ labels, strokes, pose }, width, height) {
  const { condition, channels } = job.settings;
  if (labels) return oneHot(labels, channels, width, height);
  if (strokes) return lines(strokes, width, height, condition.reach);
  return figure(pose, width, height, condition);
}

// Both guides of the graph; without landmarks nothing is known.
async function guides(layout, width, height) {
  const { pixels, guided, kin } = job.settings;
  const sizes = [[width, height], [width / pixels, height / pixels]];
  const nowhere = ([wide, high]) => new Float32Array(2 * wide * high).fill(NaN);
  const own = guided && look.landmarks ? await landmarksOf(layout) : null;
  if (!own) return sizes.map(nowhere);
  const grid = { width: look.width / pixels, height: look.height / pixels };
  const guide = GUIDES[job.kind](own, look.landmarks, grid, kin);
  return sizes.map((size) => {
    const { x, y } = guide(...size);
    return Float32Array.from([...x, ...y], (place) => place * pixels + (pixels - 1) / 2);
  });
}

async function paint({ layout, strength }) {
  const begun = performance.now();
  const drawn = layout.labels || layout.strokes || layout.pose;
  const { width, height } = fittedSize(drawn.width, drawn.height, job.settings);
  const { channels, matching_scale: scale, pixels } = job.settings;
  const [wide, high] = [width / scale, height / scale];
  const [guide, cells] = await guides(layout, width, height);
  const tensor = (values, dims) => new ort.Tensor("float32", values, dims);
  const given = {
    condition: tensor(encoded(layout, width, height), [1, channels, height, width]),
    matched_condition: tensor(encoded(layout, wide, high), [1, channels, high, wide]),
    strength: tensor(new Float32Array([strength]), []),
    guide: tensor(guide, [1, 2, height, width]),
    guide_cells: tensor(cells, [1, 2, height / pixels, width / pixels]),
    exemplar: look.exemplar,
    style: look.style,
  };
  const encodedAt = performance.now();
  const feeds = Object.fromEntries(job.paint.inputNames.map((name) => [name, given[name]]));
  const { image } = await job.paint.run(feeds, ["image"]);
  const values = await image.getData();
  const places = width * height;
  const shown = new Uint8ClampedArray(4 * places).fill(255);
  for (let part = 0; part < 3; part++) {
    for (let at = 0; at < places; at++) shown[4 * at + part] = values[part * places + at] * 255;
  }
  const ended = performance.now();
  const times = { layout: encodedAt - begun, network: ended - encodedAt };
  return { picture: { pixels: shown, width, height }, times };
}

const DOES = { start, open, found, prepare, paint };
let last = Promise.resolve();

// One after another, in the order in which they came.
self.addEventListener("message", ({ data: { id, what, ...given } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, answer: await DOES[what](given) });
    } catch (problem) {
      self.postMessage({ id, problem: String(problem?.message || problem) });
    }
  });
});
