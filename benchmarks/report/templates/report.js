// Filters the rows of all tables by words and by target, and opens folded tables where a link or a filter leads into
// them, and for printing. Without this script the page holds the same facts.
export {};

/**
 * Rows that belong together; their text, and the text of their first cell, in lower case.
 * @typedef {{rows: HTMLTableRowElement[], text: string, head: string}} Group
 * A table. `where`: the text of a group that names its target; `opened`: by the filter.
 * @typedef {{groups: Group[], where: 'head' | 'text' | undefined, scroll: Element, fold: HTMLDetailsElement | null,
 *   count: number, opened: boolean}} Table
 */

const form = /** @type {HTMLFormElement} */ (document.getElementById('filter'));
const text = /** @type {HTMLInputElement} */ (document.getElementById('filter-text'));
const target = /** @type {HTMLSelectElement} */ (document.getElementById('filter-target'));
const said = /** @type {HTMLOutputElement} */ (document.getElementById('filter-said'));
const targets = [...target.options].map((option) => option.value).filter(Boolean);

/**
 * Return the groups of a table: rows below a cell that spans them, and rows that continue the one above.
 * @param {HTMLTableElement} table
 */
function groupsOf(table) {
  /** @type {HTMLTableRowElement[][]} */
  const groups = [];
  let left = 0;
  for (const row of table.tBodies[0]?.rows ?? []) {
    const group = left > 0 || row.classList.contains('next') ? groups.at(-1) : undefined;
    if (group) group.push(row);
    else groups.push([row]);
    left = Math.max(left - 1, 0, ...[...row.cells].map((cell) => cell.rowSpan - 1));
  }
  return groups.map((rows) => {
    const whole = rows.map((row) => row.textContent ?? '').join(' ');
    const head = rows[0]?.cells[0]?.textContent ?? '';
    return {rows, text: whole.toLowerCase(), head: head.trim().toLowerCase()};
  });
}

/**
 * Return whether the text holds the name as a word: 'onnx' is none of the words of 'onnxruntime'.
 * @param {string} words
 * @param {string} name
 */
function has(words, name) {
  return new RegExp(`(^|[^\\w-])${name}($|[^\\w-])`).test(words);
}

/**
 * A table of artifacts names a target at the head of its rows, other tables anywhere in them, or not at all.
 * @param {HTMLTableElement} element
 * @returns {Table}
 */
function tableOf(element) {
  const groups = groupsOf(element);
  const where = /** @type {const} */ (['head', 'text']).find((key) =>
    groups.some((group) => targets.some((name) => has(group[key], name))),
  );
  const count = groups.reduce((sum, group) => sum + group.rows.length, 0);
  const fold = /** @type {HTMLDetailsElement | null} */ (element.closest('details.fold'));
  return {groups, where, scroll: /** @type {Element} */ (element.parentElement), fold, count, opened: false};
}

/** @type {Table[]} */
const tables = [
  .../** @type {NodeListOf<HTMLTableElement>} */ (document.querySelectorAll('section[id] .scroll > table')),
].map(tableOf);

/**
 * Hide the rows that do not fit, and return how many are left.
 * @param {Table} table
 * @param {string[]} words
 * @param {string} chosen
 */
function show(table, words, chosen) {
  let shown = 0;
  for (const group of table.groups) {
    const aimed = !chosen || !table.where || has(group[table.where], chosen);
    const wanted = aimed && words.every((word) => group.text.includes(word));
    for (const row of group.rows) row.hidden = !wanted;
    if (wanted) shown += group.rows.length;
  }
  table.scroll.classList.toggle('empty', shown === 0);
  const {fold} = table;
  if (!fold) return shown;
  const active = words.length > 0 || chosen !== '';
  const count = fold.querySelector('.count');
  if (count) count.textContent = active ? `${shown} of ${table.count} rows` : `${table.count} rows`;
  if (words.length && shown && !fold.open) fold.open = table.opened = true;
  else if (!active && table.opened) fold.open = table.opened = false;
  return shown;
}

function apply() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = tables.reduce((sum, table) => sum + show(table, words, target.value), 0);
  const every = tables.reduce((sum, table) => sum + table.count, 0);
  said.textContent = words.length || target.value ? `${shown} of ${every} rows` : '';
}

/** Open the folded table that the address names a place in, or the first one of the section that it names. */
function reveal() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = place?.closest('details') ?? place?.querySelector('details.fold');
  if (place && fold instanceof HTMLDetailsElement && !fold.open) {
    fold.open = true;
    place.scrollIntoView();
  }
}

form.hidden = false;
form.addEventListener('submit', (event) => event.preventDefault());
text.addEventListener('input', apply);
target.addEventListener('change', apply);
addEventListener('hashchange', reveal);
addEventListener('beforeprint', () => {
  for (const element of document.querySelectorAll('details')) element.open = true;
});
apply();
reveal();
