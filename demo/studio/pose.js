// A figure whose joints are dragged, hidden and mirrored.
//
// props: value {joints: 18 rows [x, y, score], size: [width, height]}, score 0 for hidden joints;
// names, limbs (pairs of joints) and colors of the joints; guide: address of a picture beneath, or
// ""; live: tell of every move.
const SVG = "http://www.w3.org/2000/svg";
const svg = element.querySelector("svg");
const LIVE_PAUSE = 150;
const LONGEST_PAST = 40;
const partners = props.names.map((name) =>
  props.names.indexOf(
    name.startsWith("r_") ? "l_" + name.slice(2) : name.startsWith("l_") ? "r_" + name.slice(2) : name
  )
);
let joints = [];
let chosen = null;
let dragged = false;
let past = [];
let future = [];
let told = 0;
let started = false;

function copy() {
  return joints.map((joint) => [...joint]);
}

function remember() {
  past.push(copy());
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
  const [width, height] = props.value.size;
  const unit = Math.max(width, height) / 100;
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.style.aspectRatio = width + " / " + height;
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

function said(number) {
  const sides = { r: "right", l: "left" };
  const [side, part] = props.names[number].split("_");
  return (part ? sides[side] + " " + part : side) + (joints[number][2] ? "" : " (hidden)");
}

function refresh() {
  const hide = element.querySelector("[data-do=hide]");
  hide.disabled = chosen === null;
  hide.textContent = chosen !== null && !joints[chosen][2] ? "Show joint" : "Hide joint";
  element.querySelector(".joint-name").textContent = chosen === null ? "" : said(chosen);
  element.querySelector("[data-do=undo]").disabled = past.length === 0;
  element.querySelector("[data-do=redo]").disabled = future.length === 0;
}

function tell() {
  told = Date.now();
  props.value = { joints: copy(), size: props.value.size };
  if (props.live) trigger("input");
}

function show() {
  if (!props.value || !props.value.joints) return;
  if (started) remember();
  started = true;
  joints = props.value.joints.map((joint) => [...joint]);
  draw();
}

function move(number, x, y) {
  const [width, height] = props.value.size;
  joints[number][0] = Math.min(Math.max(x, 0), width - 1);
  joints[number][1] = Math.min(Math.max(y, 0), height - 1);
}

svg.addEventListener("pointerdown", (event) => {
  const dot = event.target.closest("[data-joint]");
  chosen = dot ? Number(dot.dataset.joint) : null;
  dragged = false;
  if (dot) {
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
  }
  draw();
});

svg.addEventListener("pointermove", (event) => {
  if (chosen === null || !svg.hasPointerCapture(event.pointerId)) return;
  if (!dragged) remember();
  dragged = true;
  const box = svg.getBoundingClientRect();
  const [width, height] = props.value.size;
  move(
    chosen,
    ((event.clientX - box.left) * width) / box.width,
    ((event.clientY - box.top) * height) / box.height
  );
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
  to.push(copy());
  joints = from.pop();
  draw();
  tell();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.do === "hide" && chosen !== null) hide();
  if (button.dataset.do === "undo") step(past, future);
  if (button.dataset.do === "redo") step(future, past);
  if (button.dataset.do === "mirror") {
    remember();
    const width = props.value.size[0];
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
watch("live", () => {
  element.querySelector(".board").dataset.live = props.live;
});
watch("guide", () => joints.length && draw());
show();
