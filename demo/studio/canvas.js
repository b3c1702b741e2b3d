// A canvas to paint on in a few exact colours, so that a colour stays a class.
//
// props: value {image: address of a PNG or "", size: [width, height]}, with redrawn: true where it
// is the last one found anew, on which strokes stay; palette [{name, color}]; first: the colour to
// begin with; brush: width in pixels; guide: address of a picture beneath, or "", pale on white
// paper if that is asked for; free: offer every colour; live: tell of every stroke; label: the
// canvas's name; bound: what is drawn belongs to the guide.
// What is painted goes back as such a value, with the one it began with as its `start`, which knows
// its place among the examples; whatever changes the canvas is an event "drawn" of its element.
// `.board.editor` tells other scripts the value, and a file of it.
//
// There are two canvases: the sheet, coarse and exact, is sent; the one on the page shows the
// same strokes smooth.
const canvas = element.querySelector("canvas");
const shown = canvas.getContext("2d", { willReadFrequently: true });
const sheet = document.createElement("canvas");
const ink = sheet.getContext("2d", { willReadFrequently: true });
const size = element.querySelector("input[type=range]");
const chips = element.querySelector(".chips");
const cursor = element.querySelector(".cursor");
const FINE = 768; // the longer side of the canvas on the page, in pixels, or a little more
const LONGEST_PAST = 40;
const LIVE_PAUSE = 150;
let tool = "brush";
let color = props.first || props.palette[0].color;
let past = [];
let future = [];
let stroke = null; // the one that is being drawn
let told = 0;
let start = null; // the value that the drawing began with
let origin = null; // its pixels
let ground = null; // a canvas: what lies beneath the strokes
let strokes = [];
let at = null; // where the keyboard's brush is
let asked = 0;

size.value = props.brush;

function picture() {
  return ink.getImageData(0, 0, sheet.width, sheet.height);
}

function copied() {
  const made = sized(sheet.width, sheet.height);
  made.getContext("2d").drawImage(sheet, 0, 0);
  return made;
}

function fine() {
  return Math.ceil(FINE / Math.max(sheet.width, sheet.height));
}

function draw() {
  const scale = fine();
  canvas.width = scale * sheet.width;
  canvas.height = scale * sheet.height;
  // So that a tall one fits the screen.
  const stage = element.querySelector(".stage");
  stage.style.setProperty("--ratio", sheet.width / sheet.height);
  shown.imageSmoothingEnabled = Boolean(props.paper || props.bound);
  shown.drawImage(ground, 0, 0, canvas.width, canvas.height);
  for (const one of strokes) smooth(one, 0);
  announce();
}

function smooth(one, from) {
  const scale = fine();
  shown.save();
  shown.globalCompositeOperation = one.erase ? "destination-out" : "source-over";
  shown.strokeStyle = one.color;
  shown.lineWidth = one.width * scale;
  shown.lineCap = shown.lineJoin = "round";
  shown.beginPath();
  for (const { x, y } of one.points.slice(from)) shown.lineTo(x * scale, y * scale);
  const { x, y } = one.points[one.points.length - 1];
  shown.lineTo(x * scale, y * scale + 0.01); // a dab is a line as well
  shown.stroke();
  shown.restore();
}

function now() {
  return { pixels: picture(), start, origin, ground, strokes };
}

function back(state) {
  sheet.width = state.pixels.width;
  sheet.height = state.pixels.height;
  ink.putImageData(state.pixels, 0, 0);
  ({ start, origin, ground, strokes } = state);
  draw();
}

function remember() {
  past.push(now());
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
  const all = [...element.querySelectorAll(".chip")];
  const chosen = all.findIndex((chip) => chip.dataset.color === color);
  all.forEach((chip, place) => {
    chip.setAttribute("aria-checked", String(place === chosen));
    chip.tabIndex = place === Math.max(chosen, 0) ? 0 : -1; // the others by arrow keys
  });
  // On a phone they are one row, of which the chosen one is to be seen.
  if (chosen > 0) chips.scrollLeft = all[chosen].offsetLeft - all[0].offsetLeft - 60;
}

function empty() {
  return cellsOf(picture()).every((cell) => cell === 0);
}

function value() {
  return { image: sheet.toDataURL("image/png"), size: [sheet.width, sheet.height], start };
}

function file() {
  const whole = sized(sheet.width, sheet.height);
  const paper = whole.getContext("2d");
  paper.fillStyle = props.paper ? "white" : "transparent";
  paper.fillRect(0, 0, whole.width, whole.height);
  paper.drawImage(sheet, 0, 0);
  return [whole.toDataURL("image/png"), "drawing.png"];
}

element.querySelector(".board").editor = { value, file };

function tell() {
  told = Date.now();
  props.value = value();
  keep(belongs());
  // Of an empty canvas there is nothing to paint, as long as nobody presses the button.
  if (props.live && !empty()) trigger("input");
}

// For what follows strokes in the browser.
function announce() {
  canvas.dispatchEvent(new CustomEvent("drawn", { bubbles: true }));
}

function belongs() {
  const guide = (props.bound && props.guide) || "";
  return JSON.stringify([props.palette, guide.length, guide.slice(-400)]);
}

async function show() {
  insistOnKept();
  const number = ++asked;
  const value = props.value || {};
  const dimensions = value.size || [256, 256];
  const whole = await opened(value.image, dimensions);
  const begun = value.start ? await opened(value.start.image, value.start.size) : whole;
  if (number !== asked) return; // another one came in the meantime
  if (start) remember();
  const same = value.redrawn && start && String(dimensions) === String(start.size);
  const before = same ? { pixels: picture(), origin, flat: ground.drawn, strokes } : null;
  start = value.start || { image: value.image || "", size: dimensions, example: value.example };
  origin = pixelsOf(begun);
  ground = whole;
  ground.drawn = begun !== whole;
  strokes = [];
  [sheet.width, sheet.height] = dimensions;
  ink.drawImage(whole, 0, 0);
  const changed = before && overlay(before);
  draw();
  refresh();
  if (changed) tell();
  else if (past.length) keep(belongs());
}

// Draw over this picture what was drawn over the one before; whether that was anything.
function overlay(before) {
  if (!before.flat) {
    strokes = before.strokes;
    for (const one of strokes) {
      one.points.forEach((to, place) => coarse(one, one.points[Math.max(place - 1, 0)], to));
    }
    return strokes.length > 0;
  }
  const image = picture();
  const [cells, old, drawn] = [image, before.origin, before.pixels].map(cellsOf);
  let changed = false;
  for (let cell = 0; cell < cells.length; cell++) {
    if (drawn[cell] === old[cell]) continue;
    cells[cell] = drawn[cell];
    changed = true;
  }
  ink.putImageData(image, 0, 0);
  flatten();
  return changed;
}

// Show the sheet itself: what is on it is no longer one picture beneath strokes.
function flatten() {
  ground = copied();
  ground.drawn = true;
  strokes = [];
}

function showGuide() {
  const veil = props.paper ? "linear-gradient(rgb(255 255 255 / 55%) 0 100%), " : "";
  canvas.style.background = props.guide ? veil + "url(" + props.guide + ") 0 0 / 100% 100%" : "";
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * sheet.width) / box.width,
    y: ((event.clientY - box.top) * sheet.height) / box.height,
  };
}

// A disc whose rows are exactly as many pixels as it is wide.
function stamp(x, y, width, erase) {
  const radius = width / 2;
  const top = Math.round(y - radius);
  for (let row = 0; row < width; row++) {
    const dy = row + 0.5 - radius;
    const half = Math.sqrt(radius * radius - dy * dy);
    const span = [Math.round(x - half), top + row, Math.max(1, Math.round(2 * half)), 1];
    if (erase) ink.clearRect(...span);
    else ink.fillRect(...span);
  }
}

function coarse(one, from, to) {
  ink.fillStyle = one.color;
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    const [x, y] = [from.x + share * (to.x - from.x), from.y + share * (to.y - from.y)];
    stamp(x, y, one.width, one.erase);
  }
}

function begin(point) {
  remember();
  stroke = { color, width: Number(size.value), erase: tool === "erase", points: [] };
  strokes = [...strokes, stroke];
  extend(point);
}

function extend(to) {
  coarse(stroke, stroke.points[stroke.points.length - 1] || to, to);
  stroke.points.push(to);
  smooth(stroke, -2);
  announce();
}

function fill(point) {
  remember();
  const image = picture();
  flood(image, Math.floor(point.x), Math.floor(point.y), color);
  ink.putImageData(image, 0, 0);
  flatten();
  draw();
  tell();
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  cursor.hidden = true;
  const point = place(event);
  if (tool === "fill") return fill(point);
  canvas.setPointerCapture(event.pointerId);
  begin(point);
});

canvas.addEventListener("pointermove", (event) => {
  if (stroke === null || !event.isPrimary) return;
  for (const one of event.getCoalescedEvents?.() || []) extend(place(one));
  extend(place(event));
  if (props.live && Date.now() - told > LIVE_PAUSE) tell();
});

canvas.addEventListener("pointerup", (event) => {
  if (stroke === null || !event.isPrimary) return;
  stroke = null;
  tell();
});

canvas.addEventListener("pointercancel", (event) => {
  if (stroke === null || !event.isPrimary) return;
  stroke = null; // it was the first of two fingers that scroll
  back(past.pop());
  refresh();
  if (props.live) tell();
});

function step(from, to) {
  if (from.length === 0) return;
  to.push(now());
  back(from.pop());
  refresh();
  tell();
}

function choose(chip) {
  color = chip.dataset.color;
  if (tool === "erase") tool = "brush";
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.color) choose(button);
  if (button.dataset.tool) tool = button.dataset.tool;
  if (button.dataset.do === "undo") step(past, future);
  if (button.dataset.do === "redo") step(future, past);
  if (button.dataset.do === "clear") {
    remember();
    ink.clearRect(0, 0, sheet.width, sheet.height);
    flatten();
    draw();
    tell();
  }
  refresh();
});

chips.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -99, End: 99 };
  const all = [...chips.querySelectorAll(".chip")];
  const here = all.indexOf(event.target);
  if (here < 0 || !(event.key in steps)) return;
  event.preventDefault();
  const wanted = here + steps[event.key];
  const next = Math.abs(steps[event.key]) > 1
    ? Math.min(Math.max(wanted, 0), all.length - 1)
    : (wanted + all.length) % all.length;
  choose(all[next]);
  refresh();
  all[next].focus();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) step(future, past);
    else step(past, future);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!(event.key in ARROWS || event.key === " ")) return;
  event.preventDefault();
  at = at || { x: sheet.width / 2, y: sheet.height / 2 };
  const from = at;
  if (event.key in ARROWS) {
    const far = Math.max(2, Math.round(size.value / 2));
    const [right, down] = ARROWS[event.key];
    at = {
      x: Math.min(Math.max(from.x + right * far, 0), sheet.width - 1),
      y: Math.min(Math.max(from.y + down * far, 0), sheet.height - 1),
    };
  }
  if (event.key === " " && tool === "fill") fill(at);
  else if (event.key === " " || event.shiftKey) {
    begin(from);
    if (from !== at) extend(at);
    stroke = null;
    tell();
  }
  showCursor();
});

function showCursor() {
  const share = canvas.clientWidth / sheet.width;
  const side = Math.max(size.value * share, 8);
  cursor.hidden = false;
  cursor.style.width = cursor.style.height = side + "px";
  cursor.style.left = canvas.offsetLeft + at.x * share - side / 2 + "px";
  cursor.style.top = canvas.offsetTop + at.y * share - side / 2 + "px";
  const [...pixel] = ink.getImageData(at.x, at.y, 1, 1).data;
  const alpha = pixel.pop();
  const under = props.palette.find((entry) => String(rgb(entry.color)) === String(pixel));
  const across = Math.round((100 * at.x) / sheet.width);
  const down = Math.round((100 * at.y) / sheet.height);
  const name = !alpha ? "nothing" : under ? under.name.replaceAll("_", " ") : "another colour";
  element.querySelector(".said").textContent = `${name}, ${across} % across, ${down} % down`;
}

canvas.addEventListener("blur", () => {
  cursor.hidden = true;
});

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
    choose({ dataset: { color: picker.value } });
    refresh();
  });
  size.after(picker);
}
const keys = element.querySelector(".keys");
keys.id = kept + "-keys";
canvas.setAttribute("aria-describedby", keys.id);
if (props.label) canvas.setAttribute("aria-label", props.label);
if (props.paper) element.querySelector("[data-tool=brush]").textContent = "Pencil";
element.querySelector(".stage").classList.toggle("paper", Boolean(props.paper));
chips.hidden = props.palette.length < 2;

watch("value", show);
function showLive() {
  element.querySelector(".board").dataset.live = props.live;
}

watch("live", showLive);
showLive();
watch("guide", showGuide);
showGuide();
show().then(() => {
  if (!bringBack(belongs())) return; // undo brings the page's own beginning back
  show().then(() => props.live && !empty() && trigger("input"));
});
