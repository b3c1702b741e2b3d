// How a body moves with its bones: where each place of one pose lies in another.
//
// Linear blend skinning (Magnenat-Thalmann et al. 1988) in two dimensions, as in
// cocosnet_hf/conditions/skinning.py, whose constants and cases these are.

import { clamp } from "./planes.js";

export const JOINTS = (
  "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle " +
  "l_hip l_knee l_ankle r_eye l_eye r_ear l_ear"
).split(" ");
const bones = (names) =>
  names.split(" ").map((pair) => pair.split("-").map((name) => JOINTS.indexOf(name)));
const joints = (names) => names.split(" ").map((name) => JOINTS.indexOf(name));

export const PERSON_CLASSES = (
  "background skin hair headwear eyewear top outerwear dress legwear_long skirt_shorts footwear bag accessory"
).split(" ");

export const LIMBS = bones(
  "neck-r_shoulder neck-l_shoulder r_shoulder-r_elbow r_elbow-r_wrist l_shoulder-l_elbow " +
    "l_elbow-l_wrist neck-r_hip r_hip-r_knee r_knee-r_ankle neck-l_hip l_hip-l_knee " +
    "l_knee-l_ankle neck-nose nose-r_eye r_eye-r_ear nose-l_eye l_eye-l_ear",
);
export const MIRRORED = JOINTS.map((name) =>
  JOINTS.indexOf(name.replace(/^[rl]_/, (side) => (side === "r_" ? "l_" : "r_"))),
);

const HEAD = joints("nose r_eye l_eye r_ear l_ear neck");
const TRUNK = joints("neck r_shoulder l_shoulder r_hip l_hip");
const UPPER_ARMS = bones("r_shoulder-r_elbow l_shoulder-l_elbow");
const FOREARMS = bones("r_elbow-r_wrist l_elbow-l_wrist");
const THIGHS = bones("r_hip-r_knee l_hip-l_knee");
const SHINS = bones("r_knee-r_ankle l_knee-l_ankle");
export const LIMBS_OF_SKIN = [
  HEAD.slice(0, -1).map((joint) => [joint, joint]),
  [...UPPER_ARMS, ...FOREARMS],
  [...THIGHS, ...SHINS],
];

export const ARMS = UPPER_ARMS.map((bone, side) => [bone, FOREARMS[side]]);
export const LIMBS_OF_FIGURE = [
  HEAD.slice(1).map((joint) => [HEAD[0], joint]),
  TRUNK.slice(1).map((joint) => [TRUNK[0], joint]),
  ...ARMS,
  ...THIGHS.map((bone, side) => [bone, SHINS[side]]),
];

export const TALLNESS = 1.1;
const SHORTEST = 0.07;
export const SOFTNESS = 0.012;
export const LIMB = 0.03;
export const BESIDE = 0.08;
export const GROUND = 0.2;
const HAND_OR_FOOT = 0.4;
const MOST_STEPS = 40;
const MOST_GROWTH = 1.5;
const STRAIGHTNESS = 0.3;

const isOf = (bone, list) => list.some(([from, to]) => from === bone[0] && to === bone[1]);
export const isSeen = ([x]) => !Number.isNaN(x);
const times = ([a, b], [c, d]) => [a * c - b * d, a * d + b * c];
const minus = ([a, b], [c, d]) => [a - c, b - d];
const over = ([a, b], [c, d]) => [(a * c + b * d) / (c * c + d * d), (b * c - a * d) / (c * c + d * d)];
const length = ([x, y]) => Math.hypot(x, y);

// Points in shares of a picture in the cells of a grid of this size.
export const inCells = (points, width, height) =>
  points.map(([x, y]) => [x * width - 0.5, y * height - 0.5]);

// Bones of a pose as numbers, six each: start, way along, 1 / its square, how far they go on.
function drawnBones(pose, bones) {
  const numbers = new Float64Array(6 * bones.length);
  bones.forEach((bone, at) => {
    const [start, end] = bone.map((joint) => pose[joint]);
    const [alongX, alongY] = minus(end, start);
    const whole = alongX * alongX + alongY * alongY;
    const reach = isOf(bone, [...FOREARMS, ...SHINS]) ? 1 + HAND_OR_FOOT : 1;
    numbers.set([start[0], start[1], alongX, alongY, whole ? 1 / whole : 0, reach], 6 * at);
  });
  return numbers;
}

// How far a place is from a bone, and the way there in `off`.
const off = new Float64Array(2);
function farFromBone(bones, at, x, y) {
  const [alongX, alongY] = [bones[at + 2], bones[at + 3]];
  let share = ((x - bones[at]) * alongX + (y - bones[at + 1]) * alongY) * bones[at + 4];
  share = share < 0 ? 0 : share > bones[at + 5] ? bones[at + 5] : share;
  const right = x - bones[at] - share * alongX;
  const down = y - bones[at + 1] - share * alongY;
  off[0] = right;
  off[1] = down;
  return Math.sqrt(right * right + down * down);
}

export function farFrom(bones, x, y) {
  let least = Infinity;
  for (let at = 0; at < bones.length; at += 6) {
    const far = farFromBone(bones, at, x, y);
    if (far < least) least = far;
  }
  return least;
}

// A function of a place: the number of the group that has the bone nearest to it, 0 where all are
// missing, and how far that is.
export function nearestBone(pose, groups) {
  const drawn = groups.map((group) =>
    drawnBones(pose, group.filter((bone) => bone.every((joint) => isSeen(pose[joint])))),
  );
  return (x, y) => {
    let [best, least] = [0, Infinity];
    drawn.forEach((bones, number) => {
      const far = farFrom(bones, x, y);
      if (far < least) [best, least] = [number, far];
    });
    return [best, least];
  };
}

// Where each cell of a grid lies in the exemplar: {x, y}, NaN where nothing is known.
// pose, exemplarPose: 18 points in cells of either grid, NaN where missing.
export function skinnedFlow(pose, exemplarPose, width, height) {
  return movedBy(movedPlace, pose, exemplarPose, width, height);
}

// The same by a function of two bodies and a place: {place}, {place, way, least} of one that is to
// be moved on to the ground, null where nothing is known.
export function movedBy(movedPlace, pose, exemplarPose, width, height) {
  const x = new Float64Array(width * height).fill(NaN);
  const y = new Float64Array(width * height).fill(NaN);
  const parts = partsOf(pose, exemplarPose);
  if (!parts.length) return { x, y };
  const body = bodyOf(pose, exemplarPose, parts);
  const onGround = [];
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      const found = movedPlace(body, column, row);
      if (found) [x[at], y[at]] = found.place;
      if (found?.way) onGround.push({ at, ...found });
    }
  }
  const step = onGround.reduce((least, one) => Math.min(least, one.least), Infinity) / 8;
  for (const one of onGround) [x[one.at], y[one.at]] = outside(parts, one, step);
  return { x, y };
}

function bodyOf(pose, exemplarPose, parts) {
  const [tall, exemplarTall] = [pose, exemplarPose].map((one) => {
    const rows = one.filter(isSeen).map(([, y]) => y);
    return TALLNESS * (Math.max(...rows) - Math.min(...rows));
  });
  for (const part of parts) {
    const first = part.bones[0];
    part.isArm = isOf(first, [...UPPER_ARMS, ...FOREARMS]);
    part.isThigh = isOf(first, THIGHS);
    part.isLeg = part.isThigh || isOf(first, SHINS);
    const side = JOINTS[first[0]].slice(0, 2);
    part.limb = part.isArm ? `${side}arm` : part.isLeg ? `${side}leg` : String(first);
    part.isLeft = JOINTS[first[0]].startsWith("l_");
    part.own = drawnBones(pose, part.bones);
    part.other = drawnBones(exemplarPose, part.bones);
  }
  // Half way between two shins there is nothing; between two thighs there may be a skirt.
  const apart = parts.map((one) =>
    parts.map((two) =>
      one.isLeg && two.isLeg && one.isLeft !== two.isLeft && !(one.isThigh && two.isThigh),
    ),
  );
  const away = new Float64Array(parts.length);
  return { pose, parts, tall, exemplarTall, apart, away };
}

function movedPlace({ parts, tall, exemplarTall, apart, away }, x, y) {
  let [own, closest] = [0, Infinity];
  for (let number = 0; number < parts.length; number++) {
    away[number] = farFrom(parts[number].own, x, y);
    if (away[number] < closest) [own, closest] = [number, away[number]];
  }
  const part = parts[own];
  let [total, movedX, movedY] = [0, 0, 0];
  for (let number = 0; number < parts.length; number++) {
    if (apart[number][own]) continue;
    const share = Math.exp((closest - away[number]) / (SOFTNESS * tall));
    if (share < 1e-12) continue;
    const { a, b, c } = parts[number];
    total += share;
    movedX += share * (a[0] * x - a[1] * y + b[0] * x + b[1] * y + c[0]);
    movedY += share * (a[1] * x + a[0] * y + b[1] * x - b[0] * y + c[1]);
  }
  movedX /= total;
  movedY /= total;
  let nearest = Infinity;
  for (const one of parts) nearest = Math.min(nearest, farFrom(one.other, movedX, movedY));
  let hidden = nearest < farFrom(part.other, movedX, movedY) - SOFTNESS * exemplarTall;
  // Before the trunk, or before the other leg, whose trouser is its like.
  if ((part.isArm || part.isLeg) && closest < LIMB * tall) hidden = false;
  const far = closest > BESIDE * tall;
  // A blend of two parts' ways may lead into the body.
  if (far && nearest / exemplarTall < closest / tall / 2) hidden = true;
  const place = [movedX, movedY];
  if (!hidden) return { place };
  // Between an arm and the trunk or a thigh there may be a coat or a skirt.
  const free = parts.every((one, number) => one.isArm || away[number] > BESIDE * tall);
  let second = own;
  away.forEach((one, number) => {
    if (number !== own && (second === own || one < away[second])) second = number;
  });
  const isGround =
    (part.isLeg || (part.isArm && free) || far) &&
    (far || !(part.isThigh && parts[second].isThigh));
  if (!isGround) return null;
  const least = exemplarTall * Math.max(closest / tall, GROUND);
  return { place, way: outwards(part.other, movedX, movedY), least };
}

export function moved({ a, b, c }, x, y) {
  return [
    a[0] * x - a[1] * y + b[0] * x + b[1] * y + c[0],
    a[1] * x + a[0] * y + b[1] * x - b[0] * y + c[1],
  ];
}

// The way from a part's bones to a place, of length 1.
export function outwards(bones, x, y) {
  let [way, least] = [null, Infinity];
  for (let at = 0; at < bones.length; at += 6) {
    const far = farFromBone(bones, at, x, y);
    if (far < least) [way, least] = [[...off], far];
  }
  return way.map((one) => one / Math.max(least, 1e-9));
}

// A place moved along its way, by no less than a step, until all of the body is as far as it says.
function outside(parts, { place, way, least }, shortest) {
  let [x, y] = place;
  for (let times = 0; times < MOST_STEPS; times++) {
    let nearest = Infinity;
    for (const part of parts) nearest = Math.min(nearest, farFrom(part.other, x, y));
    const missing = least - nearest;
    if (!(missing > 0)) break;
    const far = Math.max(missing, shortest);
    x += way[0] * far;
    y += way[1] * far;
  }
  return [x, y];
}

const middleOf = (points) =>
  [0, 1].map((axis) => points.reduce((sum, one) => sum + one[axis], 0) / points.length);

function extentOf(points) {
  const middle = middleOf(points);
  const spread = points.reduce((sum, one) => sum + length(minus(one, middle)) ** 2, 0);
  return Math.sqrt(spread / points.length);
}

// The parts that both poses show: places z go to a z + b z* + c.
function partsOf(pose, exemplar) {
  const seen = JOINTS.map((_, joint) => isSeen(pose[joint]) && isSeen(exemplar[joint]));
  if (seen.filter(Boolean).length < 2) return [];
  const [extent, otherExtent] = [pose, exemplar].map((one) =>
    extentOf(one.filter((_, joint) => seen[joint])),
  );
  if (!(Math.min(extent, otherExtent) > 0)) return [];
  const overall = otherExtent / extent;
  const parts = [];
  for (const names of [HEAD, TRUNK]) {
    const own = names.filter((joint) => seen[joint]);
    if (own.length < 2) continue;
    const [ours, theirs] = [pose, exemplar].map((one) => own.map((joint) => one[joint]));
    const fit = fitted(ours, theirs, overall, names === TRUNK);
    parts.push({ bones: own.slice(1).map((joint) => [own[0], joint]), ...fit });
  }
  for (const [start, end] of [...UPPER_ARMS, ...FOREARMS, ...THIGHS, ...SHINS]) {
    if (!seen[start] || !seen[end]) continue;
    const [along, other] = [minus(pose[end], pose[start]), minus(exemplar[end], exemplar[start])];
    if (Math.min(length(along) / extent, length(other) / otherExtent) < SHORTEST) continue;
    // Along the limb as its length says, to its sides as the whole body.
    const stretch = length(other) / length(along);
    const turn = over(other, along).map((one) => one / stretch);
    const product = times(other, along);
    const mirror = product.map((one) => one / length(product));
    const a = turn.map((one) => (one * (stretch + overall)) / 2);
    const b = mirror.map((one) => (one * (stretch - overall)) / 2);
    const [x, y] = pose[start];
    const c = minus(exemplar[start], moved({ a, b, c: [0, 0] }, x, y));
    parts.push({ bones: [[start, end]], a, b, c });
  }
  return parts;
}

// The similarity from points to others; or an affine map near it.
function fitted(own, other, overall, mayStretch) {
  const [middle, otherMiddle] = [middleOf(own), middleOf(other)];
  const [z, w] = [own.map((one) => minus(one, middle)), other.map((one) => minus(one, otherMiddle))];
  const size = z.reduce((sum, one) => sum + length(one) ** 2, 0);
  const turn = [0, 0];
  z.forEach(([x, y], number) => {
    const [right, down] = times(w[number], [x, -y]);
    turn[0] += right / Math.max(size, 1e-9);
    turn[1] += down / Math.max(size, 1e-9);
  });
  // Few joints close together: how large it is, the whole body says as well.
  const scale = clamp(length(turn), overall / MOST_GROWTH, overall * MOST_GROWTH);
  let a = turn.map((one) => (one / Math.max(length(turn), 1e-9)) * scale);
  let b = [0, 0];
  if (mayStretch && own.length >= 4) {
    // Least squares of a z + b z* = w in real numbers, held to the similarity.
    const hold = Math.sqrt((STRAIGHTNESS * size) / own.length);
    const rows = [];
    z.forEach(([x, y], number) => {
      rows.push([x, -y, x, y, w[number][0]], [y, x, -y, x, w[number][1]]);
    });
    [a[0], a[1], 0, 0].forEach((wanted, column) => {
      const row = [0, 0, 0, 0, hold * wanted];
      row[column] = hold;
      rows.push(row);
    });
    const fit = leastSquares(rows, 4);
    [a, b] = [fit.slice(0, 2), fit.slice(2)];
  }
  const [x, y] = moved({ a, b, c: [0, 0] }, ...middle);
  return { a, b, c: [otherMiddle[0] - x, otherMiddle[1] - y] };
}

// Of rows [...coefficients, wanted] the numbers that fit best.
function leastSquares(rows, unknowns) {
  const system = Array.from({ length: unknowns }, (_, one) =>
    Array.from({ length: unknowns + 1 }, (_, two) =>
      rows.reduce((sum, row) => sum + row[one] * row[two], 0),
    ),
  );
  return solved(system).map(([value]) => value);
}

// Rows [...coefficients, ...wanted] -> what is wanted of each unknown, by elimination.
export function solved(system) {
  const size = system.length;
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(system[row][column]) > Math.abs(system[pivot][column])) pivot = row;
    }
    [system[column], system[pivot]] = [system[pivot], system[column]];
    const own = system[column];
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const share = system[row][column] / own[column];
      if (!share) continue;
      for (let at = column; at < own.length; at++) system[row][at] -= share * own[at];
    }
  }
  return system.map((row, at) => row.slice(size).map((value) => value / row[at]));
}
