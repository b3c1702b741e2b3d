// How a flow is held to regions: beyond what the exemplar shows of one, what it shows is mirrored.
//
// As in cocosnet_hf/conditions/reflection.py, whose constants and cases these are.

import { between, blurred, clamp, count, erodeDisc, nearestSet, openDisc, roundEven } from "./planes.js";

const INSIDE = 0.006;
const SMOOTH = 0.009;
const LEAST_INSIDE = 0.2;
const MIRRORS = [...Array(6).fill([2]), [1.7, 1.4], [1]];

// A flow {x, y} of width x height places, in cells of a grid {width, height}, that looks only at
// what each region may look at. regions: a number for each place; cores: of such a number the
// cores {may, continues} of `coreOf`. One that looks at nothing of the kind is NaN.
export function heldToRegions(flow, width, height, regions, cores, grid) {
  const held = { x: new Float64Array(width * height).fill(NaN), y: new Float64Array(width * height).fill(NaN) };
  const margin = roundEven(8 * SMOOTH * height) + 1;
  for (const [number, box] of boxesOf(regions, width, height)) {
    const [left, top] = [Math.max(box.left - margin, 0), Math.max(box.top - margin, 0)];
    const across = Math.min(box.right + margin + 1, width) - left;
    const down = Math.min(box.bottom + margin + 1, height) - top;
    const { may, continues } = cores(number);
    const there = new Uint8Array(across * down);
    let good = new Uint8Array(across * down);
    const fits = new Uint8Array(across * down);
    const part = { x: new Float64Array(across * down), y: new Float64Array(across * down) };
    for (let y = 0, at = 0; y < down; y++) {
      for (let x = 0; x < across; x++, at++) {
        const place = (top + y) * width + left + x;
        part.x[at] = flow.x[place];
        part.y[at] = flow.y[place];
        if (regions[place] !== number) continue;
        there[at] = 1;
        if (!isKnown(flow.x[place], grid.width) || !isKnown(flow.y[place], grid.height)) continue;
        const shares = [(flow.x[place] + 0.5) / grid.width, (flow.y[place] + 0.5) / grid.height];
        good[at] = leadsInto(may, ...shares) ? 1 : 0;
        fits[at] = good[at] && (continues === may || leadsInto(continues, ...shares)) ? 1 : 0;
      }
    }
    good = withoutCrumbs(good, across, down, height);
    if (!count(good)) continue;
    let source = good;
    if (continues !== may) {
      source = withoutCrumbs(good.map((one, at) => one & fits[at]), across, down, height);
      if (!count(source)) source = good;
    }
    const beyond = there.map((one, at) => one & (good[at] ^ 1));
    for (const mirrors of MIRRORS) {
      if (!count(beyond)) break;
      const { places, seen } = mirrored(source, beyond, across, down, mirrors, SMOOTH * height);
      // What this round finds is of use to the next one alone.
      source = there.map((one, at) => one & (beyond[at] ^ 1));
      places.forEach((at, number) => {
        if (seen[number] < 0) return;
        part.x[at] = part.x[seen[number]];
        part.y[at] = part.y[seen[number]];
        beyond[at] = 0;
        source[at] = 1;
      });
    }
    there.forEach((one, at) => {
      if (!one || beyond[at]) return;
      const place = (top + Math.floor(at / across)) * width + left + (at % across);
      held.x[place] = part.x[at];
      held.y[place] = part.y[at];
    });
  }
  return held;
}

// Beyond the exemplar there is nothing to see but its border, drawn out; of NaN nothing either.
const isKnown = (place, side) => Math.abs(place - (side - 1) / 2) <= side / 2;

function boxesOf(regions, width, height) {
  const boxes = new Map();
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let box = boxes.get(regions[at]);
      if (!box) boxes.set(regions[at], (box = { left: x, right: x, top: y, bottom: y }));
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.bottom = y;
    }
  }
  return [...boxes].sort(([one], [two]) => one - two);
}

// What is well inside of what an exemplar shows: {set, width, height}.
export function coreOf(set, width, height) {
  const core = erodeDisc(set, width, height, Math.max(roundEven(INSIDE * height), 1));
  const isThin = count(core) < LEAST_INSIDE * count(set);
  return { set: isThin ? set : core, width, height };
}

// Whether a place, in shares of the exemplar, lies in a core.
function leadsInto({ set, width, height }, x, y) {
  const [column, row] = [clamp(x * width - 0.5, 0, width - 1), clamp(y * height - 0.5, 0, height - 1)];
  return between(set, width, height, column, row) > 0.5;
}

// Without what is smaller than a few pixels, unless that is most of it.
function withoutCrumbs(good, width, height, whole) {
  const opened = openDisc(good, width, height, roundEven((INSIDE / 2) * whole));
  return 2 * count(opened) > count(good) ? opened : good;
}

// Of the places beyond the good ones which good one each sees in a mirror at their border, or -1.
function mirrored(good, beyond, width, height, mirrors, deviation) {
  const nearest = nearestSet(good, width, height);
  const ways = [new Float64Array(good.length), new Float64Array(good.length), new Float64Array(good.length)];
  const places = [];
  beyond.forEach((one, at) => {
    if (!one) return;
    places.push(at);
    ways[0][at] = (nearest[at] % width) - (at % width);
    ways[1][at] = Math.floor(nearest[at] / width) - Math.floor(at / width);
    ways[2][at] = 1;
  });
  const smooth = ways.map((one) => blurred(one, width, height, Math.max(deviation, 0.5)));
  const seen = places.map((at) => inMirror(at, smooth, ways, good, width, height, mirrors));
  return { places, seen };
}

// The good place that one beyond sees: by the smooth way to the border, or else by the plain one.
function inMirror(at, smooth, ways, good, width, height, mirrors) {
  const [x, y] = [at % width, Math.floor(at / width)];
  const [right, down] = [smooth[0][at] / smooth[2][at], smooth[1][at] / smooth[2][at]];
  for (const far of mirrors) {
    for (let way = 0; way < 2; way++) {
      const column = roundEven(x + far * (way ? ways[0][at] : right));
      const row = roundEven(y + far * (way ? ways[1][at] : down));
      const isInside = column >= 0 && column < width && row >= 0 && row < height;
      if (isInside && good[row * width + column]) return row * width + column;
    }
  }
  return -1;
}
