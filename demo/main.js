// The demo: one photo, one scene, one mode at a time. What is here only ties the parts together.

import {openPhoto} from './app/photo.js';
import {Painter} from './app/painter.js';
import {Session} from './app/session.js';
import {Stage} from './gl/stage.js';
import {MODES} from './modes/table.js';
import {buildControls} from './ui/controls.js';
import {byId, calm, h} from './ui/dom.js';
import {buildInspector} from './ui/inspector.js';
import {takeIn} from './ui/intake.js';
import {busy, notice, progress} from './ui/notices.js';
import {listen} from './ui/pointer.js';
import {openSaver} from './ui/saver.js';
import {keepOffline} from './ui/offline.js';

const app = {mode: MODES[0], settings: new Map(), scene: null, other: null, turn: 0};

async function boot() {
  const catalog = await (await fetch('/catalog.json')).json();
  await keepOffline();
  app.stage = new Stage(byId('canvas'));
  app.painter = new Painter(app.stage);
  app.session = new Session(catalog, app.stage, progress);
  app.choice = {id: catalog.artifacts[0].id, backend: 'wasm'};
  app.modes = MODES;
  takeIn(catalog.samples, photograph);
  buildTabs();
  wire();
  app.ready = loadNet();
  document.body.dataset.ready = 'true';
  await app.ready;
}

// Loads the chosen artifact; a failure is shown with a retry, and thrown for whoever waits.
async function loadNet() {
  try {
    await app.session.load(app.choice);
    notice(null);
    document.body.dataset.net = `${app.choice.id} ${app.choice.backend}`;
    return true;
  } catch (error) {
    notice(error.message, async () => {
      app.ready = loadNet();
      if ((await app.ready) && app.photo) await see();
    });
    return false;
  } finally {
    progress(null);
  }
}

// A photo from anywhere: a file, a sample, the camera.
async function photograph(file, name) {
  const turn = ++app.turn;
  notice(null);
  busy('Opening the photo');
  try {
    const photo = await openPhoto(file, name);
    if (turn !== app.turn) return;
    app.photo = photo;
    await see(turn);
  } catch (error) {
    if (turn === app.turn) notice(error.message);
  } finally {
    if (turn === app.turn) busy(null);
  }
}

// The net looks at the photo, and the editor opens on what it saw.
async function see(turn = app.turn) {
  const started = performance.now();
  busy('Loading the net');
  if (!(await app.ready) || turn !== app.turn) return;
  busy('Finding people and depth');
  const scene = await app.session.see(app.photo);
  const other = app.session.slots.other ? await app.session.see(app.photo, 'other') : null;
  if (turn !== app.turn) {
    scene.free();
    other?.free();
    return;
  }
  app.scene?.free();
  app.other?.free();
  Object.assign(app, {scene, other, firstDepth: performance.now() - started});
  app.settings.clear();
  byId('welcome').hidden = true;
  byId('editor').hidden = false;
  document.body.classList.add('is-editing');
  choose(app.mode);
  unveil();
  busy(null);
  document.body.dataset.scene = String(turn);
}

// The first look: from all sharp into the focus that was found.
function unveil() {
  const settings = current();
  if (calm() || settings.aperture === undefined) return;
  app.painter.change({...settings, aperture: 0});
  app.painter.paint();
  app.painter.change(settings, {glide: true, duration: 900});
}

const current = () => app.settings.get(app.mode.id);

function choose(mode) {
  app.mode.stop?.();
  app.mode = mode;
  if (!app.settings.has(mode.id)) app.settings.set(mode.id, mode.start(app.scene));
  const own = Boolean(mode.mount);
  byId('own').hidden = !own;
  byId('canvas').hidden = own;
  byId('hint').textContent = mode.hint;
  byId('canvas').classList.toggle('clear', Boolean(mode.transparent?.(current())));
  app.panel = buildControls(mode.controls(app.scene, current()), current(), change);
  byId('controls').replaceChildren(app.panel.element);
  byId('controls').setAttribute('aria-labelledby', `tab-${mode.id}`);
  for (const tab of byId('tabs').children) {
    const chosen = tab.id === `tab-${mode.id}`;
    tab.setAttribute('aria-selected', chosen);
    tab.tabIndex = chosen ? 0 : -1;
  }
  fitFrame();
  if (own) mode.mount(byId('own'), {stage: app.stage, scene: app.scene, settings: current(), change});
  else app.painter.show(app.scene, mode, current(), app.other);
  byId('seam').hidden = own || !app.other;
  byId('hint').hidden = !byId('seam').hidden;
}

// patch: settings to replace. glide: let numbers move there.
function change(patch, {glide = true} = {}) {
  const settings = {...current(), ...patch};
  app.settings.set(app.mode.id, settings);
  app.panel.update(settings);
  byId('canvas').classList.toggle('clear', Boolean(app.mode.transparent?.(settings)));
  if (app.mode.mount) app.mode.update?.(settings);
  else app.painter.change(settings, {glide});
}

function buildTabs() {
  const step = {ArrowRight: 1, ArrowLeft: -1};
  byId('tabs').replaceChildren(
    ...MODES.map((mode, index) =>
      h(
        'button',
        {
          id: `tab-${mode.id}`,
          type: 'button',
          role: 'tab',
          'aria-controls': 'controls',
          onclick: () => choose(mode),
          onkeydown: ({key}) => {
            if (!step[key]) return;
            const next = byId('tabs').children[(index + step[key] + MODES.length) % MODES.length];
            next.focus();
            next.click();
          },
        },
        mode.title,
      ),
    ),
  );
}

function wire() {
  listen(byId('canvas'), {
    tap(at) {
      const patch = app.mode.tap?.(app.scene, at, current());
      if (!patch) return;
      ring(at);
      change(patch);
    },
    drag: (move) => app.mode.drag?.(app.scene, move, current(), (patch) => change(patch, {glide: false})),
    key(name) {
      const patch = app.mode.key?.(app.scene, current(), name);
      if (patch) change(patch, {glide: false});
      return Boolean(patch);
    },
  });
  holdOriginal();
  byId('seam-place').addEventListener('input', ({target}) => seamTo(target.valueAsNumber));
  byId('save').addEventListener('click', () => openSaver({...app, settings: current()}));
  byId('inspect').addEventListener('click', () => buildInspector(app, {switchTo, compare}));
  byId('home').addEventListener('click', goHome);
  new ResizeObserver(fitFrame).observe(document.querySelector('.stage'));
  byId('canvas').addEventListener('webglcontextlost', (event) => {
    event.preventDefault();
    notice('The graphics card was taken away. Load the page again to go on.');
  });
}

function goHome() {
  app.turn += 1;
  busy(null);
  byId('welcome').hidden = false;
  byId('editor').hidden = true;
  document.body.classList.remove('is-editing');
}

function holdOriginal() {
  const button = byId('original');
  const set = (on) => {
    app.painter.original = on;
    button.setAttribute('aria-pressed', on);
    app.painter.ask();
  };
  button.addEventListener('pointerdown', () => set(true));
  for (const name of ['pointerup', 'pointerleave', 'pointercancel', 'blur'])
    button.addEventListener(name, () => set(false));
  button.addEventListener('keydown', ({key}) => key === ' ' && set(true));
  button.addEventListener('keyup', ({key}) => key === ' ' && set(false));
}

function ring({x, y}) {
  const mark = byId('ring');
  mark.style.left = `${x * 100}%`;
  mark.style.top = `${y * 100}%`;
  mark.classList.remove('on');
  void mark.offsetWidth; // begins the animation anew
  mark.classList.add('on');
}

// The frame takes the largest place of the photo's shape.
function fitFrame() {
  if (!app.scene) return;
  const {clientWidth, clientHeight} = document.querySelector('.stage');
  const factor = Math.min(clientWidth / app.scene.width, clientHeight / app.scene.height);
  byId('frame').style.width = `${Math.floor(app.scene.width * factor)}px`;
  byId('frame').style.height = `${Math.floor(app.scene.height * factor)}px`;
}

function seamTo(place) {
  app.painter.seam = place;
  byId('seam').style.setProperty('--at', `${place * 100}%`);
  app.painter.ask();
}

// Another artifact or backend, from the inspector.
async function switchTo(choice) {
  const before = app.choice;
  app.choice = choice;
  const loading = loadNet();
  if (!(await loading)) {
    app.choice = before;
    return false;
  }
  app.ready = loading;
  endComparison();
  if (app.photo) await see();
  busy(null);
  return true;
}

// A second artifact of the same target beside the first, or null to end it.
async function compare(id) {
  if (!id) {
    await app.session.drop('other');
    endComparison();
  } else {
    await app.session.loadOther(id);
    if (app.photo) app.other = await app.session.see(app.photo, 'other');
    progress(null);
    const [left, right] = [app.choice.id, id].map((name) => name.split('/')[1]);
    byId('seam').querySelector('.left').textContent = left;
    byId('seam').querySelector('.right').textContent = right;
    seamTo(0.5);
  }
  if (app.scene) choose(app.mode);
}

function endComparison() {
  app.other?.free();
  app.other = null;
}

globalThis.demo = Object.assign(app, {change, choose}); // for the console and the tests
boot().catch((error) => notice(error.message));
