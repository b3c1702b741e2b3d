// What an editor shows stays in the browser, over a reload and a restart of the server.
//
// Stands before the script of every editor. belongs: a text; what was kept with another one, by
// other classes or for another picture, is not shown again.
const kept = "cocosnet-" + element.closest(".block").id;

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

