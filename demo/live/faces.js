// Points of a face whose parts are known, as cocosnet_hf/conditions/portraits.py finds them.

import { clamp, roundEven } from "./planes.js";

const CLASSES = (
  "background skin nose glasses l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat " +
  "ear_r neck_l neck cloth"
).split(" ");
const EYES = ["l_eye", "r_eye"];
const BROWS = ["l_brow", "r_brow"];
const LIPS = ["mouth", "u_lip", "l_lip"];
const FACE = ["skin", "nose", "glasses", ...EYES, ...BROWS, ...LIPS];
const EARS = ["l_ear", "r_ear", "ear_r"];
const HEAD = [...FACE, ...EARS, "hair", "hat"];
const REGIONS = [["background"], ["hair", "hat"], [...FACE, ...EARS], ["neck", "neck_l"], ["cloth"]];
const REGION_OF = CLASSES.map((name) => REGIONS.findIndex((names) => names.includes(name)));

const LEAST_PART = 0.0003;
const SURE = 0.75;
const PARTS_FIT = 0.3;
const OUTLINE_FITS = 1;
const HEAD_FITS = 4;
const TIP = 0.02;

// Parts {set, width, height} and the logits of each -> {points [x, y, fit] in shares, labels: regions,
// isRead, sure}, as guides take them.
export function portraitOf(parts, logits) {
  const { set, width, height } = parts;
  const seesFace =
    sees(parts, [...EYES, "glasses"]) && sees(parts, ["nose"]) && sees(parts, LIPS);
  const points = [...pointsOf(parts)].map(([[x, y], fit]) => {
    const isThere = seesFace && !Number.isNaN(x + y);
    return isThere ? [(x + 0.5) / width, (y + 0.5) / height, fit] : [NaN, NaN, fit];
  });
  const labels = { set: set.map((part) => REGION_OF[part]), width, height };
  return { points, labels, isRead: true, sure: surelyRead(labels.set, logits) };
}

function surelyRead(regions, logits) {
  const places = regions.length;
  return regions.map((_, at) => {
    const shares = REGIONS.map(() => 0);
    let most = -Infinity;
    for (let part = 0; part < CLASSES.length; part++) most = Math.max(most, logits[part * places + at]);
    for (let part = 0; part < CLASSES.length; part++) {
      shares[REGION_OF[part]] += Math.exp(logits[part * places + at] - most);
    }
    return Math.max(...shares) > SURE * shares.reduce((sum, one) => sum + one) ? 1 : 0;
  });
}

function* pointsOf(parts) {
  const [lips, face, head] = [LIPS, FACE, HEAD].map((names) => region(parts, names));
  for (const name of [...EYES, ...BROWS]) {
    const [left, right, , , middle] = ends(region(parts, [name]));
    for (const point of [left, right, middle]) yield [point, EYES.includes(name) ? PARTS_FIT : OUTLINE_FITS];
  }
  const [nose, mouth] = [ends(region(parts, ["nose"])), ends(lips)];
  for (const point of [...nose, ...mouth]) yield [point, PARTS_FIT];
  const across = mouth[4][0];
  yield [[across, span(column(region(parts, ["u_lip"]), across))[1]], PARTS_FIT];
  yield [[across, span(column(region(parts, ["l_lip"]), across))[0]], PARTS_FIT];
  const [, , hairline, chin] = ends(face);
  yield [chin, OUTLINE_FITS];
  const eyes = ends(region(parts, [...EYES, "glasses"]))[4];
  const rows = [eyes[1], nose[4][1], mouth[4][1], (mouth[3][1] + chin[1]) / 2];
  for (const [one, fit, levels] of [
    [face, OUTLINE_FITS, rows],
    [head, HEAD_FITS, [hairline[1], ...rows, chin[1]]],
  ]) {
    for (const y of levels) {
      // An outline that leaves the picture ends anywhere.
      for (const x of span(row(one, y))) yield [[x > 0 && x < parts.width - 1 ? x : NaN, y], fit];
    }
  }
  for (const names of [[EYES[0]], ["nose"], [EYES[1]]]) {
    const x = ends(region(parts, names))[4][0];
    for (const [one, fit] of [[face, OUTLINE_FITS], [head, HEAD_FITS]]) {
      const [top] = span(column(one, x));
      yield [[x, top > 0 ? top : NaN], fit];
    }
  }
}

function region({ set, width, height }, names) {
  const wanted = CLASSES.map((name) => names.includes(name));
  return { set: set.map((part) => (wanted[part] ? 1 : 0)), width, height };
}

const sees = (parts, names) =>
  region(parts, names).set.reduce((sum, one) => sum + one, 0) >= LEAST_PART * parts.set.length;

// A region's left, right, upper and lower end and its middle; NaN of a speck.
function ends({ set, width }) {
  const [x, y] = [[], []];
  set.forEach((one, at) => {
    if (!one) return;
    x.push(at % width);
    y.push(Math.floor(at / width));
  });
  if (x.length < LEAST_PART * set.length || !x.length) return Array(5).fill([NaN, NaN]);
  const found = [x, x.map((one) => -one), y, y.map((one) => -one)].map((values) => {
    const sorted = Float64Array.from(values).sort();
    const rank = TIP * (sorted.length - 1);
    const [low, high] = [sorted[Math.floor(rank)], sorted[Math.ceil(rank)]];
    const range = sorted[sorted.length - 1] - sorted[0];
    const last = low + (high - low) * (rank - Math.floor(rank)) + Math.max(1, TIP * range);
    return [x, y].map((axis) => mean(axis.filter((_, at) => values[at] <= last)));
  });
  return [...found, [mean(x), mean(y)]];
}

const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;

// The first and the last place of a line that are set; NaN where none is.
function span(line) {
  const places = [...line.keys()].filter((at) => line[at]);
  return places.length ? [places[0], places[places.length - 1]] : [NaN, NaN];
}

function row({ set, width, height }, y) {
  if (Number.isNaN(y)) return [];
  const at = clamp(roundEven(y), 0, height - 1);
  return [...set.subarray(at * width, (at + 1) * width)];
}

function column({ set, width, height }, x) {
  if (Number.isNaN(x)) return [];
  const at = clamp(roundEven(x), 0, width - 1);
  return Array.from({ length: height }, (_, y) => set[y * width + at]);
}
