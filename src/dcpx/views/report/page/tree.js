// The items folded by module: names are split at dots, and modules with one child alone are joined with it.
class Module {
  constructor(label, above) {
    this.label = label.trim() === "" ? `'${label}'` : label;
    this.above = above;
    this.children = new Map();
    this.item = null;
    this.raw = 0;
    this.stored = 0;
    this.leaves = 0;
  }

  get ratio() {
    return ratioOf(this.raw, this.stored);
  }

  get name() {
    return this.above === null || this.above.above === null ? this.label : `${this.above.name}.${this.label}`;
  }

  get path() {
    return this.above === null ? [this] : [...this.above.path, this];
  }

  // The largest first.
  get parts() {
    this.sorted ??= [...this.children.values()].sort((one, other) => other.raw - one.raw);
    return this.sorted;
  }
}

function grow() {
  const root = new Module("all", null);
  for (let item = 0; item < count; item += 1) {
    let node = root;
    add(node, item);
    for (const word of items.name[item].split(".")) {
      if (!node.children.has(word)) node.children.set(word, new Module(word, node));
      node = node.children.get(word);
      add(node, item);
    }
    // A tensor that is also a module, or one of two of the same shown name, is a child of its own.
    if (node.item !== null || node.children.size > 0) {
      const leaf = new Module(`${node.label} #${item}`, node);
      node.children.set(leaf.label, leaf);
      add(leaf, item);
      leaf.item = item;
    } else {
      node.item = item;
    }
  }
  for (const child of root.children.values()) join(child);
  return root;
}

function add(node, item) {
  node.raw += items.raw[item];
  node.stored += items.stored[item];
  node.leaves += 1;
}

// Without recursion: a hostile name has as many dots as it likes.
function join(start) {
  const waiting = [start];
  while (waiting.length > 0) {
    const node = waiting.pop();
    while (node.item === null && node.children.size === 1) {
      const [only] = node.children.values();
      node.label = `${node.label}.${only.label}`;
      node.item = only.item;
      node.children = only.children;
      for (const child of node.children.values()) child.above = node;
    }
    waiting.push(...node.children.values());
  }
}
