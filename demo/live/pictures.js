// Pictures on canvases, as pixels, and back.

const MOST_PIXELS = 1024; // longer side that a photo of a visitor's own is shrunk to

export function canvasOf({ pixels, width, height }, canvas = document.createElement("canvas")) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

const MOST_ASPECT = 3; // the matching's memory grows with the square of a picture's cells

// A picture of an address or a file, no longer than so many pixels. Transparent parts become white.
export async function pixelsOf(source, longest = MOST_PIXELS, ground = "white") {
  const image = source instanceof Blob ? await decoded(source) : await loaded(source);
  const sides = [image.width, image.height].sort((one, other) => one - other);
  if (source instanceof Blob && sides[1] > MOST_ASPECT * sides[0]) {
    throw new Error(`The picture is more than ${MOST_ASPECT} times as long as wide. Crop it first.`);
  }
  const scale = Math.min(1, longest / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  paper.imageSmoothingQuality = "high";
  if (ground) {
    paper.fillStyle = ground;
    paper.fillRect(0, 0, width, height);
  }
  paper.drawImage(image, 0, 0, width, height);
  return { pixels: paper.getImageData(0, 0, width, height).data, width, height };
}

async function decoded(file) {
  try {
    return await createImageBitmap(file); // upright, as its file says
  } catch {
    throw new Error(`${file.name || "The file"} is not a picture that this browser reads; PNG and JPEG are.`);
  }
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

const rgb = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));

// The class of each pixel of a drawing in class colours; `unpainted` where nothing is.
export function labelsOf({ pixels, width, height }, colors, unpainted) {
  const numbers = new Map(colors.map((color, number) => [parseInt(color.slice(1), 16), number]));
  const set = Int16Array.from({ length: width * height }, (_, at) => {
    const [red, green, blue] = [pixels[4 * at], pixels[4 * at + 1], pixels[4 * at + 2]];
    const number = numbers.get((red << 16) | (green << 8) | blue);
    return pixels[4 * at + 3] < 128 || number === undefined ? unpainted : number;
  });
  return { set, width, height };
}

export function drawingOf({ set, width, height }, colors) {
  const pixels = new Uint8ClampedArray(4 * set.length);
  const known = colors.map(rgb);
  set.forEach((label, at) => {
    if (known[label]) pixels.set([...known[label], 255], 4 * at);
  });
  return canvasOf({ pixels, width, height }).toDataURL("image/png");
}

// Where something is drawn on a transparent ground.
export function strokesOf({ pixels, width, height }) {
  const set = Uint8Array.from({ length: width * height }, (_, at) => (pixels[4 * at + 3] >= 128 ? 1 : 0));
  return { set, width, height };
}

export const inkOf = ({ set, width, height }) =>
  drawingOf({ set: set.map((one) => (one ? 0 : 1)), width, height }, ["#000000"]);

// A keypoint file of OpenPose's as {joints, width, height}.
export function poseOf({ people: [{ pose_keypoints_2d: numbers }], canvas_width: width, canvas_height: height }) {
  const joints = Array.from({ length: 18 }, (_, joint) => numbers.slice(3 * joint, 3 * joint + 3));
  return { joints, width, height };
}
