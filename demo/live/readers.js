// What a picture shows, read by the networks that ship: people, landscapes and faces.
//
// As in cocosnet_hf/person_reader.py, landscape_reader.py and face_reader.py. `run` takes a reader's
// name and images (3, H, W), several after one another, and returns its planes by name. Pictures are
// {pixels: RGBA, width, height}.

import { portraitOf } from "./faces.js";
import { blurred, clamp, count, interpolated, joinedParts, likeliest, nearestOf, nearestSet, openDisc, resampled, roundEven } from "./planes.js";
import { JOINTS, MIRRORED } from "./skinning.js";

const SIZE = { width: 96, height: 192 }; // that people are read at
const MARGIN = 1.04;
const LEAST_SHARE = 0.04;
const SEEN = 0.3;
const SURE = 0.1;
const LEAST_JOINTS = 10;
const OUTSIDE = 10;
const PLAIN = 0.75;
const STEPS = 4;
const GAP = 0.02;
const AROUND = 3;
const CLEAR = 40;
const MASK_COLORS = [
  [255, 255, 255], [230, 180, 150], [90, 50, 20], [250, 220, 0], [0, 0, 0], [220, 20, 60], [0, 90, 200],
  [150, 0, 200], [0, 150, 70], [255, 130, 0], [70, 70, 90], [0, 200, 220], [255, 105, 180],
];

export const planesOf = ({ pixels }) =>
  [0, 1, 2].map((part) => Float64Array.from({ length: pixels.length / 4 }, (_, at) => pixels[4 * at + part]));

// The largest person in a photo: {points, labels, isRead, person: how sure, frame}; null for nobody.
export async function readPerson(photo, run) {
  const { width, height } = photo;
  const planes = planesOf(photo);
  let best = null;
  for (const frame of firstFrames(width, height)) {
    const { classes } = await looked("person-reader", planes, width, height, frame, run, true);
    const there = largest(classes);
    if (!best || count(there.set) > count(best.there.set)) best = { there, frame };
  }
  if (count(best.there.set) < LEAST_SHARE * best.there.set.length) return null;
  const frame = around(best.there, best.frame);
  const { classes, joints } = await looked("person-reader", planes, width, height, frame, run, true);
  const points = pointsOf(joints, frame, width, height);
  if (!points) return null;
  const logits = laidBack(classes, frame, width, height);
  plainGaps(planes, width, height).forEach((one, at) => (logits[at] += one * 10 * OUTSIDE));
  const labels = { set: likeliest(logits, classes.count, width * height), width, height };
  return { points, labels, isRead: true, person: notGround(logits, classes.count, width * height), frame };
}

// Where plain ground is seen through a gap of the person: small parts within that have the one colour
// which nearly all of the photo's border has, and differ clearly from what is around them.
function plainGaps(planes, width, height) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y++) border.push(y * width, y * width + width - 1);
  const color = planes.map((plane) => {
    const sorted = border.map((at) => plane[at]).sort((one, two) => one - two);
    return (sorted[border.length / 2 - 1] + sorted[border.length / 2]) / 2;
  });
  const away = planes[0].map((_, at) => Math.max(...planes.map((plane, part) => Math.abs(plane[at] - color[part]))));
  if (border.filter((at) => away[at] <= STEPS).length < PLAIN * border.length) return new Uint8Array(away.length);
  const plain = openDisc(Uint8Array.from(away, (steps) => (steps <= STEPS ? 1 : 0)), width, height, 1);
  const { parts, areas } = joinedParts(plain, width, height);
  const nearest = nearestSet(plain, width, height);
  const [many, total] = [areas.map(() => 0), areas.map(() => 0)];
  nearest.forEach((other, at) => {
    if (plain[at] || other < 0) return;
    const far = chamfer((at % width) - (other % width), Math.floor(at / width) - Math.floor(other / width));
    if (far <= 1 || far > AROUND) return;
    many[parts[other]] += 1;
    total[parts[other]] += away[at];
  });
  const isGap = areas.map((area, part) => area <= GAP * plain.length && total[part] > CLEAR * many[part]);
  [0, ...border.map((at) => parts[at])].forEach((part) => (isGap[part] = false));
  return plain.map((one, at) => (one && isGap[parts[at]] ? 1 : 0));
}

// The way that distances are told by, see `nearestSet`.
function chamfer(across, down) {
  const [short, long] = [Math.abs(across), Math.abs(down)].sort((one, two) => one - two);
  return 2 * short <= long ? (long - 2 * short) + 2.1969 * short : (2 * short - long) * 1.4 + 2.1969 * (long - short);
}

// The joints of the person whose mask this is, in shares; all NaN where there is nobody.
export async function readMask({ set, width, height }, run) {
  const there = { set: set.map((label) => (label > 0 ? 1 : 0)), width, height };
  let points = null;
  if (count(there.set) >= (LEAST_SHARE / 4) * set.length) {
    const frame = around(there, { left: 0, top: 0, right: width, bottom: height });
    const planes = [0, 1, 2].map((part) => Float64Array.from(set, (label) => MASK_COLORS[label][part]));
    const { joints } = await looked("mask-reader", planes, width, height, frame, run, false);
    points = pointsOf(joints, frame, width, height);
  }
  return { points: points || JOINTS.map(() => [NaN, NaN]), labels: { set, width, height }, isRead: false };
}

// Frames half as wide as high that cover a photo: one, or several side by side.
function firstFrames(width, height) {
  if (width <= 0.7 * height) {
    const high = Math.max(height, 2 * width);
    const [top, middle] = [(height - high) / 2, width / 2];
    return [{ left: middle - high / 4, top, right: middle + high / 4, bottom: top + high }];
  }
  const number = Math.ceil((width - height / 2) / (height / 4)) + 1;
  return Array.from({ length: number }, (_, place) => {
    const left = ((width - height / 2) * place) / Math.max(number - 1, 1);
    return { left, top: 0, right: left + height / 2, bottom: height };
  });
}

// Logits of classes and joints in a frame, also seen mirrored; beyond a mask it is white.
async function looked(name, planes, width, height, { left, top, bottom }, run, isPhoto) {
  const scale = SIZE.height / (bottom - top);
  const places = SIZE.width * SIZE.height;
  const image = new Float32Array(3 * places);
  planes.forEach((plane, part) => {
    const source =
      scale < 0.6 ? blurred(plane, width, height, 0.35 / scale, true).map(roundEven) : plane;
    const border = isPhoto ? "last" : 255;
    const cut = moved(source, width, height, SIZE.width, SIZE.height, (x, y) => [
      (x + 0.5) / scale + left - 0.5,
      (y + 0.5) / scale + top - 0.5,
    ], border);
    cut.forEach((value, at) => (image[part * places + at] = roundEven(value) / 127.5 - 1));
  });
  const found = await run(name, mirroredToo(image, SIZE.width), 2, SIZE.width, SIZE.height);
  return {
    classes: bothWays(found.classes, (number) => number),
    joints: bothWays(found.joints, (number) => MIRRORED[number]),
  };
}

// The mean of planes (2, K, H, W) and their mirror images.
function bothWays({ data, dims: [, number, height, width] }, partner) {
  const places = width * height;
  const planes = new Float32Array(number * places);
  for (let plane = 0; plane < number; plane++) {
    const other = (number + partner(plane)) * places;
    for (let at = 0; at < places; at++) {
      const mirrored = data[other + at + width - 1 - 2 * (at % width)];
      planes[plane * places + at] = (data[plane * places + at] + mirrored) / 2;
    }
  }
  return { planes, count: number, width, height };
}

// A plane as it is seen at the places that `way` says, between four neighbours.
function moved(plane, width, height, newWidth, newHeight, way, beyond) {
  const at = (x, y) => {
    if (beyond === "last") return plane[clamp(y, 0, height - 1) * width + clamp(x, 0, width - 1)];
    return x < 0 || y < 0 || x >= width || y >= height ? beyond : plane[y * width + x];
  };
  const made = new Float64Array(newWidth * newHeight);
  for (let row = 0, place = 0; row < newHeight; row++) {
    for (let column = 0; column < newWidth; column++, place++) {
      const [x, y] = way(column, row).map((one) => Math.round(one * 32) / 32);
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [across, down] = [x - left, y - top];
      made[place] =
        (at(left, top) * (1 - across) + at(left + 1, top) * across) * (1 - down) +
        (at(left, top + 1) * (1 - across) + at(left + 1, top + 1) * across) * down;
    }
  }
  return made;
}

// How surely each place shows something other than the first class.
function notGround(planes, number, places) {
  return Float32Array.from({ length: places }, (_, at) => {
    let total = 0;
    for (let plane = 0; plane < number; plane++) total += Math.exp(planes[plane * places + at] - planes[at]);
    return 1 - 1 / total;
  });
}

// Where the largest connected person is.
function largest({ planes, count: number, width, height }) {
  const there = notGround(planes, number, width * height).map((share) => (share > 0.5 ? 1 : 0));
  const { parts, areas } = joinedParts(there, width, height);
  const best = areas.indexOf(Math.max(...areas));
  return { set: Uint8Array.from(parts, (part) => (areas.length > 1 && part === best ? 1 : 0)), width, height };
}

// The frame around somebody in a frame.
function around({ set, width, height }, { left, top, bottom }) {
  const scale = (bottom - top) / height;
  let [first, last, low, high] = [width, 0, height, 0];
  set.forEach((one, at) => {
    if (!one) return;
    [first, last] = [Math.min(first, at % width), Math.max(last, at % width)];
    [low, high] = [Math.min(low, Math.floor(at / width)), Math.max(high, Math.floor(at / width))];
  });
  const tall = Math.max((high + 1 - low) * scale, 2 * (last + 1 - first) * scale) * MARGIN;
  const [x, y] = [left + ((first + last + 1) / 2) * scale, top + ((low + high + 1) / 2) * scale];
  return { left: x - tall / 4, top: y - tall / 2, right: x + tall / 4, bottom: y + tall / 2 };
}

// Logits of a frame as they lie on the photo; beyond it is the background.
function laidBack({ planes, count: number, width: wide, height: high }, { left, top, bottom }, width, height) {
  const scale = high / (bottom - top);
  const made = new Float32Array(number * width * height);
  for (let plane = 0; plane < number; plane++) {
    const own = planes.subarray(plane * wide * high, (plane + 1) * wide * high);
    const way = (x, y) => [scale * (x + 0.5 - left) - 0.25, scale * (y + 0.5 - top) - 0.25];
    const laid = moved(own, wide, high, width, height, way, plane ? -OUTSIDE : OUTSIDE);
    made.set(laid, plane * width * height);
  }
  return made;
}

// Joints in shares of the picture, NaN where doubtful; null where too few are seen.
function pointsOf({ planes, count: number, width: wide, height: high }, { left, top, bottom }, width, height) {
  const stride = (bottom - top) / high;
  const places = wide * high;
  const found = Array.from({ length: number }, (_, joint) => {
    const plane = planes.subarray(joint * places, (joint + 1) * places);
    const most = plane.reduce((one, two) => Math.max(one, two), 0);
    const shares = Float64Array.from(plane, (value) => Math.exp(value - most));
    const whole = shares.reduce((sum, one) => sum + one, Math.exp(-most)); // the last one: nowhere
    const best = plane.indexOf(plane.reduce((one, two) => Math.max(one, two)));
    const [column, row] = [best % wide, Math.floor(best / wide)];
    let [total, x, y] = [0, 0, 0];
    for (let down = Math.max(row - 2, 0); down < Math.min(row + 3, high); down++) {
      for (let across = Math.max(column - 2, 0); across < Math.min(column + 3, wide); across++) {
        const share = shares[down * wide + across] / whole;
        total += share;
        x += share * across;
        y += share * down;
      }
    }
    return [left + (x / total + 0.5) * stride, top + (y / total + 0.5) * stride, total];
  });
  if (found.filter(([, , score]) => score > SEEN).length < LEAST_JOINTS) return null;
  return found.map(([x, y, score]) => (score > SURE ? [x / width, y / height] : [NaN, NaN]));
}

// A person on white in their frame, as the networks know people.
export function cutOut({ pixels, width, height }, { person, frame }, newWidth, newHeight) {
  const scale = newHeight / (frame.bottom - frame.top);
  const way = (x, y) => [(x + 0.5) / scale + frame.left - 0.5, (y + 0.5) / scale + frame.top - 0.5];
  const deviation = Math.max(0.35 / scale, 0.3);
  const seen = (plane, beyond) =>
    moved(scale < 0.6 ? blurred(plane, width, height, deviation) : plane, width, height, newWidth, newHeight, way, beyond);
  const share = seen(person, 0).map((one) => clamp((one - 0.3) / 0.4, 0, 1));
  const made = new Uint8ClampedArray(4 * newWidth * newHeight).fill(255);
  planesOf({ pixels }).forEach((plane, part) => {
    seen(plane, "last").forEach((value, at) => {
      made[4 * at + part] = value * share[at] + 255 * (1 - share[at]);
    });
  });
  return { pixels: made, width: newWidth, height: newHeight };
}

const LANDSCAPE_SIDES = [256, 160];
const LONGEST_LANDSCAPE = 4;
const SPECK = 0.002;
const SURELY_READ = 0.8; // share of a landscape's class

// What a landscape shows where, as high and wide as the photo.
export async function readLandscape(photo, run) {
  const { width, height } = photo;
  let whole = null;
  for (const side of LANDSCAPE_SIDES) {
    const [wide, high] = fitted(width, height, side, LONGEST_LANDSCAPE);
    const images = mirroredToo(seenPhoto(photo, wide, high), wide);
    const { data, dims } = (await run("landscape-reader", images, 2, wide, high)).classes;
    const found = bothWays({ data, dims }, (number) => number);
    if (!whole) {
      whole = { ...found, planes: found.planes.map((value) => 2 * value) };
      continue;
    }
    eachPlane(found, (plane, number) => {
      const laid = interpolated(plane, found.width, found.height, whole.width, whole.height, false);
      laid.forEach((value, at) => (whole.planes[number * whole.width * whole.height + at] += 2 * value));
    });
  }
  giveUpSpecks(whole);
  const planes = new Float32Array(whole.count * width * height);
  eachPlane(whole, (plane, number) => {
    planes.set(interpolated(plane, whole.width, whole.height, width, height, false), number * width * height);
  });
  const labels = { set: likeliest(planes, whole.count, width * height), width, height };
  const sure = nearestOf(surest(whole, 2 * LANDSCAPE_SIDES.length), whole.width, whole.height, width, height);
  return { points: [], labels, isRead: true, sure };
}

// Where one class has nearly all of the share; the planes are sums of so many logits.
function surest({ planes, count: number, width, height }, summed) {
  const places = width * height;
  return Uint8Array.from({ length: places }, (_, at) => {
    let [most, total] = [-Infinity, 0];
    for (let plane = 0; plane < number; plane++) most = Math.max(most, planes[plane * places + at]);
    for (let plane = 0; plane < number; plane++) total += Math.exp((planes[plane * places + at] - most) / summed);
    return 1 > SURELY_READ * total ? 1 : 0;
  });
}

function eachPlane({ planes, count: number, width, height }, use) {
  const places = width * height;
  for (let plane = 0; plane < number; plane++) use(planes.subarray(plane * places, (plane + 1) * places), plane);
}

// An image (3, H, W) and its mirror image, one after the other.
function mirroredToo(image, width) {
  const both = new Float32Array(2 * image.length);
  image.forEach((value, at) => {
    both[at] = value;
    both[image.length + at + width - 1 - 2 * (at % width)] = value;
  });
  return both;
}

// Let no class be the likeliest in a small piece.
function giveUpSpecks({ planes, count: number, width, height }) {
  const places = width * height;
  const best = likeliest(planes, number, places);
  const least = planes.reduce((one, two) => Math.min(one, two));
  for (const label of new Set(best)) {
    const { parts, areas } = joinedParts(best.map((one) => (one === label ? 1 : 0)), width, height);
    parts.forEach((part, at) => {
      if (part && areas[part] < SPECK * places) planes[label * places + at] = least;
    });
  }
}

function fitted(width, height, side, longest) {
  const scale = side / Math.min(width, height);
  return [width, height].map((length) => roundEven(Math.min(length * scale, longest * side) / 16) * 16);
}

// A photo as the networks take it, in -1..1.
function seenPhoto({ pixels, width, height }, wide, high) {
  const seen = planesOf({ pixels }).map((plane) => resampled(plane, width, height, wide, high, "cubic", true));
  return Float32Array.from(seen.flatMap((plane) => [...plane]), (value) => value / 127.5 - 1);
}

const LONGEST_FACE = 2;
const FACE_MIRRORED = [0, 1, 2, 3, 5, 4, 7, 6, 9, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18]; // parts by name

// The parts of a face in a photo. side: the shorter one that the network looks at.
export async function readFace(photo, run, side) {
  const [wide, high] = fitted(photo.width, photo.height, side, LONGEST_FACE);
  return readParts(seenPhoto(photo, wide, high), wide, high, run);
}

// The parts of a face in edges as they are encoded, (2, H, W).
export async function readEdges(encoded, width, height, run, side) {
  const [wide, high] = fitted(width, height, side, LONGEST_FACE);
  const places = wide * high;
  const [drawn, far] = [0, 1].map((plane) =>
    resampled(encoded.subarray(plane * width * height, (plane + 1) * width * height), width, height, wide, high, "linear"),
  );
  const seen = new Float32Array(3 * places).fill(1);
  for (let at = 0; at < places; at++) [seen[at], seen[places + at]] = [1 - 2 * drawn[at], 2 * far[at] - 1];
  return readParts(seen, wide, high, run);
}

async function readParts(image, width, height, run) {
  const found = (await run("face-reader", mirroredToo(image, width), 2, width, height)).classes;
  const both = bothWays(found, (number) => FACE_MIRRORED[number]);
  const planes = new Float32Array(both.count * width * height);
  eachPlane(both, (plane, label) => {
    planes.set(interpolated(plane, both.width, both.height, width, height, false), label * width * height);
  });
  return portraitOf({ set: likeliest(planes, both.count, width * height), width, height }, planes);
}
