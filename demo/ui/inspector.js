// The inspector: which artifact in which runtime, what it weighs and takes, and a second precision beside the first.

import {BACKENDS} from '../app/session.js';
import {byId, h, megabytes} from './dom.js';

const RUNTIMES = {tfjs: 'TF.js', ort: 'ONNX Runtime Web', litert: 'LiteRT.js'};
const FLOAT = /^float\d/;

// actions: switchTo({id, backend}) -> whether it loaded, compare(id or null)
export function buildInspector(app, actions) {
  const dialog = byId('inspector');
  fill(dialog, app, actions);
  if (!dialog.open) dialog.showModal();
}

// Asked when it is looked at: the server has to pack the runtime to say.
async function weigh(app, place) {
  const bytes = await app.session.weigh();
  place.textContent = bytes ? `${megabytes(bytes)} gzip` : 'unknown without the server';
}

function fill(dialog, app, actions) {
  const {catalog} = app.session;
  const again = () => fill(dialog, app, actions);
  const busyWhile = async (work) => {
    dialog.inert = true;
    try {
      await work();
    } finally {
      dialog.inert = false;
      again();
    }
  };
  const row = app.session.row(app.choice.id);
  const engines = [...new Set(catalog.artifacts.map(({engine}) => engine))];
  const change = (choice) => busyWhile(() => actions.switchTo(choice));
  const ofEngine = (engine) => catalog.artifacts.filter((each) => each.engine === engine);
  const sameRecipe = (engine) => ofEngine(engine).find(({recipe}) => recipe === row.recipe) ?? ofEngine(engine)[0];

  dialog.replaceChildren(
    h(
      'header',
      {},
      h('h2', {id: 'inspector-title'}, 'Inspector'),
      h('button', {type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close()}, '×'),
    ),
    select(
      'Runtime',
      'engine',
      engines.map((engine) => [engine, RUNTIMES[engine]]),
      row.engine,
      (engine) => change({id: sameRecipe(engine).id, backend: 'wasm'}),
    ),
    select(
      'Precision',
      'recipe',
      ofEngine(row.engine).map(({id, recipe}) => [id, `${recipe} · ${FLOAT.test(recipe) ? 'float' : 'quantized'}`]),
      row.id,
      (id) => change({...app.choice, id}),
    ),
    select(
      'Computes on',
      'backend',
      BACKENDS[row.engine].map((backend) => [
        backend,
        backend === 'wasm' ? 'processor (WebAssembly)' : `graphics (${backend})`,
      ]),
      app.choice.backend,
      (backend) => change({...app.choice, backend}),
    ),
    comparison(app, row, (id) => busyWhile(() => actions.compare(id))),
    figures(app, row),
    h(
      'div',
      {class: 'doors'},
      h(
        'button',
        {
          type: 'button',
          class: 'chip',
          id: 'run-again',
          disabled: !app.scene,
          onclick: () => busyWhile(() => app.session.again()),
        },
        'Run the heads again',
      ),
    ),
    h(
      'p',
      {class: 'small'},
      `Passed parity against the PyTorch reference in ${row.proven_by.join(', ')}; artifact ${row.sha256.slice(0, 12)}.`,
      catalog.withheld.length
        ? ` Held back: ${catalog.withheld.map(({id, reason}) => `${id} (${reason})`).join(', ')}.`
        : '',
    ),
  );
}

function select(label, name, items, value, onchange) {
  const element = h(
    'select',
    {name, onchange: () => onchange(element.value)},
    items.map(([key, words]) => h('option', {value: key, selected: key === value}, words)),
  );
  return h('label', {class: 'field'}, h('span', {}, label), element);
}

function comparison(app, row, compare) {
  const others = app.session.catalog.artifacts.filter(({engine, id}) => engine === row.engine && id !== row.id);
  const current = app.session.slots.other?.row.id ?? '';
  return select(
    'Compare with',
    'compare',
    [['', 'nothing'], ...others.map(({id, recipe}) => [id, recipe])],
    current,
    (id) => compare(id || null),
  );
}

const milliseconds = (value) => (value === undefined ? '–' : value < 10 ? value.toFixed(1) : String(Math.round(value)));
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

function figures(app, row) {
  const slot = app.session.slots.main;
  if (!slot) return h('p', {}, 'Nothing is loaded.');
  const {loaded, runs, seen} = slot;
  const names = [...Object.keys(row.modules), 'lift'];
  const words = {encoder: 'Features', lift: 'Layers, fitted to the photo'};
  const lines = names.map((name) =>
    h(
      'tr',
      {'data-run': name},
      h('th', {scope: 'row'}, words[name] ?? `Head: ${name}`),
      h('td', {}, milliseconds(runs[name]?.first)),
      h('td', {}, milliseconds(median(runs[name]?.later ?? []))),
    ),
  );
  const files = new Map(Object.values(row.modules).flatMap(({files: own}) => own.map((file) => [file.path, file])));
  const packed = [...files.values()].reduce((sum, {gzip}) => sum + gzip, 0);
  const {facts} = loaded;
  const runtime = term('Runtime', '…');
  weigh(app, runtime.lastChild);
  return h(
    'div',
    {class: 'figures'},
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', {}, 'ms on this device'),
          h('th', {scope: 'col'}, 'first'),
          h('th', {scope: 'col'}, 'later'),
        ),
      ),
      h('tbody', {}, lines),
    ),
    h(
      'dl',
      {},
      term('From photo to picture', seen ? `${milliseconds(seen)} ms` : '–'),
      term(
        'Model',
        `${megabytes(packed)} gzip${loaded.fetched ? `, ${megabytes(loaded.fetched)} fetched now` : ', from the cache'}`,
      ),
      runtime,
      term('Threads', `${facts.threads}${facts.simd ? ', SIMD' : ''}`),
      term('Start', `${milliseconds(loaded.ms)} ms`),
    ),
  );
}

const term = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
