// What is computed with planes: arrays of width x height numbers, row by row.
//
// The formulas and the order of sums are those of the functions that the Python package calls of
// OpenCV, Pillow, SciPy and scikit-image, so that the page sees what they see.

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// City-block distance to the nearest place that is set; Infinity where none is.
export function cityBlock(set, width, height) {
  const far = new Float32Array(set.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let least = set[at] ? 0 : Infinity;
      if (x) least = Math.min(least, far[at - 1] + 1);
      if (y) least = Math.min(least, far[at - width] + 1);
      far[at] = least;
    }
  }
  for (let y = height - 1, at = set.length - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--, at--) {
      if (x < width - 1) far[at] = Math.min(far[at], far[at + 1] + 1);
      if (y < height - 1) far[at] = Math.min(far[at], far[at + width] + 1);
    }
  }
  return far;
}

// Of each place that is not set the index of the nearest that is, by chamfer distances 1, 1.4 and
// 2.1969 (Borgefors 1986); -1 where none is.
export function nearestSet(set, width, height) {
  const [straight, aslant, leap] = [1, 1.4, 2.1969].map((way) => Math.round(way * 65536));
  const before = [
    [-1, -2, leap], [1, -2, leap], [-2, -1, leap], [-1, -1, aslant], [0, -1, straight],
    [1, -1, aslant], [2, -1, leap], [-1, 0, straight],
  ];
  const far = new Float64Array(set.length).fill(Infinity);
  const nearest = new Int32Array(set.length).fill(-1);
  const look = (x, y, sign) => {
    const at = y * width + x;
    for (let number = 0; number < before.length; number++) {
      const way = before[number][2];
      const column = x + sign * before[number][0];
      const row = y + sign * before[number][1];
      if (column < 0 || row < 0 || column >= width || row >= height) continue;
      const other = row * width + column;
      if (far[other] + way < far[at]) {
        far[at] = far[other] + way;
        nearest[at] = nearest[other];
      }
    }
  };
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (set[at]) [far[at], nearest[at]] = [0, at];
      else look(x, y, 1);
    }
  }
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      if (far[y * width + x] > straight) look(x, y, -1);
    }
  }
  return nearest;
}

// The half widths of an ellipse's rows in a square of 2 r + 1.
function discRows(radius) {
  const rows = [];
  for (let down = -radius; down <= radius; down++) {
    const share = radius ? (radius * radius - down * down) / (radius * radius) : 0;
    rows.push(roundEven(radius * Math.sqrt(share)));
  }
  return rows;
}

// As C and Python round: halves to the even neighbour.
export function roundEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

// Where all (erode) or any (dilate) of what an element covers is set; beyond the border nothing
// counts. rows: half widths of the element's rows.
function covered(set, width, height, rows, dilate) {
  const radius = (rows.length - 1) / 2;
  // How many are set (or not set) to the left of each place.
  const sums = new Int32Array((width + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const counts = Boolean(set[y * width + x]) === dilate ? 1 : 0;
      sums[y * (width + 1) + x + 1] = sums[y * (width + 1) + x] + counts;
    }
  }
  const made = new Uint8Array(set.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let any = 0;
      for (let down = -radius; down <= radius && !any; down++) {
        const row = y + down;
        if (row < 0 || row >= height) continue;
        const half = rows[down + radius];
        const base = row * (width + 1);
        any = sums[base + Math.min(x + half + 1, width)] - sums[base + Math.max(x - half, 0)];
      }
      made[y * width + x] = (any > 0) === dilate ? 1 : 0;
    }
  }
  return made;
}

export const erodeDisc = (set, width, height, radius) =>
  covered(set, width, height, discRows(radius), false);

export const erodeSquare = (set, width, height, radius) =>
  covered(set, width, height, Array(2 * radius + 1).fill(radius), false);

export const dilateSquare = (set, width, height, radius) =>
  covered(set, width, height, Array(2 * radius + 1).fill(radius), true);

export const openDisc = (set, width, height, radius) =>
  covered(erodeDisc(set, width, height, radius), width, height, discRows(radius), true);

export function count(set) {
  let total = 0;
  for (let at = 0; at < set.length; at++) if (set[at]) total++;
  return total;
}

// Numbers of the joined parts, 8 neighbours each, 0 where nothing is set, and the parts' areas.
export function joinedParts(set, width, height) {
  const parts = new Int32Array(set.length);
  const areas = [0];
  const open = [];
  for (let first = 0; first < set.length; first++) {
    if (!set[first] || parts[first]) continue;
    const number = areas.length;
    let area = 0;
    parts[first] = number;
    open.push(first);
    while (open.length) {
      const at = open.pop();
      area++;
      const [x, y] = [at % width, Math.floor(at / width)];
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const other = row * width + column;
          if (!set[other] || parts[other]) continue;
          parts[other] = number;
          open.push(other);
        }
      }
    }
    areas.push(area);
  }
  return { parts, areas };
}

export const BORDERS = {
  inner: (at, side) => (side === 1 ? 0 : at < 0 ? -at : at >= side ? 2 * side - 2 - at : at),
  outer: (at, side) => (at < 0 ? -1 - at : at >= side ? 2 * side - 1 - at : at),
  last: (at, side) => clamp(at, 0, side - 1),
  none: (at, side) => (at < 0 || at >= side ? -1 : at),
};

// Weighted sums along the rows or the columns.
export function along(values, width, height, weights, downwards, border) {
  const reach = (weights.length - 1) / 2;
  const [side, step] = downwards ? [height, width] : [width, 1];
  const [lines, own] = downwards ? [width, 1] : [height, width];
  const made = new Float64Array(values.length);
  const line = new Float64Array(side + 2 * reach);
  const places = Array.from(line, (_, at) => BORDERS[border](at - reach, side));
  for (let number = 0; number < lines; number++) {
    const first = number * own;
    for (let at = 0; at < line.length; at++) {
      line[at] = places[at] < 0 ? 0 : values[first + places[at] * step];
    }
    for (let at = 0; at < side; at++) {
      let total = 0;
      for (let tap = 0; tap < weights.length; tap++) total += weights[tap] * line[at + tap];
      made[first + at * step] = total;
    }
  }
  return made;
}

export function bell(deviation, reach) {
  const weights = [];
  for (let tap = -reach; tap <= reach; tap++) {
    weights.push(Math.exp((-tap * tap) / (2 * deviation * deviation)));
  }
  const total = weights.reduce((sum, one) => sum + one, 0);
  return weights.map((one) => one / total);
}

// OpenCV's Gaussian blur, whose kernel is longer for floats than for bytes.
export function blurred(values, width, height, deviation, bytes = false) {
  const size = roundEven(deviation * (bytes ? 3 : 4) * 2 + 1) | 1;
  const weights = bell(deviation, (size - 1) / 2);
  const across = along(values, width, height, weights, false, "inner");
  return along(across, width, height, weights, true, "inner");
}

const FILTERS = {
  linear: [1, (x) => Math.max(1 - Math.abs(x), 0)],
  cubic: [2, (x) => cubic(Math.abs(x), -0.5)],
};

function cubic(x, sharpness) {
  if (x < 1) return ((sharpness + 2) * x - (sharpness + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * sharpness;
  return 0;
}

// A plane at another size by a filter that looks at every pixel of what is made smaller. bytes: as
// Pillow does it, whole numbers of 0..255 after each axis.
export function resampled(values, width, height, newWidth, newHeight, filter, bytes = false) {
  const kept = (made) => (bytes ? made.map((one) => clamp(Math.floor(one + 0.5), 0, 255)) : made);
  let made = values;
  if (newWidth !== width) made = kept(oneAxis(made, width, height, newWidth, filter, false));
  if (newHeight !== height) made = kept(oneAxis(made, newWidth, height, newHeight, filter, true));
  return made;
}

function oneAxis(values, width, height, wanted, filter, downwards) {
  const side = downwards ? height : width;
  const [support, weigh] = FILTERS[filter];
  const scale = side / wanted;
  const stretch = Math.max(scale, 1);
  const [lines, step, own] = downwards ? [width, width, 1] : [height, 1, width];
  const made = new Float64Array(lines * wanted);
  for (let place = 0; place < wanted; place++) {
    const middle = (place + 0.5) * scale;
    const first = Math.max(Math.floor(middle - support * stretch + 0.5), 0);
    const last = Math.min(Math.floor(middle + support * stretch + 0.5), side);
    const weights = [];
    for (let at = first; at < last; at++) weights.push(weigh((at + 0.5 - middle) / stretch));
    const total = weights.reduce((sum, one) => sum + one, 0);
    for (let line = 0; line < lines; line++) {
      let sum = 0;
      const begin = line * own + first * step;
      for (let tap = 0; tap < weights.length; tap++) sum += weights[tap] * values[begin + tap * step];
      made[downwards ? place * width + line : line * wanted + place] = sum / total;
    }
  }
  return made;
}

// A plane made larger or smaller by looking between four or sixteen neighbours, borders drawn out.
export function interpolated(values, width, height, newWidth, newHeight, isCubic) {
  const weights = (share) =>
    isCubic ? [1 + share, share, 1 - share, 2 - share].map((x) => cubic(x, -0.75)) : [1 - share, share];
  const first = isCubic ? -1 : 0;
  const axis = (side, wanted) =>
    Array.from({ length: wanted }, (_, place) => {
      const at = ((place + 0.5) * side) / wanted - 0.5;
      const low = Math.floor(at);
      return weights(at - low).map((one, tap) => [clamp(low + first + tap, 0, side - 1), one]);
    });
  const [columns, rows] = [axis(width, newWidth), axis(height, newHeight)];
  const across = new Float64Array(newWidth * height);
  for (let y = 0; y < height; y++) {
    columns.forEach((taps, x) => {
      for (const [at, one] of taps) across[y * newWidth + x] += one * values[y * width + at];
    });
  }
  const made = new Float64Array(newWidth * newHeight);
  rows.forEach((taps, y) => {
    for (const [at, one] of taps) {
      for (let x = 0; x < newWidth; x++) made[y * newWidth + x] += one * across[at * newWidth + x];
    }
  });
  return made;
}

// Whole numbers at another size, the nearest of each.
export function nearestOf(values, width, height, newWidth, newHeight) {
  const made = new values.constructor(newWidth * newHeight);
  const [columns, rows] = [steps(width, newWidth), steps(height, newHeight)];
  rows.forEach((row, y) =>
    columns.forEach((column, x) => (made[y * newWidth + x] = values[row * width + column])),
  );
  return made;
}

// The nearest places of so many along a side, added up step by step as Pillow does.
export function steps(side, wanted) {
  let at = side / wanted / 2;
  return Array.from({ length: wanted }, () => {
    const place = Math.floor(at);
    at += side / wanted;
    return place;
  });
}

// The value between four neighbours at (x, y), whose coordinates count in 32nds.
export function between(values, width, height, x, y) {
  const [column, row] = [Math.round(x * 32) / 32, Math.round(y * 32) / 32];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const [across, down] = [column - left, row - top];
  const upper = values[top * width + left] * (1 - across) + values[top * width + right] * across;
  const lower = values[bottom * width + left] * (1 - across) + values[bottom * width + right] * across;
  return upper * (1 - down) + lower * down;
}

// The likeliest of planes at each place: the index of the largest.
export function likeliest(planes, count, places) {
  const made = new Uint8Array(places);
  for (let at = 0; at < places; at++) {
    let best = planes[at];
    for (let number = 1; number < count; number++) {
      const value = planes[number * places + at];
      if (value > best) [best, made[at]] = [value, number];
    }
  }
  return made;
}
