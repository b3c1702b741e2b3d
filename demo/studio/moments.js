// What was painted before, what can be taken away, and the link to what is shown.
//
// props: name of the tab; editor: the id of its layout's editor; numbers {name in links: id of the
// slider}. value: what the server is asked to bring back: {layout, look: places in the gallery,
// the numbers, editor: a value of it, photo, second_photo: uploaded files} and what `wiring.paint`
// puts into a link of a second look.
// A picture that was painted is an event "painted" of the document, see result.js; a link that the
// visitor opened is "linked", see visit.js.
const MOST = 8;
const ONE_SITTING = 10_000; // strokes that follow each other so soon are one picture of the strip
const GAP = 12; // pixels between the pictures of a saved strip
const find = (selector) => element.querySelector(selector);
const part = (name, inner) => document.querySelector(`#${props.name}-${name} ${inner}`);
const editorOf = () => document.querySelector(`#${props.editor} .board`).editor;
let past = []; // newest first: {id, tab, address, picture, link, editor, photos, at}
let link = {};
let shown = null; // the value of the board

// --- Kept in the browser -------------------------------------------------------------------------

const opening = new Promise((done, failed) => {
  const request = indexedDB.open("cocosnet", 1);
  request.onupgradeneeded = () =>
    request.result.createObjectStore("moments", { keyPath: "id", autoIncrement: true });
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});
opening.catch(() => {}); // a browser that keeps nothing: the strip lasts as long as the page

async function kept(job) {
  const store = (await opening).transaction("moments", "readwrite").objectStore("moments");
  const request = job(store);
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

async function add(moment) {
  const [newest] = past;
  const goesOn =
    newest &&
    moment.at - newest.at < ONE_SITTING &&
    ["layout", "look", "second", "taken"].every((name) => newest.link[name] === moment.link[name]);
  past = [moment, ...past.slice(goesOn ? 1 : 0)];
  const gone = [...past.splice(MOST), ...(goesOn ? [newest] : [])];
  list();
  try {
    moment.id = await kept((store) => store.add(moment));
    for (const { id } of gone) if (id) await kept((store) => store.delete(id));
  } catch (_) {
    // It is not kept.
  }
}

const blobOf = async (address) => (await fetch(address)).blob();

async function painted({ detail }) {
  if (detail.tab !== props.name) return;
  shown = detail.value;
  link = { ...shown.link, ...numbers() };
  state();
  const address = shown.image;
  if (past.some((moment) => moment.address === address)) return list();
  const editor = editorOf().value();
  const photos = {};
  if (link.look === undefined) photos.photo = await blobOf(part("exemplar", "img").src);
  if (shown.secondLook && link.second === undefined) {
    photos.second_photo = await blobOf(part("second", "img").src);
  }
  const picture = await blobOf(new URL(address, document.baseURI));
  await add({ tab: props.name, address, picture, photos, link, editor, at: Date.now() });
}

function list() {
  find(".label").hidden = !past.length;
  for (const image of element.querySelectorAll(".past img")) URL.revokeObjectURL(image.src);
  const buttons = past.map((moment, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.moment = place;
    button.setAttribute("aria-pressed", String(shown?.image === moment.address));
    const image = new Image();
    image.src = URL.createObjectURL(moment.picture);
    const time = new Date(moment.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    image.alt = `Picture of ${time}, ${place + 1} of ${past.length}`;
    button.append(image);
    return button;
  });
  find(".past").replaceChildren(...buttons);
}

async function bringBack({ link, editor, photos, picture }) {
  part("result", ".result").dispatchEvent(new Event("coming"));
  part("result", ".painted img").src = URL.createObjectURL(picture); // until it is painted again
  const wanted = { ...link, editor };
  for (const [name, photo] of Object.entries(photos)) {
    const form = new FormData();
    form.append("files", photo, "look.png");
    const sent = await fetch("gradio_api/upload", { method: "POST", body: form });
    const [path] = await sent.json();
    wanted[name] = { path, meta: { _type: "gradio.FileData" } };
  }
  ask(wanted);
}

function ask(wanted) {
  props.value = wanted;
  trigger("input");
}

// --- The link ------------------------------------------------------------------------------------

function numbers() {
  const found = {};
  for (const [name, id] of Object.entries(props.numbers)) {
    const box = document.querySelector(`#${id} input[type=number]`);
    if (box) found[name] = Number(box.value);
  }
  return found;
}

function state() {
  studio.links[props.name] = String(new URLSearchParams(link));
  if (studio.opened() === props.name) history.replaceState(null, "", studio.address(props.name));
}

function linked() {
  const [tab, text] = studio.wanted();
  if (tab !== props.name || !text || text === studio.links[tab]) return;
  const wanted = Object.fromEntries(new URLSearchParams(text));
  // The drawing of a page that was reloaded is newer than the example it began with.
  const again = studio.isReloaded() && !shown;
  if (again && localStorage.getItem(`cocosnet-${props.editor}`)) delete wanted.layout;
  ask(wanted);
}

// --- To take away --------------------------------------------------------------------------------

function save(address, name) {
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
}

async function strip() {
  const look = part("exemplar", "img").src;
  const { before, image } = part("result", ".result").shown;
  const wanted = [before, look, image];
  const pictures = await Promise.all(
    wanted.map(async (address) => {
      const picture = new Image();
      picture.src = new URL(address, document.baseURI);
      await picture.decode();
      return picture;
    })
  );
  const height = pictures[2].naturalHeight;
  const widths = pictures.map((one) => Math.round((one.naturalWidth * height) / one.naturalHeight));
  const sheet = document.createElement("canvas");
  sheet.width = widths.reduce((sum, width) => sum + width + GAP, -GAP);
  sheet.height = height;
  const ink = sheet.getContext("2d");
  ink.fillStyle = "white";
  ink.fillRect(0, 0, sheet.width, height);
  let left = 0;
  pictures.forEach((picture, place) => {
    ink.drawImage(picture, left, 0, widths[place], height);
    left += widths[place] + GAP;
  });
  save(sheet.toDataURL("image/png"), "strip.png");
}

const TAKE = {
  strip,
  layout: () => save(...editorOf().file()),
  look: () => save(part("exemplar", "img").src, "look.png"),
  link: async () => {
    const address = new URL(studio.address(props.name), location.href).href;
    await navigator.clipboard.writeText(address);
    const left = [
      shown && link.layout === undefined && "your drawing",
      shown && link.look === undefined && "your photo",
      shown?.secondLook && link.second === undefined && "your second photo",
    ].filter(Boolean);
    const without = left.length ? ` It cannot hold ${left.join(" and ")}: save them.` : "";
    return "The link is copied." + without;
  },
};

element.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.moment) return bringBack(past[Number(button.dataset.moment)]);
  try {
    find(".told").textContent = (await TAKE[button.dataset.take]()) || "";
  } catch (_) {
    const address = new URL(studio.address(props.name), location.href).href;
    find(".told").textContent = button.dataset.take === "link" ? address : "This was not possible.";
  }
});

document.addEventListener("painted", painted);
document.addEventListener("linked", linked);
linked();
kept((store) => store.getAll()).then(
  (all) => {
    const own = all.filter((moment) => moment.tab === props.name).reverse();
    past = [...past, ...own].slice(0, MOST);
    list();
  },
  () => {}
);
