/** Keep the place of the keyboard: when what has the focus is drawn anew or goes, what is nearest to it takes over. */

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

const focusable = () => [...document.querySelectorAll(FOCUSABLE)];

/** What stays the same when it is drawn anew. @param {Element} element */
function nameOf(element) {
  return element.getAttribute("data-role") ?? element.getAttribute("aria-label") ?? element.textContent?.trim();
}

/** Watch the whole page. */
export function keepFocus() {
  /** @type {HTMLElement | null} */
  let last = null;
  /** @type {Element[]} */
  let parents = [];
  let name = /** @type {string | undefined} */ ("");
  let at = 0;
  addEventListener("focusin", ({ target }) => {
    if (!(target instanceof HTMLElement)) return;
    last = target;
    name = nameOf(last);
    at = focusable().indexOf(last);
    parents = [];
    for (let one = last.parentElement; one; one = one.parentElement) parents.push(one);
  });
  addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Node && !last?.contains(target)) last = null; // the user leaves it
  });
  new MutationObserver((records) => {
    if (!last || document.activeElement !== document.body) return;
    const left = last;
    if (!records.some(({ removedNodes }) => [...removedNodes].some((node) => node.contains(left)))) return;
    const box = parents.find((one) => one.isConnected) ?? document.body;
    const near = focusable().map((one, index) => ({ one, inside: box.contains(one), far: Math.abs(index - at) }))
      .filter(({ one }) => one.checkVisibility() && !one.matches(":disabled")).sort((one, other) => one.far - other.far);
    const again = near.find(({ one, inside }) => inside && nameOf(one) === name);
    const found = left.isConnected ? left : (again ?? near.find(({ inside }) => inside) ?? near[0])?.one;
    if (found instanceof HTMLElement) found.focus({ preventScroll: true });
  }).observe(document.body, { childList: true, subtree: true });
}
