/** The styles of what is loaded on demand: a module that imports this runs when they are there. */

import { styles } from "./element.js";

await styles("library");
