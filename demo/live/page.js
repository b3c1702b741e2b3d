// The page: tabs, editors, looks, and the picture that follows them.

import * as canvasEditor from "./canvas.js";
import { COLORS, figure } from "./encode.js";
import { Engine } from "./engine.js";
import { canvasOf, drawingOf, inkOf, labelsOf, pixelsOf, poseOf, strokesOf } from "./pictures.js";
import * as poseEditor from "./pose.js";
import { JOINTS, LIMBS } from "./skinning.js";

// As in demo/studio/words.py.
const WORDS = {
  legwear_long: "trousers",
  skirt_shorts: "skirt or shorts",
  outerwear: "jacket",
  headwear: "hat",
  eyewear: "glasses",
  footwear: "shoes",
};
const EDITORS = { canvas: canvasEditor, pose: poseEditor };
const LINE = "#000000";
const PHONE = matchMedia("(max-width: 700px)");

const engine = new Engine((bytes) => shown?.comes(bytes));
let shown = null; // the panel on the page

// A part of demo/studio, which asks for what gradio gives: props, trigger and watch.
function attached(kind, element, props, changed) {
  const watchers = {};
  element.innerHTML = EDITORS[kind].template;
  EDITORS[kind].attach(
    element,
    props,
    (event) => event === "input" && changed(),
    (name, watcher) => (watchers[name] = watcher),
  );
  return (name, value) => {
    props[name] = value;
    watchers[name]?.();
  };
}

function pictureOf(address) {
  const image = new Image();
  image.alt = "";
  image.src = address;
  return image;
}

// A layout, small: a mask is a picture, a pose is drawn as the networks see it.
function previewOf(layout) {
  if (!layout.endsWith(".json")) return pictureOf(layout);
  const canvas = document.createElement("canvas");
  fetch(layout).then(async (answer) => {
    const pose = poseOf(await answer.json());
    const [width, height] = [pose.width / 2, pose.height / 2].map(Math.round);
    const drawn = figure(pose, width, height, { draw_height: height, min_score: 0, reach: 1 });
    const places = width * height;
    const pixels = new Uint8ClampedArray(4 * places).fill(255);
    for (let part = 0; part < 3; part++) {
      for (let at = 0; at < places; at++) pixels[4 * at + part] = 255 * drawn[part * places + at];
    }
    canvasOf({ pixels, width, height }, canvas);
  });
  return canvas;
}

class Panel {
  constructor(job, pictures) {
    this.job = job;
    this.pictures = pictures;
    this.element = document.querySelector("#job").content.firstElementChild.cloneNode(true);
    this.element.id = `panel-${job.name}`;
    this.element.setAttribute("aria-labelledby", `tab-${job.name}`);
    for (const part of this.element.querySelectorAll("[data-text]")) part.textContent = job[part.dataset.text];
    this.part(".block").id = `${job.name}-editor`;
    this.part(".result").setAttribute("aria-label", `The picture: ${job.made}`);
    this.isBusy = false;
    this.isWaiting = false;
    this.isReady = false;
    document.querySelector("#jobs").append(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  say(text) {
    const status = this.part(".status");
    if (status.textContent !== text) status.textContent = text; // read aloud as it changes
  }

  comes({ loaded, total }) {
    if (this.isReady) return;
    const [here, all] = [loaded, total].map((bytes) => Math.round(bytes / 2 ** 20));
    this.say(`The model is on its way: ${here}${all ? ` of ${all}` : ""} MB …`);
  }

  // Whatever fails is told in words, and the page goes on.
  async tells(work) {
    const problem = this.part(".problem");
    problem.hidden = true;
    try {
      return await work();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      this.say("");
      return null;
    }
  }

  async open() {
    this.say("The model is on its way …");
    this.opened = engine.open(this.job.name);
    this.opened.catch(() => {}); // told below, or where it is waited for first
    this.settings ||= await (await fetch(`models/${this.job.name}/model.json`)).json();
    if (!this.editor) await this.furnish();
    await this.prepare(this.look || (await this.lookAt(this.job.first[1])));
    this.isReady = true;
    this.paint();
  }

  async furnish() {
    const [layout, look] = this.job.first;
    const [height, width] = this.settings.size;
    this.part(".painted").style.setProperty("--ratio", width / height);
    this.editor = attached(this.job.editor, this.part(".block"), await this.props(layout, width, height), () =>
      this.paint(),
    );
    // Only now, as what is chosen goes to the editor.
    this.fillPicks(".layouts", (place) => this.begin(place));
    this.fillPicks(".looks", (place) => this.choose(place));
    const over = document.createElement("canvas");
    over.className = "over";
    over.hidden = true;
    over.setAttribute("aria-hidden", "true");
    const stage = this.part(".stage");
    stage.append(over);
    for (const [event, draws] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
      stage.addEventListener(event, () => over.classList.toggle("drawing", draws));
    }
    this.press(".layouts", layout);
    const beneath = this.part(".beneath");
    beneath.checked = PHONE.matches; // where the picture is not beside the layout
    beneath.addEventListener("change", () => this.show());
    this.part(".strength").addEventListener("input", () => this.paint());
    this.part(".save").addEventListener("click", () => this.save());
    this.onFile(".own-layout", (photo) => this.beginWith(photo));
    this.onFile(".own-look", (photo) => this.chooseOwn(photo));
    this.press(".looks", look);
  }

  async props(place, width, height) {
    const value = await this.valueAt(place, width, height);
    const common = { value, guide: "", live: true, label: this.job.layout };
    if (this.job.editor === "pose") {
      const colors = COLORS.map((color) => `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`);
      return { ...common, names: JOINTS, limbs: LIMBS.map((limb) => [...limb]), colors };
    }
    if (!this.settings.classes.length) {
      return { ...common, palette: [{ name: "line", color: LINE }], brush: 2, paper: true };
    }
    const palette = this.settings.classes.map((name, number) => ({
      name: WORDS[name] || name.replaceAll("_", " "),
      color: this.settings.colors[number],
    }));
    const first = palette.find(({ name }) => name === this.job.brush);
    return { ...common, palette, first: first?.color, brush: 20 };
  }

  // A layout of the gallery as its editor takes it.
  async valueAt(place, width, height) {
    const { picture, layout } = this.pictures[place];
    if (this.job.editor === "pose") {
      const pose = poseOf(await (await fetch(layout)).json());
      return { joints: pose.joints, size: [pose.width, pose.height], example: place };
    }
    if (layout) return { image: layout, size: [width, height], example: place };
    const { layout: found } = await this.found(await pixelsOf(picture));
    return this.valueOf(found);
  }

  // What the painter sees in a photo, once it is there.
  async found(photo) {
    await this.opened;
    if (shown !== this) throw new Error("Another tab was opened meanwhile. Choose the photo again.");
    return engine.found(photo);
  }

  valueOf({ labels, strokes, pose }) {
    if (pose) return { joints: pose.joints, size: [pose.width, pose.height] };
    const image = labels ? drawingOf(labels, this.settings.colors) : inkOf(strokes);
    const { width, height } = labels || strokes;
    return { image, size: [width, height] };
  }

  fillPicks(selector, pick) {
    const word = selector === ".looks" ? "Look" : this.job.editor === "pose" ? "Pose" : "Drawing";
    this.pictures.forEach(({ picture, layout }, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `${word} ${place + 1}`);
      button.setAttribute("aria-pressed", "false");
      button.append(selector === ".looks" || !layout ? pictureOf(picture) : previewOf(layout));
      button.addEventListener("click", () => this.tells(() => pick(place)));
      this.part(selector).append(button);
    });
  }

  press(selector, place) {
    const row = this.part(selector);
    [...row.children].forEach((button, number) => {
      button.setAttribute("aria-pressed", String(number === place));
      if (number === place) row.scrollLeft = button.offsetLeft - row.offsetLeft - row.clientWidth / 2;
    });
  }

  onFile(selector, use) {
    const input = this.part(selector);
    input.disabled = false;
    input.addEventListener("change", () => {
      const [file] = input.files;
      input.value = "";
      if (file) this.tells(async () => use(await pixelsOf(file)));
    });
  }

  async begin(place) {
    const [height, width] = this.settings.size;
    this.editor("guide", "");
    this.editor("value", await this.valueAt(place, width, height));
    this.press(".layouts", place);
    this.paintSoon();
  }

  async beginWith(photo) {
    this.say("The photo is read …");
    const { layout } = await this.found(photo);
    if (!layout) {
      throw new Error("Nobody is seen in the photo: take one of a single person from head to feet.");
    }
    this.editor("value", this.valueOf(layout));
    this.press(".layouts", -1);
    this.paintSoon();
  }

  // The editors show what they are given a moment later.
  paintSoon() {
    setTimeout(() => this.paint(), 200);
  }

  // A look of the gallery: {photo, layout} for the painter.
  async lookAt(place) {
    const { picture, layout } = this.pictures[place];
    const photo = await pixelsOf(picture);
    if (this.job.editor === "pose") return { photo, layout: { pose: poseOf(await (await fetch(layout)).json()) } };
    if (!layout) return { photo, layout: null };
    return { photo, layout: { labels: labelsOf(await pixelsOf(layout), this.settings.colors, this.unpainted()) } };
  }

  // The class of what nobody painted.
  unpainted() {
    return this.settings.classes.indexOf("background");
  }

  async choose(place) {
    this.press(".looks", place);
    await this.take(this.lookAt(place));
  }

  async chooseOwn(photo) {
    this.say("The picture is read …");
    this.press(".looks", -1);
    await this.take(this.found(photo).then(({ picture }) => ({ photo: picture, layout: null })));
  }

  // Paint with a look once it is there, unless another was chosen meanwhile.
  async take(coming) {
    this.awaited = coming;
    const look = await coming;
    if (this.awaited !== coming) return;
    await this.prepare(look);
    this.paint();
  }

  async prepare(look) {
    this.look = look;
    canvasOf(look.photo, this.part(".look"));
    await this.opened;
    if (shown !== this) return; // its tab prepares it when it is opened again
    this.say("The look is prepared …");
    await engine.prepare(look);
  }

  async layout() {
    const value = this.part(".board").editor.value();
    if (value.joints) {
      const [width, height] = value.size;
      return { pose: { joints: value.joints, width, height } };
    }
    const drawn = await pixelsOf(value.image, Infinity, null);
    if (!this.settings.classes.length) return { strokes: strokesOf(drawn) };
    return { labels: labelsOf(drawn, this.settings.colors, this.unpainted()) };
  }

  // Paint what the editor shows now; while one picture is painted, only the last wish is kept.
  async paint() {
    if (!this.isReady || shown !== this) return;
    if (this.isBusy) {
      this.isWaiting = true;
      return;
    }
    this.isBusy = true;
    this.part(".result").classList.add("waits");
    this.say("Painting …");
    await this.tells(async () => {
      const given = { layout: await this.layout(), strength: Number(this.part(".strength").value) };
      if (shown !== this) return; // the painter is another tab's by now
      const begun = performance.now();
      const painted = await engine.paint(given);
      const seconds = (performance.now() - begun) / 1000;
      this.picture = painted.picture;
      this.show();
      this.part(".save").disabled = false;
      const { layout, network } = painted.times;
      Object.assign(this.element.dataset, { painted: Number(this.element.dataset.painted || 0) + 1, layout, network });
      this.say(`Painted in ${seconds.toFixed(1)} s${painted.byGpu ? " by the graphics chip" : ""}.`);
      if (!painted.byGpu) engine.tryGpu(given, painted);
    });
    this.part(".result").classList.remove("waits");
    this.isBusy = false;
    if (this.isWaiting) {
      this.isWaiting = false;
      this.paint();
    }
  }

  show() {
    if (!this.picture) return;
    const { width, height } = this.picture;
    this.part(".painted").style.setProperty("--ratio", width / height);
    canvasOf(this.picture, this.part(".result"));
    const over = this.part(".over");
    over.hidden = !this.part(".beneath").checked;
    if (!over.hidden) canvasOf(this.picture, over);
  }

  save() {
    this.part(".result").toBlob((file) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(file);
      link.download = `${this.job.name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}

async function start() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
  const [jobs, pictures] = await Promise.all(
    ["jobs.json", "pictures.json"].map(async (name) => (await fetch(name)).json()),
  );
  const panels = new Map();
  let opening = Promise.resolve();
  const offered = jobs.filter(({ name }) => name in pictures);
  const tabs = document.querySelector("#tabs");
  const select = (job) => {
    for (const tab of tabs.children) {
      const isChosen = tab.id === `tab-${job.name}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    if (!panels.has(job.name)) panels.set(job.name, new Panel(job, pictures[job.name]));
    shown = panels.get(job.name);
    for (const panel of panels.values()) panel.element.hidden = panel !== shown;
    const panel = shown;
    panel.isReady = false;
    // One after another: there is one painter.
    opening = opening.then(() => shown === panel && panel.tells(() => panel.open()));
  };
  for (const job of offered) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${job.name}`;
    tab.setAttribute("role", "tab");
    tab.textContent = job.tab;
    tab.addEventListener("click", () => (location.hash = job.name));
    tabs.append(tab);
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const here = [...tabs.children].indexOf(event.target);
    if (!step || here < 0) return;
    const next = tabs.children[(here + step + offered.length) % offered.length];
    next.focus();
    next.click();
  });
  const asked = () => offered.find(({ name }) => `#${name}` === location.hash) || offered[0];
  window.addEventListener("hashchange", () => select(asked()));
  document.querySelector("#loading").remove();
  select(asked());
}

start().catch((error) => {
  const loading = document.querySelector("#loading");
  loading.className = "problem";
  loading.textContent = `The page could not be loaded (${error.message}). Reload it.`;
});
