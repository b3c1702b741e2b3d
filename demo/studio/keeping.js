// What an editor shows stays in the browser, over a reload and a restart of the server.
//
// Stands before the script of every editor. belongs: a text; what was kept with another one, by
// other classes or for another picture, is not shown again.
const kept = "cocosnet-" + element.closest(".block").id;
const pagesOwn = JSON.stringify(props.value);
let broughtBack = null;

function keep(belongs) {
  try {
    localStorage.setItem(kept, JSON.stringify({ belongs, value: props.value }));
  } catch (_) {
    // A browser that keeps nothing, or no more.
  }
}

function keptBefore(belongs) {
  try {
    const found = JSON.parse(localStorage.getItem(kept));
    return found && found.belongs === belongs ? found.value : null;
  } catch (_) {
    return null;
  }
}

// Show what was kept before in place of the page's own beginning; whether there was anything.
function bringBack(belongs) {
  broughtBack = keptBefore(belongs);
  if (broughtBack) props.value = broughtBack;
  return broughtBack !== null;
}

// While the page is put together gradio may set its own beginning once more, which undoes that.
function insistOnKept() {
  if (!broughtBack || studio.isTouched() || JSON.stringify(props.value) !== pagesOwn) return;
  const isAskedFor = !studio.isReloaded() && location.hash.includes("layout=");
  if (!isAskedFor) props.value = broughtBack;
}
