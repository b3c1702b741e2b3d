// Where each place of a layout likely lies in the exemplar, by what both show.
//
// As in cocosnet_hf/conditions: pose.py, posed.py, dressed.py, regions.py and portraits.py. A guide is a
// function of (width, height) that returns {x, y} in cells of the exemplar's grid {width, height},
// NaN where nothing is known. Layouts and exemplars are {points, labels: {set, width, height},
// isRead, sure}: points in shares of the picture, labels a class for each pixel, sure where a network
// that read them had little doubt.

import {
  blurred, clamp, count, erodeSquare, interpolated, joinedParts, nearestOf, nearestSet, roundEven,
} from "./planes.js";
import { posedGuide } from "./posed.js";
import { coreOf, heldToRegions } from "./reflection.js";
import { LIMBS_OF_SKIN, PERSON_CLASSES, inCells, nearestBone, skinnedFlow, solved } from "./skinning.js";

export const GUIDES = { pose: poseGuide, person: dressedGuide, regions: regionGuide, portrait: portraitGuide };

function poseGuide(own, exemplar, grid) {
  return exemplar.labels ? posedGuide(own, exemplar, grid) : skinnedGuide(own, exemplar, grid);
}

function skinnedGuide(own, exemplar, grid) {
  const other = inCells(exemplar.points, grid.width, grid.height);
  return (width, height) => skinnedFlow(inCells(own.points, width, height), other, width, height);
}

const numbers = (names) => names.split(" ").map((name) => PERSON_CLASSES.indexOf(name));
const ONE_HEAD = numbers("skin hair headwear eyewear");
const ON_HEAD = numbers("hair headwear");
const SMALL = numbers("eyewear accessory");
const TAKEN_FOR_ANOTHER = [numbers("top outerwear dress"), numbers("dress skirt_shorts")];
const SKIN = 1;
const LEAST_WORN = 0.0005;
const LEAST_SEEN = 0.008;
const UNSURE = 0.01;

function dressedGuide(own, exemplar, grid) {
  const moved = skinnedGuide(own, exemplar, grid);
  const cores = remembered((region) => dressedCores(Math.floor(region / LIMBS_OF_SKIN.length), exemplar));
  return (width, height) => {
    const asked = atSize(own.labels, width, height);
    const pose = inCells(own.points, width, height);
    const limbAt = nearestBone(pose, LIMBS_OF_SKIN);
    const regions = Int32Array.from(asked, (label, at) => {
      const limb = label === SKIN ? limbAt(at % width, Math.floor(at / width))[0] : 0;
      return label * LIMBS_OF_SKIN.length + limb;
    });
    return heldToRegions(moved(width, height), width, height, regions, cores, grid);
  };
}

function remembered(made) {
  const known = new Map();
  return (key) => {
    if (!known.has(key)) known.set(key, made(key));
    return known.get(key);
  };
}

// Of what an exemplar may show where a class is asked for, and of what continues that.
function dressedCores(asked, { labels, isRead }) {
  const { set, width, height } = labels;
  const [shown, like] = [shownFor(asked, labels, isRead), likeOf(asked, isRead)];
  let may = set.map((label) => (shown.includes(label) ? 1 : 0));
  if (asked === 0 && isRead) {
    may = erodeSquare(may, width, height, Math.max(roundEven(UNSURE * height), 1));
    const core = coreOf(may, width, height);
    return { may: core, continues: core };
  }
  const core = coreOf(may, width, height);
  const continues = set.map((label) => (like.includes(label) ? 1 : 0));
  const isSame = continues.every((one, at) => one === may[at]);
  return { may: core, continues: isSame ? core : coreOf(continues, width, height) };
}

// The classes of an exemplar that may be shown where one is asked for.
function shownFor(asked, { set }, isRead) {
  if (asked === 0) return [0];
  const heads = [ON_HEAD, ONE_HEAD].find((group) => group.includes(asked)) || [];
  const alike = new Set([...likeOf(asked, isRead), ...heads]);
  const worn = set.map((label) => (alike.has(label) && !SMALL.includes(label) ? 1 : 0));
  const isWorn = count(worn) / set.length >= (isRead ? LEAST_SEEN : LEAST_WORN);
  if (SMALL.includes(asked) || !isWorn) {
    // Of all there is, cloth comes nearest to cloth, and to hair.
    const mayBeBare = ONE_HEAD.includes(asked) && !ON_HEAD.includes(asked);
    return PERSON_CLASSES.map((_, number) => number).slice(mayBeBare ? SKIN : SKIN + 1);
  }
  return [...new Set([...alike, ...SMALL])];
}

// The class that is asked for, and those that it is mistaken for.
const likeOf = (asked, isRead) => [
  asked,
  ...TAKEN_FOR_ANOTHER.filter((group) => isRead && group.includes(asked)).flat(),
];

const LEAST = 0.003;
const SMALL_PART = 0.02;
const MIDDLE = [5, 95];
const MOST_STRETCH = 1.5;

const countOf = (set, number) => set.reduce((sum, label) => sum + (label === number ? 1 : 0), 0);

// Labels whose small parts of classes that are not known have the nearest other one.
function withoutSmallParts({ set, width, height }, known) {
  const leftOut = new Uint8Array(set.length);
  for (const number of new Set(set)) {
    if (known.has(number)) continue;
    const { parts, areas } = joinedParts(set.map((label) => (label === number ? 1 : 0)), width, height);
    parts.forEach((part, at) => (leftOut[at] |= part && areas[part] <= SMALL_PART * set.length ? 1 : 0));
  }
  const left = count(leftOut);
  if (!left || left === set.length) return { set, width, height };
  const nearest = nearestSet(leftOut.map((one) => one ^ 1), width, height);
  return { set: set.map((label, at) => (leftOut[at] ? set[nearest[at]] : label)), width, height };
}

// kin: the classes that one looks at where its own is missing, by number, the best first.
function regionGuide(own, exemplar, grid, kin = {}) {
  const { set, width: wide, height: high } = exemplar.labels;
  const known = new Set([...new Set(set)].filter((number) => countOf(set, number) >= LEAST * set.length));
  const labels = withoutSmallParts(own.labels, known);
  const shown = remembered((asked) => {
    for (const number of [asked, ...(kin[asked] || [])]) {
      const there = set.map((label) => (label === number ? 1 : 0));
      if (asked >= 0 && count(there) / set.length >= LEAST) return surely(there, exemplar);
    }
    return null;
  });
  const none = new Uint8Array(set.length);
  const cores = remembered((asked) => {
    const core = coreOf(shown(asked) || none, wide, high);
    return { may: core, continues: core };
  });
  return (width, height) => {
    const asked = atSize(labels, width, height);
    const flow = { x: new Float64Array(asked.length).fill(NaN), y: new Float64Array(asked.length).fill(NaN) };
    for (const number of new Set(asked)) {
      const seen = shown(number);
      if (!seen) continue;
      const there = asked.map((label) => (label === number ? 1 : 0));
      const [columns, rows] = [false, true].map((downwards) =>
        laid({ set: there, width, height }, { set: seen, width: wide, height: high }, downwards, grid),
      );
      there.forEach((one, at) => {
        if (one) [flow.x[at], flow.y[at]] = [columns[at % width], rows[Math.floor(at / width)]];
      });
    }
    return heldToRegions(flow, width, height, asked, cores, grid);
  };
}

// Where each row or column of a region lies in the exemplar's region, in cells of its grid.
function laid(there, seen, downwards, grid) {
  // In heights of the pictures, whose aspects may differ.
  const [[low, high], [otherLow, otherHigh]] = [there, seen].map((one) => percentiles(one, downwards));
  const wanted = (otherHigh - otherLow) / Math.max(high - low, 1 / there.height);
  const stretch = clamp(wanted, 1 / MOST_STRETCH, MOST_STRETCH);
  const side = downwards ? there.height : there.width;
  const unit = downwards ? grid.height : (seen.height / seen.width) * grid.width;
  return Array.from({ length: side }, (_, place) => {
    const at = ((place + 0.5) / there.height - (low + high) / 2) * stretch + (otherLow + otherHigh) / 2;
    return at * unit - 0.5;
  });
}

function percentiles({ set, width, height }, downwards) {
  const histogram = new Float64Array(downwards ? height : width);
  set.forEach((one, at) => {
    if (one) histogram[downwards ? Math.floor(at / width) : at % width]++;
  });
  const places = count(set);
  const valueAt = (rank) => {
    let passed = 0;
    for (let place = 0; place < histogram.length; place++) {
      passed += histogram[place];
      if (rank < passed) return (place + 0.5) / height;
    }
    return (histogram.length - 0.5) / height;
  };
  return MIDDLE.map((percent) => {
    const rank = (percent / 100) * (places - 1);
    const [lower, upper] = [valueAt(Math.floor(rank)), valueAt(Math.ceil(rank))];
    return lower + (upper - lower) * (rank - Math.floor(rank));
  });
}

const STEPS = 0.5;

// Labels at another size, to the nearest pixel; made larger, with smooth borders.
function atSize({ set, width, height }, newWidth, newHeight) {
  if (newHeight <= height || newWidth <= width) {
    return nearestOf(set, width, height, newWidth, newHeight);
  }
  const best = new Float64Array(newWidth * newHeight);
  const larger = new set.constructor(newWidth * newHeight);
  for (const number of [...new Set(set)].sort((one, two) => one - two)) {
    // Without the blur a slanting border would keep its steps.
    const there = blurred(set.map((label) => (label === number ? 1 : 0)), width, height, STEPS);
    interpolated(there, width, height, newWidth, newHeight, true).forEach((share, at) => {
      if (share > best[at]) [best[at], larger[at]] = [share, number];
    });
  }
  return larger;
}

const LOOSENESS = 2e-4;
const FINE = 64;
const LEAST_SPREAD = 0.02;

// exemplar and own: points [x, y, fit] of faces, NaN where one is not seen; labels: regions.
function portraitGuide(own, exemplar, grid) {
  const { set, width: wide, height: high } = exemplar.labels;
  const both = own.points.map(([x], at) => !Number.isNaN(x) && !Number.isNaN(exemplar.points[at][0]));
  const [ours, theirs] = [own, exemplar].map(({ points }) => points.filter((_, at) => both[at]));
  const isSpread = [ours, theirs].every((points) => narrowest(points) >= LEAST_SPREAD);
  const spline = isSpread && splineOf(ours, theirs);
  const cores = remembered((region) => {
    const there = set.map((label) => (label === region ? 1 : 0));
    const isSeen = count(there) / set.length >= LEAST;
    const core = coreOf(isSeen ? surely(there, exemplar) : there.fill(1), wide, high);
    return { may: core, continues: core };
  });
  return (width, height) => {
    const places = width * height;
    const flow = { x: new Float64Array(places).fill(NaN), y: new Float64Array(places).fill(NaN) };
    if (!spline) return flow;
    const [columns, rows] = [Math.min(width, FINE), Math.min(height, FINE)];
    const ways = [new Float64Array(columns * rows), new Float64Array(columns * rows)];
    for (let y = 0, at = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, at++) {
        const [column, row] = [(x + 0.5) / columns, (y + 0.5) / rows];
        const [thereX, thereY] = spline(column, row);
        [ways[0][at], ways[1][at]] = [thereX - column, thereY - row];
      }
    }
    // The way is enlarged, not the place, which would stand still along the border.
    const [across, down] = ways.map((one) => interpolated(one, columns, rows, width, height, true));
    for (let at = 0; at < places; at++) {
      flow.x[at] = (((at % width) + 0.5) / width + across[at]) * grid.width - 0.5;
      flow.y[at] = ((Math.floor(at / width) + 0.5) / height + down[at]) * grid.height - 0.5;
    }
    return heldToRegions(flow, width, height, atSize(own.labels, width, height), cores, grid);
  };
}

// What an exemplar shows of a region without doubt; all of it if that is next to none.
function surely(there, { sure }) {
  if (!sure) return there;
  const both = there.map((one, at) => one & sure[at]);
  return count(both) / there.length >= LEAST ? both : there;
}

// Standard deviation of points in the direction in which they spread least; 0 of too few.
function narrowest(points) {
  if (points.length < 3) return 0;
  const [x, y] = [0, 1].map((axis) => {
    const mean = points.reduce((sum, one) => sum + one[axis], 0) / points.length;
    return points.map((one) => one[axis] - mean);
  });
  const sum = (one, two) => one.reduce((total, value, at) => total + value * two[at], 0) / points.length;
  const [xx, xy, yy] = [sum(x, x), sum(x, y), sum(y, y)];
  const least = (xx + yy) / 2 - Math.sqrt(((xx - yy) / 2) ** 2 + xy * xy);
  return Math.sqrt(Math.max(least, 0));
}

// The thin plate spline (Bookstein 1989) that leads from points [x, y, fit] near to others.
function splineOf(ours, theirs) {
  const kernel = (far) => (far > 0 ? far * far * Math.log(far) : 0);
  const apart = (one, two) => kernel(Math.hypot(one[0] - two[0], one[1] - two[1]));
  const system = ours.map((one, at) => [
    ...ours.map((two, other) => apart(one, two) + (at === other ? LOOSENESS * one[2] : 0)),
    1, one[0], one[1],
    theirs[at][0], theirs[at][1],
  ]);
  for (const basis of [() => 1, ([x]) => x, ([, y]) => y]) {
    system.push([...ours.map(basis), 0, 0, 0, 0, 0]);
  }
  const weights = solved(system);
  const [whole, slopeX, slopeY] = weights.slice(ours.length);
  return (x, y) =>
    [0, 1].map((axis) => {
      let total = whole[axis] + slopeX[axis] * x + slopeY[axis] * y;
      ours.forEach((one, at) => (total += weights[at][axis] * apart(one, [x, y])));
      return total;
    });
}
