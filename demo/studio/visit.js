// What the page itself does in the browser: tabs have addresses, and files are looked at before
// they are sent. `studio` holds the limits, see `in_browser` in limits.py.
const passed = new WeakSet();

// An address is #tab, or #tab?name=value&... with what is shown on it; `links` holds that by tab.
studio.links = {};
studio.wanted = () => location.hash.slice(1).split("?");
studio.address = (id) => "#" + id + (studio.links[id] ? "?" + studio.links[id] : "");
studio.opened = () =>
  document.querySelector("#tabs [role=tab][aria-selected=true]")?.dataset.tabId;
studio.tab = (id) => {
  if (studio.wanted()[0] !== id) location.hash = studio.address(id);
};
const [wantedTab] = studio.wanted();

function openTab(id) {
  const tab = document.querySelector(`#tabs [role=tab][data-tab-id="${CSS.escape(id)}"]`);
  if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
}

addEventListener("hashchange", () => {
  openTab(studio.wanted()[0]);
  document.dispatchEvent(new Event("linked"));
});
// While the page is put together its own code may not hear a click, or take it back: what an address
// asks for is asked for again until it stays, or the visitor does something.
let isTouched = false;
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, (event) => (isTouched ||= event.isTrusted), { capture: true, once: true });
}
studio.isTouched = () => isTouched;
studio.isReloaded = () => performance.getEntriesByType("navigation")[0]?.type !== "navigate";
studio.insist = (isSo, ask, tries = 12) => {
  if (!isSo()) ask();
  if (tries) setTimeout(() => isTouched || studio.insist(isSo, ask, tries - 1), 300);
};
if (wantedTab) {
  const seen = new MutationObserver(() => {
    if (!document.querySelector("#tabs [role=tab]")) return;
    seen.disconnect();
    studio.insist(() => studio.opened() === wantedTab, () => openTab(wantedTab));
  });
  seen.observe(document, { childList: true, subtree: true });
}

// Pictures to choose from are called by what they are, which gradio calls all alike.
const CALLED = { examples: "Example", gallery: "Look", "second-gallery": "Second look" };

const thumbnailsOf = (list) => [...list.querySelectorAll("button.thumbnail-item")];

function nameThumbnails(list) {
  const [, kind] = list.id.match(/-((?:second-)?gallery|examples)$/) || [];
  const called = list.id.startsWith("layers") ? "Portrait" : CALLED[kind];
  const buttons = thumbnailsOf(list);
  const chosen = buttons.find((button) => button.classList.contains("selected")) || buttons[0];
  const reached = buttons.find((button) => button === document.activeElement) || chosen;
  buttons.forEach((button, place) => {
    const match = button.querySelector(".caption-label")?.textContent.trim();
    const name = match ? `${called}, ${match} alike` : `${called} ${place + 1}`;
    if (button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    const pressed = String(button.classList.contains("selected"));
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    button.tabIndex = button === reached ? 0 : -1; // the others by arrow keys
  });
}

document.addEventListener("keydown", (event) => {
  const list = event.target.closest?.(".picks");
  const buttons = list ? thumbnailsOf(list) : [];
  const here = buttons.indexOf(event.target);
  if (here < 0) return;
  const [first, ...tops] = buttons.map((button) => button.getBoundingClientRect().top);
  const columns = 1 + tops.filter((top) => top === first).length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const next = buttons[here + steps[event.key]];
  if (event.key in steps) event.preventDefault();
  if (!next) return;
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

let naming = false;
new MutationObserver(() => {
  if (naming) return;
  naming = true;
  requestAnimationFrame(() => {
    naming = false;
    document.querySelectorAll(".picks").forEach(nameThumbnails);
  });
}).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });

// The format that a file's first bytes tell of, in Pillow's words; null for none of a picture.
async function formatOf(file) {
  const text = String.fromCharCode(...new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  const starts = { "\xff\xd8\xff": "JPEG", "\x89PNG": "PNG", GIF8: "GIF", BM: "BMP" };
  for (const [start, format] of Object.entries(starts)) if (text.startsWith(start)) return format;
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "WEBP";
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "TIFF";
  if (text.slice(4, 8) !== "ftyp") return null;
  return text.slice(8, 11) === "avi" ? "AVIF" : "HEIF";
}

// The file, or a smaller one of a large photo. exact: its pixels are numbers of classes.
async function checked(file, exact) {
  const format = await formatOf(file);
  if (!studio.formats.includes(format)) {
    const heic = format === "HEIF" && "a HEIC photo, which cannot be read here";
    const kind = heic || "not a picture that can be read";
    throw new Error(`“${file.name}” is ${kind}; choose one of ${studio.readable}.`);
  }
  const tooLarge = file.size > studio.maxBytes;
  const [own, most] = [file.size, studio.maxBytes].map((bytes) => Math.round(bytes / 2 ** 20));
  const megabytes = `“${file.name}” has ${own} MB; at most ${most} are read.`;
  const elsewhere = format === "HEIF" || format === "TIFF"; // which few browsers can open
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) {
    if (!elsewhere) throw new Error(`“${file.name}” is damaged; choose another one.`);
    if (tooLarge) throw new Error(megabytes);
    return file;
  }
  const [longer, shorter] = [Math.max, Math.min].map((of) => of(picture.width, picture.height));
  if (longer > studio.maxAspect * shorter) {
    const times = `more than ${studio.maxAspect} times as long as wide`;
    throw new Error(`“${file.name}” is ${times}; crop it first.`);
  }
  if (exact && tooLarge) throw new Error(megabytes);
  if (exact || (longer <= studio.maxSide && !tooLarge)) return file;
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, studio.maxSide / longer);
  canvas.width = Math.round(scale * picture.width);
  canvas.height = Math.round(scale * picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const drawn = format === "PNG" || format === "GIF";
  const [type, ending] = drawn ? ["image/png", "png"] : ["image/jpeg", "jpg"];
  const smaller = await new Promise((done) => canvas.toBlob(done, type, 0.93));
  return new File([smaller], file.name.replace(/\.\w+$/, "") + "." + ending, { type });
}

function refuse(message) {
  document.querySelector(".refused")?.remove();
  const box = document.createElement("div");
  box.className = "refused";
  box.setAttribute("role", "alert");
  const close = document.createElement("button");
  close.setAttribute("aria-label", "Close");
  close.textContent = "×";
  close.onclick = () => box.remove();
  box.append(close, message);
  document.body.append(box);
  setTimeout(() => box.remove(), 12_000);
}

// Hold an event with files back, look at them, and let a new one with what came of them through.
function hold(event, files, exact, again) {
  event.preventDefault();
  event.stopImmediatePropagation();
  Promise.all([...files].map((file) => checked(file, exact))).then(
    (found) => {
      const sent = new DataTransfer();
      for (const file of found) sent.items.add(file);
      const copy = again(sent);
      passed.add(copy);
      event.target.dispatchEvent(copy);
    },
    (error) => {
      if (event.type === "change") event.target.value = ""; // so that it can be chosen again
      refuse(error.message);
    }
  );
}

function takesPictures(input) {
  return input?.type === "file" && /image|png/.test(input.accept);
}

document.addEventListener(
  "change",
  (event) => {
    const input = event.target;
    if (passed.has(event) || !takesPictures(input) || !input.files.length) return;
    const exact = Boolean(input.nextElementSibling?.matches(".exact") || input.closest(".exact"));
    hold(event, input.files, exact, (sent) => {
      input.files = sent.files;
      return new Event("change", { bubbles: true });
    });
  },
  true
);

document.addEventListener(
  "drop",
  (event) => {
    const files = event.dataTransfer?.files;
    const block = event.target.closest?.(".block");
    const input = block?.querySelector("input[type=file]");
    if (passed.has(event) || !files?.length || !takesPictures(input)) return;
    const exact = block.matches(".exact");
    const settings = { bubbles: true, cancelable: true };
    hold(event, files, exact, (sent) => new DragEvent("drop", { ...settings, dataTransfer: sent }));
  },
  true
);
