// The inspector: the artifact and its runtime, its size and times, and a second precision beside the first.

/** @import {Choice, LoadedSlot, Session} from '../app/session.js' */
/** @import {ArtifactRow, Backend, EngineName} from '../types.d.ts' */

import {BACKENDS} from '../app/session.js';
import {byId, h, megabytes} from './dom.js';

/**
 * The state of the page that the inspector shows.
 *
 * @typedef {object} Inspected
 * @property {Session} session
 * @property {Choice} choice
 * @property {boolean} hasScene
 */

/**
 * The actions of the inspector on the page.
 *
 * @typedef {object} Actions
 * @property {() => Inspected} inspect
 * @property {(choice: Choice) => Promise<unknown>} switchTo
 * @property {(id: string | null) => Promise<unknown>} compare null ends the comparison
 */

const FLOAT_RECIPE = /^float\d/;
/** @type {Record<EngineName, string>} */
const RUNTIMES = {tfjs: 'TF.js', ort: 'ONNX Runtime Web', litert: 'LiteRT.js'};
/** @type {Record<string, string>} */
const STEPS = {encoder: 'Features', lift: 'Layers, fitted to the photo'};

/**
 * Open the inspector.
 *
 * @param {Actions} actions
 */
export function openInspector(actions) {
  const dialog = byId('inspector');
  fill(dialog, actions);
  if (!dialog.open) dialog.showModal();
}

/**
 * Fill the dialog with the page's state.
 *
 * @param {HTMLDialogElement} dialog
 * @param {Actions} actions
 */
function fill(dialog, actions) {
  /** @param {() => Promise<unknown>} work */
  const busyWhile = async (work) => {
    dialog.inert = true;
    try {
      await work();
    } finally {
      dialog.inert = false;
      fill(dialog, actions);
    }
  };
  const {session, choice, hasScene} = actions.inspect();
  const row = session.row(choice.id);
  /** @param {Choice} next */
  const change = (next) => busyWhile(() => actions.switchTo(next));
  const close = {type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close()};
  const again = {
    type: 'button',
    class: 'chip',
    id: 'run-again',
    disabled: !hasScene,
    onclick: () => busyWhile(() => session.runHeadsAgain()),
  };
  dialog.replaceChildren(
    h('header', {}, h('h2', {id: 'inspector-title'}, 'Inspector'), h('button', close, '×')),
    ...choices(session, row, choice, change),
    comparison(session, row, (id) => busyWhile(() => actions.compare(id))),
    figures(session, row),
    h('div', {class: 'doors'}, h('button', again, 'Run the heads again')),
    provenance(session, row),
  );
}

/**
 * Return the selections of runtime, precision and backend.
 *
 * @param {Session} session
 * @param {ArtifactRow} row
 * @param {Choice} choice
 * @param {(choice: Choice) => void} change
 */
function choices({catalog}, row, choice, change) {
  const engines = [...new Set(catalog.artifacts.map(({engine}) => engine))];
  /** @param {string} engine */
  const ofEngine = (engine) => catalog.artifacts.filter((artifact) => artifact.engine === engine);
  /** @param {string} engine */
  const sameRecipe = (engine) => ofEngine(engine).find(({recipe}) => recipe === row.recipe) ?? ofEngine(engine)[0];
  /** @param {string} recipe */
  const precision = (recipe) => `${recipe} · ${FLOAT_RECIPE.test(recipe) ? 'float' : 'quantized'}`;
  /** @param {Backend} backend */
  const device = (backend) => (backend === 'wasm' ? 'processor (WebAssembly)' : `graphics (${backend})`);
  return [
    select(
      {label: 'Runtime', name: 'engine', value: row.engine},
      engines.map((engine) => [engine, RUNTIMES[engine]]),
      (engine) => change({id: sameRecipe(engine).id, backend: 'wasm'}),
    ),
    select(
      {label: 'Precision', name: 'recipe', value: row.id},
      ofEngine(row.engine).map(({id, recipe}) => [id, precision(recipe)]),
      (id) => change({...choice, id}),
    ),
    select(
      {label: 'Computes on', name: 'backend', value: choice.backend},
      BACKENDS[row.engine].map((backend) => [backend, device(backend)]),
      (backend) => change({...choice, backend: /** @type {Backend} */ (backend)}),
    ),
  ];
}

/**
 * Make a labelled selection.
 *
 * @param {{label: string, name: string, value: string}} field
 * @param {string[][]} items value and words of each option
 * @param {(value: string) => void} onselect
 */
function select({label, name, value}, items, onselect) {
  const options = items.map(([key, words]) => h('option', {value: key, selected: key === value}, words));
  const onchange = () => {
    onselect(element.value);
  };
  const element = h('select', {name, onchange}, options);
  return h('label', {class: 'field'}, h('span', {}, label), element);
}

/**
 * Return the selection of a second precision.
 *
 * @param {Session} session
 * @param {ArtifactRow} row
 * @param {(id: string | null) => void} compare
 */
function comparison({catalog, slots}, row, compare) {
  const others = catalog.artifacts.filter(({engine, id}) => engine === row.engine && id !== row.id);
  const items = [['', 'nothing'], ...others.map(({id, recipe}) => [id, recipe])];
  const value = slots.other?.row.id ?? '';
  return select({label: 'Compare with', name: 'compare', value}, items, (id) => compare(id || null));
}

/**
 * Return the line that names the runtimes that proved the artifact, and the withheld artifacts.
 *
 * @param {Session} session
 * @param {ArtifactRow} row
 */
function provenance({catalog}, row) {
  const withheld = catalog.withheld.map(({id, reason}) => `${id} (${reason})`).join(', ');
  return h(
    'p',
    {class: 'small'},
    `Passed parity against the PyTorch reference in ${row.proven_by.join(', ')}; artifact ${row.sha256.slice(0, 12)}.`,
    withheld ? ` Held back: ${withheld}.` : '',
  );
}

/** @param {number | null | undefined} value */
const milliseconds = (value) => {
  if (value === undefined || value === null) return '–';
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
};

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/**
 * Return the times and sizes of the loaded artifact.
 *
 * @param {Session} session
 * @param {ArtifactRow} row
 */
function figures(session, row) {
  const slot = session.slots.main;
  if (!slot) return h('p', {}, 'Nothing is loaded.');
  const {loaded, total} = slot;
  const files = new Map(Object.values(row.modules).flatMap((module) => module.files.map((file) => [file.path, file])));
  const packed = [...files.values()].reduce((sum, {gzip}) => sum + gzip, 0);
  const runtime = h('dd', {}, '…');
  showRuntimeSize(session, runtime);
  return h(
    'div',
    {class: 'figures'},
    timeTable(row, slot),
    h(
      'dl',
      {},
      term('From photo to picture', total ? `${milliseconds(total)} ms` : '–'),
      term(
        'Model',
        `${megabytes(packed)} gzip, ${loaded.fetched ? `${megabytes(loaded.fetched)} fetched now` : 'from the cache'}`,
      ),
      term('Runtime', runtime),
      term('Threads', `${loaded.facts.threads}${loaded.facts.simd ? ', SIMD' : ''}`),
      term('Start', `${milliseconds(loaded.ms)} ms`),
    ),
  );
}

/**
 * Return the table of first and later runs.
 *
 * @param {ArtifactRow} row
 * @param {LoadedSlot} slot
 */
function timeTable(row, {runs}) {
  const lines = [...Object.keys(row.modules), 'lift'].map((name) =>
    h(
      'tr',
      {'data-run': name},
      h('th', {scope: 'row'}, STEPS[name] ?? `Head: ${name}`),
      h('td', {}, milliseconds(runs[name]?.first)),
      h('td', {}, milliseconds(median(runs[name]?.later ?? []))),
    ),
  );
  const heads = [h('th', {}, 'ms on this device'), h('th', {scope: 'col'}, 'first'), h('th', {scope: 'col'}, 'later')];
  return h('table', {}, h('thead', {}, h('tr', {}, heads)), h('tbody', {}, lines));
}

/**
 * Show the size of the runtime once it is known: the server has to compress the runtime to say it.
 *
 * @param {Session} session
 * @param {HTMLElement} element
 */
async function showRuntimeSize(session, element) {
  const bytes = await session.runtimeBytes();
  element.textContent = bytes ? `${megabytes(bytes)} gzip` : 'unknown without the server';
}

/**
 * Return one pair of a description list.
 *
 * @param {string} name
 * @param {HTMLElement | string} value
 */
function term(name, value) {
  return h('div', {}, h('dt', {}, name), typeof value === 'string' ? h('dd', {}, value) : value);
}
