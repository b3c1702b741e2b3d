// Layouts as the networks read them: planes (K, H, W) in 0..1, as cocosnet_hf/conditions makes them.

import { along, bell, cityBlock, nearestOf, resampled, roundEven, steps } from "./planes.js";
import { JOINTS, LIMBS } from "./skinning.js";

// The smallest size that covers what the networks learned. settings: of model.json.
export function fittedSize(width, height, { size: [learnedHeight, learnedWidth], stride }) {
  const scale = Math.max(learnedHeight / height, learnedWidth / width);
  const side = (length) => Math.max(2, roundEven((length * scale) / stride)) * stride;
  return { width: side(width), height: side(height) };
}

// Labels one by one: (K, H, W).
export function oneHot({ set, width, height }, classes, newWidth, newHeight) {
  const places = newWidth * newHeight;
  const made = new Float32Array(classes * places);
  nearestOf(set, width, height, newWidth, newHeight).forEach((label, at) => (made[label * places + at] = 1));
  return made;
}

// Strokes as thin lines and the distance to them: (2, H, W).
export function lines({ set, width, height }, newWidth, newHeight, reach) {
  const thin = thinned(fitted(set, width, height, newWidth, newHeight), newWidth, newHeight);
  return withDistance(thin, newWidth, newHeight, reach);
}

// Lines and the distance to them, as share of the model's reach.
export function withDistance(thin, width, height, reach) {
  const far = cityBlock(thin, width, height);
  return Float32Array.from([...thin, ...far.map((one) => Math.min(one / reach, 1))]);
}

// Strokes at another size; a thin one survives being made smaller.
function fitted(set, width, height, newWidth, newHeight) {
  const made = new Uint8Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    const [top, bottom] = [y, y + 1].map((at, end) => (end ? Math.ceil : Math.floor)((at * height) / newHeight));
    for (let x = 0; x < newWidth; x++) {
      const [left, right] = [x, x + 1].map((at, end) => (end ? Math.ceil : Math.floor)((at * width) / newWidth));
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          if (set[row * width + column]) made[y * newWidth + x] = 1;
        }
      }
    }
  }
  return made;
}

// In which of two passes a place with such neighbours may go, as a bit each (Zhang and Suen 1984),
// and, as scikit-image does, corners of stairs and the ends of double lines.
const ENDS_AND_CORNERS = {
  3: 1, 6: 1, 10: 3, 11: 1, 12: 1, 14: 1, 24: 2, 26: 2, 40: 3, 44: 0, 48: 0, 56: 2, 96: 2, 104: 2,
  108: 2, 129: 0, 130: 3, 131: 1, 134: 1, 160: 3, 161: 1, 176: 2, 192: 2, 194: 1, 198: 1, 224: 2,
};
const MAY_GO = Uint8Array.from({ length: 256 }, (_, bits) => {
  if (bits in ENDS_AND_CORNERS) return ENDS_AND_CORNERS[bits];
  const near = Array.from({ length: 8 }, (_, place) => (bits >> place) & 1);
  const number = near.reduce((sum, one) => sum + one, 0);
  const rises = near.filter((one, place) => !one && near[(place + 1) % 8]).length;
  if (number < 2 || number > 6 || rises !== 1) return 0;
  const [, up, , right, , down, , left] = near;
  const first = !(right && down && (up || left));
  const second = !(up && left && (right || down));
  return (first ? 1 : 0) + (second ? 2 : 0);
});

// Strokes thinned to one pixel.
export function thinned(strokes, width, height) {
  const [wide, high] = [width + 2, height + 2];
  const set = new Uint8Array(wide * high);
  const inner = (at) => (Math.floor(at / width) + 1) * wide + (at % width) + 1;
  strokes.forEach((one, at) => {
    if (one) set[inner(at)] = 1;
  });
  // Clockwise from the upper left.
  const around = [-wide - 1, -wide, 1 - wide, 1, wide + 1, wide, wide - 1, -1];
  for (let removed = true; removed; ) {
    removed = false;
    for (const pass of [1, 2]) {
      const gone = [];
      for (let at = wide + 1; at < set.length - wide - 1; at++) {
        if (!set[at]) continue;
        let bits = 0;
        for (let place = 0; place < 8; place++) bits |= set[at + around[place]] << place;
        if (MAY_GO[bits] & pass) gone.push(at);
      }
      for (const at of gone) set[at] = 0;
      removed ||= gone.length > 0;
    }
  }
  return Uint8Array.from(strokes, (_, at) => set[inner(at)]);
}

// Luminance as Pillow computes it, in bytes.
export const greyOf = (pixels) =>
  Uint8Array.from({ length: pixels.length / 4 }, (_, at) =>
    (pixels[4 * at] * 19595 + pixels[4 * at + 1] * 38470 + pixels[4 * at + 2] * 7471 + 32768) >> 16,
  );

// Edges of a photo's grey values 0..255 (Canny 1986), as scikit-image finds them.
export function canny(grey, width, height, { sigma, low, high }) {
  const values = Float64Array.from(grey, (value) => value / 255);
  const weights = bell(sigma, Math.floor(4 * sigma + 0.5));
  const smoothed = (plane) =>
    along(along(plane, width, height, weights, true, "none"), width, height, weights, false, "none");
  const inside = smoothed(new Float64Array(values.length).fill(1));
  const smooth = smoothed(values).map((value, at) => value / (inside[at] + 2 ** -52));
  const sobel = (downwards) => {
    const slope = along(smooth, width, height, [-1, 0, 1], downwards, "outer");
    return along(slope, width, height, [1, 2, 1], !downwards, "outer");
  };
  const [down, across] = [sobel(true), sobel(false)];
  const size = down.map((value, at) => Math.hypot(value, across[at]));
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : size[y * width + x]);
  const peaks = new Uint8Array(size.length);
  const found = new Uint8Array(size.length);
  const open = [];
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const place = y * width + x;
      if (size[place] < low) continue;
      const steep = Math.abs(down[place]) > Math.abs(across[place]);
      const share = steep ? across[place] / down[place] : down[place] / across[place];
      const isPeak = [-1, 1].every((side) => {
        const straight = steep ? at(x, y + side) : at(x + side, y);
        const turned = share < 0 ? -side : side;
        const aslant = steep ? at(x + turned, y + side) : at(x + side, y + turned);
        return size[place] >= Math.abs(share) * aslant + (1 - Math.abs(share)) * straight;
      });
      if (!isPeak) continue;
      peaks[place] = 1;
      if (size[place] < high) continue;
      found[place] = 1;
      open.push(place);
    }
  }
  while (open.length) {
    const place = open.pop(); // what hangs together with a strong edge is one
    for (const row of [-width, 0, width]) {
      for (const column of [-1, 0, 1]) {
        const near = place + row + column;
        if (!peaks[near] || found[near]) continue;
        found[near] = 1;
        open.push(near);
      }
    }
  }
  return found;
}

const THICKNESS = 4;

// Joint and limb k: the hue wheel in steps of 20 degrees, red and blue exchanged.
export const COLORS = Array.from({ length: 18 }, (_, step) => {
  const hue = step / 3;
  const rising = roundEven(255 * (1 - Math.abs((hue % 2) - 1)));
  const wheel = [[255, rising, 0], [rising, 255, 0], [0, 255, rising], [0, rising, 255], [rising, 0, 255], [255, 0, rising]];
  return [...wheel[Math.floor(hue)]].reverse();
});

// A pose {joints: 18 rows [x, y, score], width, height} as stick figure and distances: (20, H, W).
export function figure(pose, newWidth, newHeight, { draw_height: tall, min_score: least, reach }) {
  const height = tall || pose.height;
  const width = tall ? Math.max(2, roundEven((pose.width * tall) / pose.height)) : pose.width;
  const joints = pose.joints.map(([x, y]) => [(x * width) / pose.width, (y * height) / pose.height]);
  const present = pose.joints.map(([, , score]) => score > least);
  const canvas = [0, 1, 2].map(() => new Uint8Array(width * height));
  JOINTS.forEach((_, joint) => {
    if (!present[joint]) return;
    const rows = discRowsAt(...joints[joint].map(Math.trunc));
    fillRows(rows, width, height, (at) => canvas.forEach((plane, part) => (plane[at] = COLORS[joint][part])));
  });
  const planes = [];
  LIMBS.forEach(([first, second], number) => {
    const shape = new Uint8Array(width * height);
    if (present[first] && present[second]) {
      fillRows(rowsOf(outlineOf(joints[first], joints[second])), width, height, (at) => (shape[at] = 1));
      canvas.forEach((plane, part) => {
        plane.forEach((value, at) => {
          plane[at] = roundEven(value * 0.4 + (shape[at] ? COLORS[number][part] : value) * 0.6);
        });
      });
    }
    const far = cityBlock(shape, width, height);
    const bytes = far.map((one) => Math.floor(Math.min(one / (reach / 255), 255)));
    planes.push(resampled(bytes, width, height, newWidth, newHeight, "linear", true));
  });
  const made = new Float32Array((3 + LIMBS.length) * newWidth * newHeight);
  const [columns, rows] = [steps(width, newWidth), steps(height, newHeight)];
  canvas.forEach((plane, part) => {
    const first = part * newWidth * newHeight;
    rows.forEach((row, y) => {
      columns.forEach((column, x) => (made[first + y * newWidth + x] = plane[row * width + column] / 255));
    });
  });
  planes.forEach((plane, number) => {
    made.set(plane.map((value) => value / 255), (3 + number) * newWidth * newHeight);
  });
  return made;
}

// Rows {y: [first, last]} of a filled circle.
function discRowsAt(x, y) {
  const rows = new Map();
  let [right, up, error, plus, minus] = [THICKNESS, 0, 0, 1, 2 * THICKNESS - 1];
  while (right >= up) {
    for (const [across, down] of [[right, up], [up, right]]) {
      for (const sign of [-1, 1]) widen(rows, y + sign * down, x - across, x + across);
    }
    up++;
    error += plus;
    plus += 2;
    if (error <= 0) continue;
    error -= minus;
    right--;
    minus -= 2;
  }
  return rows;
}

function widen(rows, y, first, last) {
  const known = rows.get(y) || [Infinity, -Infinity];
  rows.set(y, [Math.min(known[0], first), Math.max(known[1], last)]);
}

function fillRows(rows, width, height, fill) {
  for (const [y, [first, last]] of rows) {
    if (y < 0 || y >= height) continue;
    for (let x = Math.max(first, 0); x <= Math.min(last, width - 1); x++) fill(y * width + x);
  }
}

// The polygon around a limb: an ellipse from joint to joint, one corner per degree.
function outlineOf([startX, startY], [endX, endY]) {
  const middle = [Math.trunc((startX + endX) / 2), Math.trunc((startY + endY) / 2)];
  const [across, down] = [startX - endX, startY - endY];
  const angle = (Math.trunc((Math.atan2(down, across) * 180) / Math.PI) * Math.PI) / 180;
  const half = Math.trunc(Math.hypot(across, down) / 2);
  return Array.from({ length: 361 }, (_, degree) => {
    const turn = (degree * Math.PI) / 180;
    const [x, y] = [half * Math.cos(turn), THICKNESS * Math.sin(turn)];
    return [
      roundEven(middle[0] + x * Math.cos(angle) - y * Math.sin(angle)),
      roundEven(middle[1] + x * Math.sin(angle) + y * Math.cos(angle)),
    ];
  });
}

// Rows of a convex polygon, with its border.
function rowsOf(corners) {
  const rows = new Map();
  corners.forEach(([x, y], number) => {
    const [toX, toY] = corners[(number + 1) % corners.length];
    const steps = Math.max(Math.abs(toX - x), Math.abs(toY - y), 1);
    for (let step = 0; step <= steps; step++) {
      const [column, row] = [x + ((toX - x) * step) / steps, y + ((toY - y) * step) / steps];
      widen(rows, Math.round(row), Math.round(column), Math.round(column));
    }
  });
  return rows;
}
