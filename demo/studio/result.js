// The painted picture, and where in the look each part of it came from, without asking the server.
//
// props: name of the tab; value as `result.board_value` makes it: image, download, before, warped,
// changed (of an edited photo), exemplar: addresses; size [width, height]; and of a model that matches what `correspondence.py` sends: grid
// and other [rows, columns] of both sides, flow (x, y as 16 bits for each cell, shares of the look),
// sure (8 bits for each cell), names, here, there (numbers of the cells' names), movable: whether
// pairs of points may be set; of two looks also secondLook, secondGrid, second (as exemplar, other,
// there) and which (the number of each cell's look); look: of which exemplars. problem: in place of all these, why there is
// no new picture; link: what a link says of it. A draft is {draft, asked, image} alone: the picture at the size that the
// model learned, shown until the hand rests and the full one comes. What goes back is {asked, draft, look, pins}.
// Events on the element `.result`: "stale" (something changed), "coming" and "again" (paint, live or not), "live",
// "failed"; one of the document tells of what was painted: "painted" {tab, value}.
const MOST_PINS = 5;
const COLORS = ["#ff4d5e", "#ffb000", "#22c55e", "#3b9dff", "#c77dff"];
const PAUSE = 30;
const REST = 300;
const KEY_PAUSE = 500;
const THERE = ["there", "second"]; // the names of the looks' cells
const POINTING = matchMedia("(pointer: coarse)").matches
  ? "Tap to see what came from where"
  : "Point to see what came from where; click to pin";
const STEP = 0.01;
const SVG = "http://www.w3.org/2000/svg";
const ALT = {
  before: "What it was painted from",
  warped: "The look, moved into place",
  changed: "What was painted anew, the rest pale",
};
const find = (selector) => element.querySelector(selector);
const board = find(".result");
const pane = find(".painted");
const picture = find(".painted img");
const heat = find(".heat");
const links = find(".links");
let shown = {};
let flow = null;
let sure = null;
let which = null;
let pins = [];
let cursor = null; // {from, to, found}: the point under the pointer, or that the keys move
let held = null; // the end of a pin that is dragged: {pin, end}
let view = "image";
let changes = 0;
let timer = null;
let draft = false; // whether a draft is asked for
let drawing = false;

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// --- Freshness -----------------------------------------------------------------------------------

const LABELS = { painting: "Painting…", stale: "Changed: press Paint" };

function state(name, text) {
  board.dataset.state = name;
  pane.setAttribute("aria-busy", String(name === "painting"));
  find(".busy").textContent = text || LABELS[name] || "";
}

function isLive() {
  const box = document.querySelector(`#${props.name}-live input`);
  return box !== null && box.checked;
}

function tell() {
  // Only what the server cannot know: pictures are large.
  const set = pins.filter((pin) => pin.set).map(({ from, to, which }) => ({ from, to, which }));
  props.value = { asked: changes, draft, look: shown.look || "", pins: set };
}

function stale(ask) {
  changes += 1;
  cursor = null;
  draft = true;
  tell();
  clearTimeout(timer);
  state(ask ? "painting" : "stale");
  if (ask) timer = setTimeout(() => trigger("input"), PAUSE); // one change may be told several times
  draw();
}

board.addEventListener("stale", () => stale(isLive()));
board.addEventListener("coming", () => {
  clearTimeout(timer); // the whole picture is on its way already
  state("painting");
});
board.addEventListener("again", () => stale(true));
board.addEventListener("live", () => board.dataset.state === "stale" && isLive() && stale(true));
board.addEventListener("failed", () => state("stale", "Not painted"));

function show() {
  const value = props.value || {};
  if (!value.problem && !value.image) return; // our own
  tell(); // what the next question is asked with must not be what this answer is to
  if (value.problem) {
    if (value.asked === changes) state("problem", value.problem);
    return;
  }
  if (value.draft) {
    if (value.asked === changes) showDraft(value.image);
    return;
  }
  const another = value.look !== shown.look;
  shown = board.shown = value;
  flow = value.flow ? new Uint16Array(bytes(value.flow).buffer) : null;
  sure = value.sure ? bytes(value.sure) : null;
  which = value.which ? bytes(value.which) : null;
  for (const side of ["here", ...THERE]) if (value[side]) shown[side + "Names"] = bytes(value[side]);
  const link = find(".download");
  link.href = new URL(value.download, document.baseURI);
  for (const name of ["warped", "changed"]) find(`[data-view=${name}]`).hidden = !value[name];
  find("[data-view=sure]").hidden = !sure;
  pane.style.aspectRatio = value.size.join(" / ");
  board.style.setProperty("--ratio", value.size[0] / value.size[1]);
  [value.exemplar, value.secondLook].forEach((address, number) => {
    const look = element.querySelectorAll(".look img")[number];
    look.hidden = !address;
    if (address) look.src = new URL(address, document.baseURI);
  });
  for (const pin of pins) {
    if (another) pin.set = false;
    if (!pin.set) Object.assign(pin, forward(pin.from));
  }
  if (!flow) pins = [];
  if (value.asked === undefined || value.asked === changes) {
    state("fresh");
    if (value.asked !== undefined) {
      find(".heard").textContent = `The picture is painted: ${value.painted}.`;
      document.dispatchEvent(new CustomEvent("painted", { detail: { tab: props.name, value } }));
    }
  }
  shownView();
  listPins();
  say();
}

function showDraft(image) {
  shown = board.shown = { ...shown, image };
  shownView();
  state("draft");
  timer = setTimeout(() => {
    draft = false;
    tell();
    trigger("input");
  }, REST);
}

// --- Views ---------------------------------------------------------------------------------------

function shownView() {
  const missing = view !== "image" && (view === "sure" ? !sure : !shown[view]);
  if (missing) view = "image";
  for (const button of element.querySelectorAll("button[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }
  picture.src = new URL(view === "sure" ? shown.image : shown[view], document.baseURI);
  picture.alt = ALT[view] || "The painted picture";
  heat.hidden = view !== "sure";
  board.dataset.view = view;
  if (view === "sure") showHeat();
  draw();
}

function showHeat() {
  const [rows, columns] = shown.grid;
  heat.width = columns;
  heat.height = rows;
  const ink = heat.getContext("2d");
  const cells = ink.createImageData(columns, rows);
  sure.forEach((level, cell) => {
    // Blue for a guess, over grey, to yellow where it is sure.
    cells.data.set([level, 60 + 0.6 * level, 190 - 0.6 * level, 175], 4 * cell);
  });
  ink.putImageData(cells, 0, 0);
}

// --- The correspondence --------------------------------------------------------------------------

function cellOf([x, y], [rows, columns]) {
  const column = Math.min(Math.floor(x * columns), columns - 1);
  return Math.min(Math.floor(y * rows), rows - 1) * columns + column;
}

function forward(from) {
  const cell = cellOf(from, shown.grid);
  const to = [flow[2 * cell] / 65535, flow[2 * cell + 1] / 65535];
  return { from, to, which: which ? which[cell] : 0, found: true };
}

const gridOf = (look) => (look ? shown.secondGrid : shown.other);

// The place of the picture that came from the nearest to a place in a look.
function backward(to, look) {
  const [rows, columns] = shown.grid;
  const [tall, wide] = gridOf(look);
  let best = 0;
  let least = Infinity;
  for (let cell = 0; cell < rows * columns; cell++) {
    if (which && which[cell] !== look) continue;
    const dx = (flow[2 * cell] / 65535 - to[0]) * wide;
    const dy = (flow[2 * cell + 1] / 65535 - to[1]) * tall;
    const distance = dx * dx + dy * dy;
    if (distance < least) [least, best] = [distance, cell];
  }
  const from = [((best % columns) + 0.5) / columns, (Math.floor(best / columns) + 0.5) / rows];
  return { from, to, which: look, found: least < 4 };
}

function nameAt(side, point, grid) {
  const numbers = shown[side + "Names"];
  return numbers ? shown.names[numbers[cellOf(point, grid)]] : "";
}

function trust(link) {
  if (link.set) return "set by you";
  const level = sure[cellOf(link.from, shown.grid)];
  return level >= 128 ? "sure" : level >= 38 ? "fairly sure" : "a guess";
}

function words(link) {
  if (!link.found) return "Nothing in the picture came from here.";
  const here = nameAt("here", link.from, shown.grid);
  const there = nameAt(THERE[link.which], link.to, gridOf(link.which));
  const look = link.which ? "the second look" : "the look";
  const names = here && there ? `${here} ← ${there} of ${look}` : here ? `${here} ← ${look}` : "";
  return (names ? names + ": " : "Came from there: ") + trust(link);
}

function say() {
  const hint = flow
    ? POINTING + (shown.movable ? ", drag to correct." : ".")
    : "This model paints without a matching: no part came from one place.";
  find(".said").textContent = cursor ? words(cursor) : hint;
}

// --- Dots and lines ------------------------------------------------------------------------------

const isShown = (one) => Boolean(one?.getClientRects().length);

// Where a look is shown: small beside the picture, where there is no room for more, and in its card.
function lookPictures(number) {
  const small = element.querySelectorAll(".look img")[number];
  const own = document.querySelector(`#${props.name}-${["exemplar", "second"][number]} img`);
  return [own, small].filter(isShown);
}

// Whether nothing lies over its middle, and that is on the screen.
function isSeen(image) {
  const { left, top, width, height } = image.getBoundingClientRect();
  const there = document.elementsFromPoint(left + width / 2, top + height / 2);
  return there.find((one) => !links.contains(one)) === image;
}

function lookPicture(number) {
  const all = lookPictures(number);
  return all.find(isSeen) || all[all.length - 1];
}

// Where a picture is on the screen, within the room that its element keeps for it.
function frameOf(image) {
  const box = image.getBoundingClientRect();
  const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const width = image.naturalWidth * scale;
  const height = image.naturalHeight * scale;
  const left = box.left + (box.width - width) / 2;
  return { left, top: box.top + (box.height - height) / 2, width, height };
}

function shareOf(event, image) {
  const frame = frameOf(image);
  const x = (event.clientX - frame.left) / frame.width;
  const y = (event.clientY - frame.top) / frame.height;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? [x, y] : null;
}

function add(kind, attributes) {
  const part = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
  links.append(part);
  return part;
}

function drawLink(link, color, number) {
  const look = lookPicture(link.which);
  if (!look) return;
  if (!look.naturalWidth) {
    look.addEventListener("load", draw, { once: true });
    return;
  }
  const place = ({ left, top, width, height }, [x, y]) => [left + x * width, top + y * height];
  const ends = { from: place(frameOf(picture), link.from), to: place(frameOf(look), link.to) };
  const [[x1, y1], [x2, y2]] = [ends.from, ends.to];
  if (link.found) {
    const dash = { "a guess": "2 7", "fairly sure": "9 6" }[trust(link)] || "none";
    for (const [stroke, width] of [["#0009", 4.5], [color, 2.5]]) {
      add("line", { x1, y1, x2, y2, stroke, "stroke-width": width, "stroke-dasharray": dash });
    }
  }
  for (const end of link.found ? ["from", "to"] : ["to"]) {
    const [cx, cy] = ends[end];
    add("circle", { cx, cy, r: number ? 10 : 7, fill: color, stroke: "white", class: "dot" });
    if (!number) continue;
    add("text", { x: cx, y: cy + 4, class: "number" }).textContent = number;
    const handle = add("circle", { cx, cy, r: 16, class: "handle" });
    handle.dataset.pin = number - 1;
    handle.dataset.end = end;
  }
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    links.replaceChildren();
    const fresh = board.dataset.state === "fresh" || held;
    if (!flow || !fresh || !pane.getClientRects().length) return;
    pins.forEach((pin, number) => drawLink(pin, COLORS[number], number + 1));
    if (cursor) drawLink(cursor, "#14b8a6", 0);
  });
}

for (const event of ["scroll", "resize"]) {
  window.addEventListener(event, draw, { capture: true, passive: true });
}
new ResizeObserver(draw).observe(board);

// --- Pins ----------------------------------------------------------------------------------------

function listPins() {
  const list = find(".pins");
  list.replaceChildren();
  pins.forEach((pin, number) => {
    const item = document.createElement("li");
    item.style.setProperty("--color", COLORS[number]);
    const text = document.createElement("button");
    text.type = "button";
    text.dataset.move = number;
    text.textContent = `${number + 1}: ${words(pin)}`;
    text.title = shown.movable ? "Arrow keys move its end in the look" : "";
    const drop = document.createElement("button");
    drop.type = "button";
    drop.dataset.drop = number;
    drop.setAttribute("aria-label", `Unpin point ${number + 1}`);
    drop.textContent = "×";
    item.append(text, drop);
    list.append(item);
  });
}

function pin(link) {
  if (!link || !link.found) return;
  if (pins.length === MOST_PINS) {
    find(".said").textContent = `Up to ${MOST_PINS} points can be pinned: unpin one first.`;
    return;
  }
  pins.push({ ...link, set: false });
  listPins();
  draw();
}

function unpin(numbers) {
  const set = numbers.some((number) => pins[number].set);
  pins = pins.filter((_, number) => !numbers.includes(number));
  listPins();
  draw();
  if (set) stale(true);
}

function moveEnd(number, end, point) {
  const moved = pins[number];
  moved[end] = point;
  if (shown.movable) moved.set = true;
  else Object.assign(moved, end === "from" ? forward(point) : backward(point, moved.which));
  listPins();
  draw();
}

const within = ([x, y]) => [x, y].map((share) => Math.min(Math.max(share, 0), 1));

links.addEventListener("pointerdown", (event) => {
  const handle = event.target.closest(".handle");
  if (!handle) return;
  event.preventDefault();
  held = { number: Number(handle.dataset.pin), end: handle.dataset.end, moved: false };
  links.setPointerCapture(event.pointerId);
});
links.addEventListener("pointermove", (event) => {
  if (!held) return;
  const frame = frameOf(held.end === "from" ? picture : lookPicture(pins[held.number].which));
  const x = (event.clientX - frame.left) / frame.width;
  held.moved = true;
  moveEnd(held.number, held.end, within([x, (event.clientY - frame.top) / frame.height]));
});
for (const end of ["pointerup", "pointercancel"]) {
  links.addEventListener(end, () => {
    if (!held) return;
    const { number, moved } = held;
    held = null;
    if (moved && pins[number].set) stale(true);
  });
}

// --- Pointer and keys ----------------------------------------------------------------------------

function linkAt(event) {
  if (!flow || board.dataset.state !== "fresh") return null;
  if (pane.contains(event.target)) {
    const point = shareOf(event, picture);
    return point && forward(point);
  }
  const look = [0, 1].find((number) => lookPictures(number).includes(event.target));
  const point = look !== undefined && shareOf(event, event.target);
  return point ? backward(point, look) : null;
}

document.addEventListener("pointermove", (event) => {
  if (held || !pane.getClientRects().length) return;
  const link = linkAt(event);
  if (link === null && (cursor === null || document.activeElement === pane)) return;
  cursor = link;
  say();
  draw();
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.(`#${props.name}-paint`)) state("painting");
  else if (isShown(pane)) {
    cursor = null; // it would lie on the pin
    say();
    pin(linkAt(event));
    draw();
  }
});

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

pane.addEventListener("keydown", (event) => {
  if (!flow || board.dataset.state !== "fresh") return;
  if (event.key in STEPS) {
    const [right, down] = STEPS[event.key];
    const link = cursor || forward([0.5, 0.5]);
    const [rows, columns] = event.shiftKey ? gridOf(link.which) : shown.grid;
    const [x, y] = event.shiftKey ? link.to : link.from;
    const point = within([x + right / columns, y + down / rows]);
    cursor = event.shiftKey ? backward(point, link.which) : forward(point);
    find(".heard").textContent = words(cursor);
  } else if (event.key === "Enter" || event.key === " ") {
    pin(cursor || forward([0.5, 0.5]));
  } else if (event.key === "Delete" || event.key === "Backspace") {
    unpin(pins.map((_, number) => number));
  } else if (event.key === "Escape") {
    cursor = null;
  } else {
    return;
  }
  event.preventDefault();
  say();
  draw();
});

find(".pins").addEventListener("keydown", (event) => {
  const number = Number(event.target.dataset.move);
  if (!(event.key in STEPS) || Number.isNaN(number) || !shown.movable) return;
  event.preventDefault();
  const [right, down] = STEPS[event.key];
  const [x, y] = pins[number].to;
  moveEnd(number, "to", within([x + right * STEP, y + down * STEP]));
  find(`[data-move="${number}"]`).focus();
  clearTimeout(timer);
  timer = setTimeout(() => stale(true), KEY_PAUSE);
});

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.drop) unpin([Number(button.dataset.drop)]);
  if (button.dataset.view) {
    view = button.dataset.view;
    shownView();
  }
});

picture.addEventListener("load", draw);
watch("value", show);
show();
