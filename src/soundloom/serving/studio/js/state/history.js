/**
 * A tree of undo: each change is a node below the one before. Undo goes up; redo goes down to the child that was
 * visited last. Nothing is ever cut: a change after an undo begins a branch.
 */

/**
 * @template T
 * @typedef {{parent: number, value: T, next: number}} Node  `next` is the child of a redo, -1 without one
 */
/**
 * @template T
 * @typedef {{nodes: Node<T>[], at: number}} Tree
 */

/**
 * @template T
 * @param {T} value
 * @returns {Tree<T>}
 */
export function plant(value) {
  return { nodes: [{ parent: -1, value, next: -1 }], at: 0 };
}

/**
 * @template T
 * @param {Tree<T>} tree
 * @returns {T}
 */
export function current(tree) {
  return tree.nodes[tree.at].value;
}

/**
 * Add a change. With `merge`, replace the current value instead: steps of one gesture are one change.
 * @template T
 * @param {Tree<T>} tree
 * @param {T} value
 * @param {boolean} [merge]
 * @returns {Tree<T>}
 */
export function change(tree, value, merge = false) {
  const nodes = [...tree.nodes];
  if (merge) {
    nodes[tree.at] = { ...nodes[tree.at], value };
    return { nodes, at: tree.at };
  }
  nodes[tree.at] = { ...nodes[tree.at], next: nodes.length };
  nodes.push({ parent: tree.at, value, next: -1 });
  return { nodes, at: nodes.length - 1 };
}

/**
 * @template T
 * @param {Tree<T>} tree
 * @returns {Tree<T>} the same tree at its root
 */
export function undo(tree) {
  const { parent } = tree.nodes[tree.at];
  if (parent < 0) return tree;
  const nodes = [...tree.nodes];
  nodes[parent] = { ...nodes[parent], next: tree.at };
  return { nodes, at: parent };
}

/**
 * @template T
 * @param {Tree<T>} tree
 * @returns {Tree<T>} the same tree if nothing was undone
 */
export function redo(tree) {
  const { next } = tree.nodes[tree.at];
  return next < 0 ? tree : { nodes: tree.nodes, at: next };
}
