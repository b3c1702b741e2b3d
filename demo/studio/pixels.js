// What canvas.js does with pixels that it is given; stands before it.

function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function cellsOf(image) {
  return new Uint32Array(image.data.buffer);
}

function sized(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

async function opened(url, [width, height]) {
  const made = sized(width, height);
  if (url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    made.getContext("2d").drawImage(image, 0, 0, width, height);
  }
  return made;
}

function pixelsOf(one) {
  return one.getContext("2d").getImageData(0, 0, one.width, one.height);
}

// Colour all that is joined to a pixel and of its colour.
function flood(image, x, y, color) {
  const { width } = image;
  const cells = cellsOf(image);
  const [red, green, blue] = rgb(color);
  const paint = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const first = y * width + x;
  const old = cells[first];
  const open = old === paint ? [] : [first];
  while (open.length > 0) {
    const cell = open.pop();
    if (cells[cell] !== old) continue;
    cells[cell] = paint;
    if (cell % width > 0) open.push(cell - 1);
    if (cell % width < width - 1) open.push(cell + 1);
    if (cell >= width) open.push(cell - width);
    if (cell + width < cells.length) open.push(cell + width);
  }
}

