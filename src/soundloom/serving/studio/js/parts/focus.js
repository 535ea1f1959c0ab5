/** Keep the place of the keyboard: when what has the focus is drawn anew or goes, what is nearest to it takes over. */

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** The name by which what is drawn anew is known again. @param {Element} element */
function nameOf(element) {
  return element.getAttribute("aria-label") ?? (element.textContent?.trim() || element.id);
}

/** @param {Element} element */
function takesFocus(element) {
  return element.isConnected && element.checkVisibility() && !element.matches(":disabled");
}

/** Watch the whole page. */
export function keepFocus() {
  /** @type {HTMLElement | null} */
  let last = null;
  /** @type {Element[]} */
  let parents = [];
  /** @type {Element[]} */
  let order = [];
  let name = "";
  addEventListener("focusin", ({ target }) => {
    if (!(target instanceof HTMLElement)) return;
    last = target;
    name = nameOf(last);
    order = [...document.querySelectorAll(FOCUSABLE)];
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
    const at = order.indexOf(left);
    const near = [...order.slice(at + 1), ...order.slice(0, at).reverse()].filter(takesFocus);
    const again = [...box.querySelectorAll(FOCUSABLE)].find((one) => nameOf(one) === name && takesFocus(one));
    const found = left.isConnected ? left : (again ?? near.find((one) => box.contains(one)) ?? near[0]);
    if (found instanceof HTMLElement) found.focus({ preventScroll: true });
  }).observe(document.body, { childList: true, subtree: true });
}
