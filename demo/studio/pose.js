// A figure whose joints are turned, hidden and mirrored.
//
// props: value {joints: 18 rows [x, y, score], size: [width, height]}, score 0 for hidden joints;
// names, limbs (pairs of joints, from the neck outwards) and colors of the joints; guide: address
// of a picture beneath, or ""; live: tell of every move; bound: the figure belongs to the picture.
// A value may know its place among the examples. `.board.editor` tells other scripts the value, and a
// file of it.
//
// A joint turns about the one it hangs on and takes along what hangs on it; the neck takes all.
const SVG = "http://www.w3.org/2000/svg";
const svg = element.querySelector("svg");
const LIVE_PAUSE = 150;
const LONGEST_PAST = 40;
const REACH = 22; // how near a finger must come to a joint, in pixels of the page
const SHORTEST = 0.5; // of its length at first: a limb that points at the viewer
const LONGEST = 1.25;
const partners = props.names.map((name) =>
  props.names.indexOf(name.replace(/^[rl]_/, (side) => (side === "r_" ? "l_" : "r_")))
);
const parents = props.names.map((_, joint) => {
  const limb = props.limbs.find(([, to]) => to === joint);
  return limb ? limb[0] : null;
});
const lengths = element.querySelector("[data-do=lengths]");
let joints = [];
let lengthsAtFirst = [];
let atFirst = null;
let frame = [1, 1];
let example;
let grip = [0, 0];
let chosen = null;
let dragged = false;
let past = [];
let future = [];
let told = 0;
let started = false;

function copy() {
  return joints.map((joint) => [...joint]);
}

function now() {
  return { joints: copy(), frame, example };
}

function remember() {
  past.push(now());
  if (past.length > LONGEST_PAST) past.shift();
  future = [];
}

function add(kind, attributes) {
  const part = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
  svg.append(part);
  return part;
}

function draw() {
  const [width, height] = frame;
  const unit = Math.max(width, height) / 100;
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.style.aspectRatio = width + " / " + height;
  svg.parentElement.style.setProperty("--ratio", width / height);
  svg.replaceChildren();
  if (props.guide) {
    add("image", { href: props.guide, width, height, opacity: 0.6, preserveAspectRatio: "none" });
  }
  props.limbs.forEach(([from, to], number) => {
    if (!joints[from][2] || !joints[to][2]) return;
    const [x1, y1] = joints[from];
    const [x2, y2] = joints[to];
    const stroke = props.colors[number];
    add("line", { x1, y1, x2, y2, stroke, "stroke-width": 2 * unit, class: "limb" });
  });
  const reach = REACH * share() || 5 * unit;
  for (const [cx, cy] of joints) add("circle", { cx, cy, r: reach, class: "hit" });
  joints.forEach(([x, y, score], number) => {
    const attributes = { cx: x, cy: y, r: 1.7 * unit, tabindex: 0, role: "button" };
    const dot = add("circle", { ...attributes, "stroke-width": 0.5 * unit, class: "joint" });
    dot.dataset.joint = number;
    dot.setAttribute("aria-label", said(number));
    dot.style.setProperty("--color", props.colors[number]);
    dot.classList.toggle("hidden-joint", !score);
    dot.classList.toggle("chosen", number === chosen);
  });
  refresh();
}

// Pixels of the picture in one of the page, 0 while it is not seen.
function share() {
  const { width } = svg.getBoundingClientRect();
  return width && frame[0] / width;
}

function said(number) {
  const sides = { r: "right", l: "left" };
  const [side, part] = props.names[number].split("_");
  return (part ? sides[side] + " " + part : side) + (joints[number][2] ? "" : " (hidden)");
}

function refresh() {
  const hide = element.querySelector("[data-do=hide]");
  hide.disabled = chosen === null;
  hide.textContent = chosen !== null && !joints[chosen][2] ? "Show" : "Hide";
  hide.setAttribute("aria-label", hide.textContent + " joint");
  element.querySelector(".joint-name").textContent = chosen === null ? "" : said(chosen);
  element.querySelector("[data-do=reset]").disabled = JSON.stringify(now()) === atFirst;
  element.querySelector("[data-do=undo]").disabled = past.length === 0;
  element.querySelector("[data-do=redo]").disabled = future.length === 0;
}

function value() {
  return { joints: copy(), size: frame, example };
}

// As OpenPose writes it.
function file() {
  const people = [{ pose_keypoints_2d: joints.flat() }];
  const text = JSON.stringify({ people, canvas_width: frame[0], canvas_height: frame[1] });
  return ["data:application/json," + encodeURIComponent(text), "pose.json"];
}

element.querySelector(".board").editor = { value, file };

function tell() {
  told = Date.now();
  props.value = value();
  if (!props.bound) keep("");
  if (props.live) trigger("input");
}

function show() {
  insistOnKept();
  if (!props.value || !props.value.joints) return;
  if (started) remember();
  joints = props.value.joints.map((joint) => [...joint]);
  ({ size: frame, example } = props.value);
  lengthsAtFirst = joints.map((_, joint) => lengthOf(joint));
  atFirst = JSON.stringify(now());
  draw();
  if (started && !props.bound) keep("");
  started = true;
}

function lengthOf(joint) {
  const parent = parents[joint];
  if (parent === null) return 0;
  return Math.hypot(joints[joint][0] - joints[parent][0], joints[joint][1] - joints[parent][1]);
}

function hangsOn(joint, other) {
  while (joint !== null && joint !== other) joint = parents[joint];
  return joint === other;
}

function inside([x, y]) {
  const [width, height] = frame;
  return x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1;
}

// Bring a joint as near to a place as its limb and the picture's border let it.
function move(number, x, y) {
  const before = copy();
  const parent = parents[number];
  const [fromX, fromY] = before[number];
  let turned = ([left, top]) => [left + x - fromX, top + y - fromY];
  if (parent !== null) {
    const [aboutX, aboutY] = before[parent];
    const angle = Math.atan2(y - aboutY, x - aboutX) - Math.atan2(fromY - aboutY, fromX - aboutX);
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    const length = lengthOf(number);
    const [least, most] = [SHORTEST, LONGEST].map((share) => share * lengthsAtFirst[number]);
    const wanted = Math.min(Math.max(Math.hypot(x - aboutX, y - aboutY), least), most);
    const stretch = free() && length ? wanted / length - 1 : 0;
    const spin = (dx, dy) => [cosine * dx - sine * dy, sine * dx + cosine * dy];
    const [moreX, moreY] = spin(stretch * (fromX - aboutX), stretch * (fromY - aboutY));
    turned = ([left, top]) => {
      const [right, down] = spin(left - aboutX, top - aboutY);
      return [aboutX + right + moreX, aboutY + down + moreY];
    };
  }
  joints = before.map((joint, place) =>
    hangsOn(place, number) ? [...turned(joint), joint[2]] : joint
  );
  const leaves = (joint, place) => joint[2] && inside(before[place]) && !inside(joint);
  if (joints.some(leaves)) joints = before;
}

function free() {
  return lengths.getAttribute("aria-pressed") === "false";
}

function placeOf(event) {
  const box = svg.getBoundingClientRect();
  const [width, height] = frame;
  return [
    ((event.clientX - box.left) * width) / box.width,
    ((event.clientY - box.top) * height) / box.height,
  ];
}

function nearest([x, y]) {
  const far = joints.map(([left, top]) => Math.hypot(left - x, top - y));
  const place = far.indexOf(Math.min(...far));
  return far[place] <= REACH * share() ? place : null;
}

svg.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  const [x, y] = placeOf(event);
  chosen = nearest([x, y]);
  dragged = false;
  if (chosen !== null) {
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    grip = [joints[chosen][0] - x, joints[chosen][1] - y];
  }
  draw();
});

svg.addEventListener("pointermove", (event) => {
  if (chosen === null || !svg.hasPointerCapture(event.pointerId)) return;
  if (!dragged) remember();
  dragged = true;
  const [x, y] = placeOf(event);
  move(chosen, x + grip[0], y + grip[1]);
  draw();
  if (props.live && Date.now() - told > LIVE_PAUSE) tell();
});

for (const end of ["pointerup", "pointercancel"]) {
  svg.addEventListener(end, () => {
    if (dragged) tell();
    dragged = false;
  });
}

function hide() {
  remember();
  joints[chosen][2] = joints[chosen][2] ? 0 : 1;
  draw();
  tell();
}

svg.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const dot = event.target.closest("[data-joint]");
  if (!dot || !(event.key in steps || event.key === "Delete")) return;
  event.preventDefault();
  chosen = Number(dot.dataset.joint);
  if (event.key === "Delete") return hide();
  remember();
  const [right, down] = steps[event.key];
  move(chosen, joints[chosen][0] + right, joints[chosen][1] + down);
  draw();
  svg.querySelector('[data-joint="' + chosen + '"]').focus();
  tell();
});

function step(from, to) {
  if (from.length === 0) return;
  to.push(now());
  ({ joints, frame, example } = from.pop());
  draw();
  tell();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.do === "hide" && chosen !== null) hide();
  if (button.dataset.do === "lengths") lengths.setAttribute("aria-pressed", String(free()));
  if (button.dataset.do === "reset") {
    remember();
    ({ joints, frame } = JSON.parse(atFirst));
    draw();
    tell();
  }
  if (button.dataset.do === "undo") step(past, future);
  if (button.dataset.do === "redo") step(future, past);
  if (button.dataset.do === "mirror") {
    remember();
    const width = frame[0];
    const before = copy();
    joints = partners.map((partner) => {
      const [x, y, score] = before[partner];
      return [width - 1 - x, y, score];
    });
    draw();
    tell();
  }
});

watch("value", show);
function showLive() {
  element.querySelector(".board").dataset.live = props.live;
}

watch("live", showLive);
showLive();
watch("guide", () => joints.length && draw());
show();
const first = [lengthsAtFirst, atFirst];
if (!props.bound && bringBack("")) {
  show(); // undo brings the page's own beginning back
  if (String(frame) === String(past[0].frame)) [lengthsAtFirst, atFirst] = first;
  if (props.live) trigger("input");
}
new ResizeObserver(() => joints.length && draw()).observe(svg);
