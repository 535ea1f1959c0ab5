/** Start the page. */

import { createControls } from "./controls.js";
import { follow } from "./net/events.js";
import { Player } from "./audio/player.js";
import { keepFocus } from "./parts/focus.js";
import { shell } from "./parts/shell.js";
import { firstState, reduce } from "./state/actions.js";
import { keepSettings, readSession, readSettings, restored } from "./state/storage.js";
import { Store } from "./state/store.js";

const store = new Store(reduce, restored(firstState(readSettings()), readSession()));
const player = new Player();
const stream = follow(store);
const controls = createControls(store, player, stream.open);

keepFocus();
document.body.replaceChildren(...shell(store, player, controls));
store.watch(
  (state) => [state.settings],
  (settings) => {
    keepSettings(settings);
    if (settings.theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = settings.theme;
  },
);
