// Portraits that wear what is painted on another one, while it is painted.
//
// props: value {photos: their addresses; cells: [h, w] of each; flows: for each the places (x, y) of
// its cells in the painted portrait, 16 bits each, in shares of the way from that portrait's first
// cell to its last; grid: [h, w] of its cells}; first: the address of a file of such a value, which the page
// begins with, its photos' addresses from that file's, or ""; source: the id of the canvas that is painted on; gallery: of the portraits to choose from; tab: the
// name in links, which tell of the portrait and the strength.
// The server says once where each face's places lie on the portrait; strokes follow in the browser,
// as `CoherentFlow.warp` would have them. Without `first` the server is asked when this comes into
// sight.
const faces = element.querySelector(".faces");
const strength = element.querySelector("input");
const said = element.querySelector(".said");
const SIDE = 256; // of the carried layers, in pixels
const SEEN = 512; // longer side at which the painted layer is looked at
let worn = []; // for each portrait its layer and where its pixels look
let waiting = false;
let shows = 0;
let isAsked = false; // the server
const WAITING = "Finding out where each face has what…";
const GAP = 12; // between the pictures of a saved strip

// For each pixel the four nearest cells' places as indices of the layer, and their shares.
function lookups(flow, [h, w], [rows, columns], width, height) {
  const index = new Int32Array(4 * SIDE * SIDE);
  const share = new Float32Array(4 * SIDE * SIDE);
  for (let pixel = 0; pixel < SIDE * SIDE; pixel++) {
    const x = (((pixel % SIDE) + 0.5) * w) / SIDE - 0.5;
    const y = ((Math.floor(pixel / SIDE) + 0.5) * h) / SIDE - 0.5;
    for (let corner = 0; corner < 4; corner++) {
      const [right, down] = [corner & 1, corner >> 1];
      const column = Math.min(Math.max(Math.floor(x) + right, 0), w - 1);
      const row = Math.min(Math.max(Math.floor(y) + down, 0), h - 1);
      const cell = 2 * (row * w + column);
      const placeX = (flow[cell] / 65535) * Math.max(columns - 1, 1);
      const placeY = (flow[cell + 1] / 65535) * Math.max(rows - 1, 1);
      const left = Math.floor(((placeX + x - column + 0.5) / columns) * width);
      const top = Math.floor(((placeY + y - row + 0.5) / rows) * height);
      const [partX, partY] = [x - Math.floor(x), y - Math.floor(y)];
      share[4 * pixel + corner] = (right ? partX : 1 - partX) * (down ? partY : 1 - partY);
      index[4 * pixel + corner] =
        Math.min(Math.max(top, 0), height - 1) * width + Math.min(Math.max(left, 0), width - 1);
    }
  }
  return { index, share };
}

function painting() {
  return document.getElementById(props.source)?.querySelector("canvas");
}

function seen() {
  const canvas = painting();
  const scale = SEEN / Math.max(canvas.width, canvas.height);
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(scale * canvas.width));
  small.height = Math.max(1, Math.round(scale * canvas.height));
  const ink = small.getContext("2d", { willReadFrequently: true });
  ink.drawImage(canvas, 0, 0, small.width, small.height);
  return ink.getImageData(0, 0, small.width, small.height);
}

function carry() {
  waiting = false;
  if (!worn.length || !painting()) return;
  const layer = seen();
  for (const face of worn) {
    if (face.width !== layer.width || face.height !== layer.height) {
      [face.width, face.height] = [layer.width, layer.height];
      const { width, height } = layer;
      Object.assign(face, lookups(face.flow, face.cells, props.value.grid, width, height));
    }
    const out = new ImageData(SIDE, SIDE);
    for (let pixel = 0; pixel < SIDE * SIDE; pixel++) {
      let [red, green, blue, alpha] = [0, 0, 0, 0];
      for (let corner = 4 * pixel; corner < 4 * pixel + 4; corner++) {
        const from = 4 * face.index[corner];
        const opaque = face.share[corner] * layer.data[from + 3];
        if (!opaque) continue;
        alpha += opaque;
        red += opaque * layer.data[from];
        green += opaque * layer.data[from + 1];
        blue += opaque * layer.data[from + 2];
      }
      if (!alpha) continue;
      out.data.set([red / alpha, green / alpha, blue / alpha, alpha], 4 * pixel);
    }
    face.canvas.getContext("2d").putImageData(out, 0, 0);
  }
}

function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(carry);
}

function save(picture, name) {
  const link = document.createElement("a");
  link.href = picture.toDataURL("image/png");
  link.download = name;
  link.click();
}

function dressed(photo, layer, width, height) {
  const whole = document.createElement("canvas");
  [whole.width, whole.height] = [width, height];
  const ink = whole.getContext("2d");
  ink.drawImage(photo, 0, 0, width, height);
  ink.globalAlpha = Number(strength.value);
  ink.drawImage(layer, 0, 0, width, height);
  return whole;
}

// --- To take away --------------------------------------------------------------------------------

async function portrait() {
  const image = new Image();
  const style = getComputedStyle(painting()).backgroundImage; // the canvas's guide
  image.src = style.slice(style.indexOf("url(") + 4, -1).replace(/^"|"$/g, "");
  await image.decode();
  return image;
}

// The portrait and all who wear its makeup, one beside the other.
async function strip() {
  const pictures = [[await portrait(), painting()], ...worn.map((one) => [one.photo, one.canvas])];
  const sheet = document.createElement("canvas");
  const widths = pictures.map(([photo]) =>
    Math.round((photo.naturalWidth * SEEN) / photo.naturalHeight)
  );
  sheet.width = widths.reduce((sum, width) => sum + width + GAP, -GAP);
  sheet.height = SEEN;
  const ink = sheet.getContext("2d");
  ink.fillStyle = "white";
  ink.fillRect(0, 0, sheet.width, sheet.height);
  let left = 0;
  pictures.forEach(([photo, layer], place) => {
    ink.drawImage(dressed(photo, layer, widths[place], SEEN), left, 0);
    left += widths[place] + GAP;
  });
  save(sheet, "makeup-strip.png");
}

const portraits = () => [
  ...document.querySelectorAll(`#${props.gallery} button.thumbnail-item`),
];

function state() {
  const link = {};
  const chosen = portraits().findIndex((button) => button.classList.contains("selected"));
  if (chosen >= 0) link.portrait = chosen;
  link.strength = strength.value;
  studio.links[props.tab] = String(new URLSearchParams(link));
  if (studio.opened() === props.tab) history.replaceState(null, "", studio.address(props.tab));
  return link;
}

function linked() {
  const [tab, text] = studio.wanted();
  if (tab !== props.tab || !text || text === studio.links[tab]) return;
  const wanted = new URLSearchParams(text);
  const given = Number(wanted.get("strength"));
  if (given > 0 && given <= 1) strength.value = given;
  weigh();
  const place = Number(wanted.get("portrait") ?? -1);
  const chosen = () => portraits()[place]; // may be drawn after this board
  if (place >= 0) {
    studio.insist(() => chosen()?.classList.contains("selected"), () => chosen()?.click());
  }
}

const TAKE = {
  strip,
  makeup: () => save(painting(), "makeup.png"),
  link: async () => {
    const { portrait } = state();
    await navigator.clipboard.writeText(
      new URL(studio.address(props.tab), location.href).href
    );
    const own = portrait === undefined ? "your photo and what" : "what";
    return `The link is copied. It cannot hold ${own} you painted: save them.`;
  },
};

element.querySelector(".take").addEventListener("click", async (event) => {
  const take = event.target.closest("button")?.dataset.take;
  if (!take) return;
  const told = element.querySelector(".told");
  try {
    told.textContent = (await TAKE[take]()) || "";
  } catch (_) {
    told.textContent = take === "link" ? location.href : "This was not possible.";
  }
});
document.addEventListener("linked", linked);

// --- The faces -----------------------------------------------------------------------------------

function face(address, number) {
  const figure = document.createElement("div");
  figure.className = "face";
  const hold = document.createElement("button");
  hold.type = "button";
  hold.className = "hold";
  hold.setAttribute("aria-label", `Portrait ${number}: hold to see it without`);
  const photo = new Image();
  photo.src = address;
  photo.alt = "";
  photo.draggable = false;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  hold.append(photo, canvas);
  const bare = (on) => hold.classList.toggle("bare", on);
  hold.addEventListener("pointerdown", () => bare(true));
  for (const end of ["pointerup", "pointercancel", "pointerleave", "blur", "keyup"]) {
    hold.addEventListener(end, () => bare(false));
  }
  hold.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    bare(true);
  });
  hold.addEventListener("contextmenu", (event) => event.preventDefault());
  const download = document.createElement("button");
  download.type = "button";
  download.className = "save";
  download.innerHTML = "<span>↓</span>";
  download.title = "Save";
  download.setAttribute("aria-label", `Save portrait ${number}`);
  download.addEventListener("click", () => {
    const { naturalWidth: width, naturalHeight: height } = photo;
    save(dressed(photo, canvas, width, height), `makeup-${number}.png`);
  });
  figure.append(hold, download);
  return { figure, photo, canvas };
}

function show() {
  const { photos, flows, cells } = props.value || {};
  if (!photos) return;
  worn = photos.map((address, place) => {
    const bytes = Uint8Array.from(atob(flows[place]), (letter) => letter.charCodeAt(0));
    return { ...face(address, place + 1), flow: new Uint16Array(bytes.buffer), cells: cells[place] };
  });
  faces.replaceChildren(...worn.map((one) => one.figure));
  if (shows++) state(); // the page's own beginning needs no link
  said.textContent = `Worn by ${photos.length} ${photos.length === 1 ? "portrait" : "portraits"}`;
  soon();
}

function weigh() {
  faces.style.setProperty("--strength", strength.value);
}

strength.addEventListener("input", weigh);
strength.addEventListener("change", state);
document.addEventListener("drawn", (event) => {
  if (event.target.closest("#" + props.source)) soon();
});
for (const [event, text] of [["waiting", WAITING], ["failed", "The faces were not matched."]]) {
  element.querySelector(".board").addEventListener(event, () => {
    isAsked = true;
    said.textContent = text;
  });
}
watch("value", show);
weigh();
show();

async function begin() {
  said.textContent = WAITING;
  try {
    const answer = props.first && (await fetch(props.first));
    if (!answer?.ok) return trigger("input");
    const value = await answer.json();
    value.photos = value.photos.map((name) => new URL(name, answer.url).href);
    if (isAsked) return;
    props.value = value;
    show();
  } catch (_) {
    trigger("input");
  }
}

new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  if (!props.value?.photos) begin();
}).observe(element);
linked();
