// Puts rows the server rendered into a table: each in its place, with what was unfolded and focused in the row it replaces.

export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

export function replace(old, fresh) {
  carryOver(old, fresh, () => old.replaceWith(fresh));
}

// comesFirst(row): whether a row stands above the fresh one.
export function insert(rows, old, fresh, comesFirst) {
  const put = () => {
    old?.remove();
    let next = null;
    for (let row = rows.lastElementChild; row && !comesFirst(row); row = row.previousElementSibling) next = row;
    rows.insertBefore(fresh, next);
  };
  if (old) carryOver(old, fresh, put);
  else put();
}

function carryOver(old, fresh, put) {
  const focused = focusables(old).indexOf(document.activeElement);
  const before = old.querySelectorAll("details");
  fresh.querySelectorAll("details").forEach((part, place) => { part.open = before[place]?.open ?? false; });
  put();
  if (focused >= 0) focusables(fresh)[focused]?.focus({ preventScroll: true });
}

function focusables(element) {
  return [...element.querySelectorAll("a, summary, pre")];
}
