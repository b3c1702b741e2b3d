// How a pose is guided where the exemplar's figure was seen: each limb shows what belongs to it.
//
// As in cocosnet_hf/conditions/posed.py, whose constants and cases these are.

import { clamp, dilateSquare, erodeSquare, roundEven } from "./planes.js";
import { coreOf, heldToRegions } from "./reflection.js";
import {
  ARMS, BESIDE, GROUND, JOINTS, LIMB, LIMBS_OF_FIGURE, PERSON_CLASSES, SOFTNESS, TALLNESS,
  farFrom, inCells, isSeen, moved, movedBy, nearestBone, outwards,
} from "./skinning.js";

const numbers = (names) => names.split(" ").map((name) => PERSON_CLASSES.indexOf(name));
const SKIRTS = numbers("outerwear dress skirt_shorts");
const [SKIN] = numbers("skin");
const ON_ANY_ARM = numbers("background skin bag accessory");
const ELBOWS = ARMS.map(([[, elbow]]) => elbow);
const KNEES = ["r_knee", "l_knee"].map((name) => JOINTS.indexOf(name));
// Regions of what may show anything, and of what lies beyond the exemplar's frame and is ground: its
// border would be drawn out to a stripe, of a shoe as well.
const [AS_IT_IS, BEYOND] = [-1, -2];
const WORN = 0.1;
const RIM = 0.006;
const ALONG = 50;
const SHARPNESS = 4;
const ELBOW = 0.027;
const REACH = 0.15;

// What is worn where in an exemplar, by places in the cells of a grid.
function figureOf({ points, labels: { set, width, height } }, grid) {
  const at = (plane, x, y) => {
    const column = clamp(roundEven(((x + 0.5) / grid.width) * width - 0.5), 0, width - 1);
    const row = clamp(roundEven(((y + 0.5) / grid.height) * height - 0.5), 0, height - 1);
    return plane[row * width + column];
  };
  const isSkirt = (x, y) => SKIRTS.includes(at(set, x, y));
  const joints = inCells(points, grid.width, grid.height);
  const [right, left] = KNEES.map((knee) => joints[knee]);
  const isBetween = isSeen(right) && isSeen(left);
  const hasSkirt = isBetween && isSkirt((right[0] + left[0]) / 2, (right[1] + left[1]) / 2);
  const border = roundEven(RIM * height);
  const there = Uint8Array.from(set, (label) => (label > 0 ? 1 : 0));
  const inside = erodeSquare(there, width, height, border);
  const strange = ARMS.map((arm) => {
    const counts = new Float64Array(PERSON_CLASSES.length);
    let total = 0;
    for (const [start, end] of arm.map((bone) => bone.map((joint) => joints[joint]))) {
      if (!isSeen(start) || !isSeen(end)) continue;
      for (let step = 0; step < ALONG; step++, total++) {
        const share = step / (ALONG - 1);
        const [x, y] = [0, 1].map((axis) => start[axis] + (end[axis] - start[axis]) * share);
        counts[at(set, x, y)]++;
      }
    }
    const isWorn = [...counts].map((one, label) => one >= WORN * total || ON_ANY_ARM.includes(label));
    const others = Uint8Array.from(set, (label) => (isWorn[label] ? 0 : 1));
    const near = dilateSquare(others, width, height, border);
    return near.map((one, place) => one & (there[place] && !others[place] ? 0 : 1));
  });
  const armOf = ([from, to]) => ARMS.findIndex((arm) => arm.some((bone) => bone[0] === from && bone[1] === to));
  return {
    inside,
    hasSkirt,
    isSkirt,
    isSkin: (x, y) => at(set, x, y) === SKIN,
    isInside: (x, y) => at(inside, x, y) > 0,
    isStrange: (bone, x, y) => at(strange[armOf(bone)], x, y) > 0,
  };
}

export function posedGuide(own, exemplar, grid) {
  const { width: wide, height: high } = exemplar.labels;
  const figure = figureOf(exemplar, grid);
  const other = inCells(exemplar.points, grid.width, grid.height);
  const person = { set: figure.inside, width: wide, height: high };
  const everything = { set: new Uint8Array(wide * high).fill(1), width: wide, height: high };
  const ground = coreOf(exemplar.labels.set.map((label) => (label === 0 ? 1 : 0)), wide, high);
  const shown = new Map([[AS_IT_IS, everything], [BEYOND, ground]]);
  const cores = (region) => {
    const core = shown.get(region) || person;
    return { may: core, continues: core };
  };
  return (width, height) => {
    const pose = inCells(own.points, width, height);
    const place = (bodies, x, y) => posedPlace(bodies, figure, x, y);
    const flow = movedBy(place, pose, other, width, height);
    const rows = pose.filter(isSeen).map(([, y]) => y);
    const near = LIMB * TALLNESS * (Math.max(...rows) - Math.min(...rows));
    const limbAt = nearestBone(pose, LIMBS_OF_FIGURE);
    const regions = new Int32Array(width * height);
    for (let at = 0; at < regions.length; at++) {
      const [x, y] = [clamp(flow.x[at], -0.5, grid.width - 0.5), clamp(flow.y[at], -0.5, grid.height - 0.5)];
      const isBeyond = !Number.isNaN(x) && (x !== flow.x[at] || y !== flow.y[at]);
      [flow.x[at], flow.y[at]] = [x, y];
      const [limb, far] = limbAt(at % width, Math.floor(at / width));
      // Only the middle of a limb is continued, and what is known stays as it is.
      const isGround = !Number.isNaN(x) && !figure.isInside(x, y);
      regions[at] = isBeyond ? BEYOND : far > near || isGround ? AS_IT_IS : limb;
    }
    return heldToRegions(flow, width, height, regions, cores, grid);
  };
}

function posedPlace(bodies, figure, x, y) {
  const { parts, tall, exemplarTall, away } = bodies;
  let own = 0;
  parts.forEach((one, number) => {
    away[number] = farFrom(one.own, x, y);
    if (away[number] < away[own]) own = number;
  });
  const [part, closest, softness] = [parts[own], away[own], SOFTNESS * exemplarTall];
  const { place, inSkirt } = movedWithParts(bodies, figure, own, x, y);
  const nearest = nearestPart(parts, ...place);
  let hidden = nearest.far < farFrom(part.other, ...place) - softness;
  // Before the trunk, or before the other leg, whose trouser is its like.
  if ((part.isArm || part.isLeg) && closest < LIMB * tall) hidden = false;
  if (inSkirt && nearest.part.isLeg) hidden = false;
  if (part.isArm && figure.isStrange(part.bones[0], ...place)) hidden = true;
  const bare = part.isArm && !hidden && !figure.isInside(...place);
  const bent = part.isArm && isBeyondElbow(bodies, x, y, closest);
  const far = closest > BESIDE * tall;
  // A blend of two parts' ways may lead into the body, as that of a skirt should.
  const isWithin = !inSkirt && nearest.far / exemplarTall < closest / tall / 2;
  if (bent || (far && isWithin)) hidden = true;
  if (!hidden && !bare) return { place };
  // Between an arm and the trunk or a thigh there may be a coat or a skirt.
  const free = parts.every((one, number) => one.isArm || away[number] > BESIDE * tall);
  const second = parts[nextBest(away, (number) => number !== own) ?? own];
  const onGround = () => {
    const least = exemplarTall * Math.max(closest / tall, GROUND);
    return { place, way: outwards(part.other, ...place), least };
  };
  const isBeside = part.isLeg || (part.isArm && free) || far;
  if (hidden && !bent && isBeside && (far || !(part.isThigh && second.isThigh))) return onGround();
  const behind = nextBest(away, (number) => parts[number].limb !== part.limb && !parts[number].isArm);
  if (behind !== null && away[behind] < REACH * tall) {
    const other = moved(parts[behind], x, y);
    const limb = parts.filter((one) => one.limb === parts[behind].limb);
    const isSeenThere = nearestPart(limb, ...other).far <= nearestPart(parts, ...other).far + softness;
    // In the place of the ground, cloth that is nearer to an arm there is cloth all the same.
    const shows = isSeenThere || ((bare || bent) && !figure.isSkin(...other));
    if (shows && (!(bare || bent) || figure.isInside(...other))) return { place: other };
  }
  if (!hidden) return { place };
  return part.isArm && (bent || closest > LIMB * tall) ? onGround() : null;
}

// Where a place goes with the parts near it, and whether it is of a skirt.
function movedWithParts({ parts, tall, apart, away }, figure, own, x, y) {
  const [plain, joined] = [[0, 0, 0], [0, 0, 0]];
  parts.forEach((one, number) => {
    const sharp = 1 + SHARPNESS * (1 - turnOf(one, parts[own]));
    const share = Math.exp(((away[own] - away[number]) * sharp) / (SOFTNESS * tall));
    if (share < 1e-12) return;
    const [toX, toY] = moved(one, x, y);
    for (const sums of apart[number][own] ? [joined] : [plain, joined]) {
      sums[0] += share * toX;
      sums[1] += share * toY;
      sums[2] += share;
    }
  });
  const [place, together] = [plain, joined].map(([toX, toY, total]) => [toX / total, toY / total]);
  const inSkirt = figure.hasSkirt && parts[own].isLeg && figure.isSkirt(...together);
  return { place: inSkirt ? together : place, inSkirt };
}

// The cosine between the ways that two parts turn.
const turnOf = ({ a: one }, { a: two }) =>
  (one[0] * two[0] + one[1] * two[1]) / (Math.hypot(...one) * Math.hypot(...two));

function nearestPart(parts, x, y) {
  let found = { part: parts[0], far: Infinity };
  for (const part of parts) {
    const far = farFrom(part.other, x, y);
    if (far < found.far) found = { part, far };
  }
  return found;
}

function nextBest(away, counts) {
  let best = null;
  away.forEach((one, number) => {
    if (counts(number) && (best === null || one < away[best])) best = number;
  });
  return best;
}

// Whether a place lies outside of the bend of an elbow, where an arm has ended.
function isBeyondElbow({ pose, tall }, x, y, closest) {
  if (closest <= ELBOW * tall) return false;
  return ELBOWS.some((elbow) => {
    const [toX, toY] = pose[elbow];
    return Math.hypot(x - toX, y - toY) <= closest + (SOFTNESS / 4) * tall;
  });
}
