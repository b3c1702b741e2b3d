// A canvas to paint on in a few exact colours, without smoothing, so that a colour stays a class.
//
// props: value {image: address of a PNG or "", size: [width, height]}; palette [{name, color}];
// brush: width in pixels; guide: address of a picture beneath, or "", pale on
// white paper if that is asked for; free: offer every colour; live: tell of every stroke.
// What is painted goes back as such a value, with the one it began with as its `start`.
const canvas = element.querySelector("canvas");
const ink = canvas.getContext("2d", { willReadFrequently: true });
const size = element.querySelector("input[type=range]");
const LONGEST_PAST = 40;
const LIVE_PAUSE = 150;
let tool = "brush";
let color = props.palette[0].color;
let past = [];
let future = [];
let last = null;
let told = 0;
let start = null;

size.value = props.brush;

function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function picture() {
  return ink.getImageData(0, 0, canvas.width, canvas.height);
}

function put(image) {
  canvas.width = image.width;
  canvas.height = image.height;
  ink.putImageData(image, 0, 0);
}

function remember() {
  past.push(picture());
  if (past.length > LONGEST_PAST) past.shift();
  future = [];
  refresh();
}

function refresh() {
  element.querySelector("[data-do=undo]").disabled = past.length === 0;
  element.querySelector("[data-do=redo]").disabled = future.length === 0;
  for (const button of element.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
  for (const chip of element.querySelectorAll(".chip")) {
    chip.setAttribute("aria-checked", String(chip.dataset.color === color));
  }
}

function tell() {
  told = Date.now();
  props.value = { image: canvas.toDataURL("image/png"), size: [canvas.width, canvas.height], start };
  if (props.live) trigger("input");
}

function show() {
  const value = props.value || {};
  const [width, height] = value.size || [256, 256];
  const finish = (image) => {
    if (start) remember();
    start = { image: value.image || "", size: [width, height] };
    canvas.width = width;
    canvas.height = height;
    canvas.style.maxWidth = `${(34 * width) / height}rem`; // so that a tall one fits the screen
    if (image) ink.drawImage(image, 0, 0, width, height);
    refresh();
  };
  if (!value.image) return finish(null);
  const image = new Image();
  image.onload = () => finish(image);
  image.src = value.image;
}

function showGuide() {
  const veil = props.paper ? "linear-gradient(rgb(255 255 255 / 55%) 0 100%), " : "";
  canvas.style.background = props.guide ? veil + "url(" + props.guide + ") 0 0 / 100% 100%" : "";
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

function stamp(x, y) {
  const radius = size.value / 2;
  for (let dy = -Math.floor(radius); dy <= radius; dy++) {
    const half = Math.floor(Math.sqrt(radius * radius - dy * dy));
    const row = [Math.round(x) - half, Math.round(y) + dy, 2 * half + 1, 1];
    if (tool === "erase") ink.clearRect(...row);
    else ink.fillRect(...row);
  }
}

function line(from, to) {
  ink.fillStyle = color;
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    stamp(from.x + share * (to.x - from.x), from.y + share * (to.y - from.y));
  }
}

function fill(at) {
  const image = picture();
  const cells = new Uint32Array(image.data.buffer);
  const [red, green, blue] = rgb(color);
  const paint = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const start = Math.floor(at.y) * canvas.width + Math.floor(at.x);
  const ground = cells[start];
  if (ground === paint) return;
  const open = [start];
  while (open.length > 0) {
    const cell = open.pop();
    if (cells[cell] !== ground) continue;
    cells[cell] = paint;
    const x = cell % canvas.width;
    if (x > 0) open.push(cell - 1);
    if (x < canvas.width - 1) open.push(cell + 1);
    if (cell >= canvas.width) open.push(cell - canvas.width);
    if (cell + canvas.width < cells.length) open.push(cell + canvas.width);
  }
  ink.putImageData(image, 0, 0);
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  remember();
  const at = place(event);
  if (tool === "fill") {
    fill(at);
    tell();
    return;
  }
  canvas.setPointerCapture(event.pointerId);
  last = at;
  line(at, at);
});

canvas.addEventListener("pointermove", (event) => {
  if (last === null) return;
  const at = place(event);
  line(last, at);
  last = at;
  if (props.live && Date.now() - told > LIVE_PAUSE) tell();
});

for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    if (last === null) return;
    last = null;
    tell();
  });
}

function step(from, to) {
  if (from.length === 0) return;
  to.push(picture());
  put(from.pop());
  refresh();
  tell();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.color) {
    color = button.dataset.color;
    if (tool === "erase") tool = "brush";
  }
  if (button.dataset.tool) tool = button.dataset.tool;
  if (button.dataset.do === "undo") step(past, future);
  if (button.dataset.do === "redo") step(future, past);
  if (button.dataset.do === "clear") {
    remember();
    ink.clearRect(0, 0, canvas.width, canvas.height);
    tell();
  }
  refresh();
});

canvas.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  if (event.shiftKey) step(future, past);
  else step(past, future);
});

const chips = element.querySelector(".chips");
for (const entry of props.palette) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "chip";
  chip.dataset.color = entry.color;
  chip.setAttribute("role", "radio");
  chip.style.setProperty("--color", entry.color);
  chip.textContent = entry.name.replaceAll("_", " ");
  chips.append(chip);
}
if (props.free) {
  const picker = document.createElement("input");
  picker.type = "color";
  picker.setAttribute("aria-label", "Another colour");
  picker.value = color;
  picker.addEventListener("input", () => {
    color = picker.value;
    if (tool === "erase") tool = "brush";
    refresh();
  });
  chips.append(picker);
}
element.querySelector(".stage").classList.toggle("paper", Boolean(props.paper));
chips.hidden = props.palette.length < 2;

watch("value", show);
watch("live", () => {
  element.querySelector(".board").dataset.live = props.live;
});
watch("guide", showGuide);
show();
showGuide();
