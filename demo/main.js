// The demo: one photo, one scene, one mode at a time. This file only ties the parts together.

/** @import {Photo} from './app/photo.js' */
/** @import {Choice} from './app/session.js' */
/** @import {App} from './app/types.d.ts' */
/** @import {Mode, Point, Settings} from './modes/types.d.ts' */

import {messageOf} from '/runtime/errors.js';
import {Painter} from './app/painter.js';
import {openPhoto} from './app/photo.js';
import {Session} from './app/session.js';
import {Stage} from './gl/stage.js';
import {APERTURE, refocus} from './modes/refocus.js';
import {MODES} from './modes/table.js';
import {buildControls} from './ui/controls.js';
import {byId, inside, prefersReducedMotion} from './ui/dom.js';
import {showHero} from './ui/hero.js';
import {openInspector} from './ui/inspector.js';
import {listenForPhotos} from './ui/intake.js';
import {showBusy, showNotice, showProgress} from './ui/notices.js';
import {keepLater, keepOffline} from './ui/offline.js';
import {listen} from './ui/pointer.js';
import {openSaver} from './ui/saver.js';
import {buildTabs, markTab} from './ui/tabs.js';

const REVEAL = 900; // ms

/** @type {App} made by `boot`; `demo` in the console and in the tests */
let app;

/** Start the page. */
async function boot() {
  const catalog = await (await fetch('/catalog.json')).json();
  await keepOffline();
  const stage = new Stage(byId('canvas'));
  app = {
    stage,
    painter: new Painter(stage),
    session: new Session(catalog, stage, showProgress),
    choice: {id: catalog.artifacts[0].id, backend: 'wasm'},
    ready: Promise.resolve(false),
    modes: MODES,
    mode: MODES[0],
    settings: new Map(),
    photo: null,
    scene: null,
    other: null,
    panel: null,
    turn: 0,
    change,
    choose,
  };
  Object.assign(globalThis, {demo: app});
  showHero(catalog.hero);
  listenForPhotos(catalog.samples, photograph);
  buildTabs(MODES, offered, choose);
  wire();
  app.ready = loadNet();
  document.body.dataset.ready = 'true';
  await app.ready;
}

/**
 * Load the chosen artifact. A failure is shown with a retry.
 *
 * @returns {Promise<boolean>} whether it loaded
 */
async function loadNet() {
  try {
    await app.session.load(app.choice);
    showNotice(null);
    document.body.dataset.net = `${app.choice.id} ${app.choice.backend}`;
    return true;
  } catch (error) {
    const retry = async () => {
      app.ready = loadNet();
      if ((await app.ready) && app.photo) await analyze(app.photo);
    };
    showNotice(messageOf(error), {label: 'Try again', run: retry});
    return false;
  } finally {
    showProgress(null);
  }
}

/**
 * Open a photo from anywhere: a file, a sample, the camera.
 *
 * @param {Blob & {name?: string}} file
 * @param {string} [name]
 */
async function photograph(file, name) {
  const turn = ++app.turn;
  showNotice(null);
  showBusy('Opening the photo');
  try {
    const photo = await openPhoto(file, name);
    if (turn !== app.turn) return;
    app.photo = photo;
    await analyze(photo, turn);
  } catch (error) {
    if (turn === app.turn) showNotice(messageOf(error));
  } finally {
    if (turn === app.turn) showBusy(null);
  }
}

/**
 * Let the net analyze the photo, and open the editor on the scene.
 *
 * @param {Photo} photo
 * @param {number} [turn]
 */
async function analyze(photo, turn = app.turn) {
  showBusy('Loading the net');
  if (!(await app.ready) || turn !== app.turn) return;
  showBusy('Finding people and depth');
  const scene = await app.session.analyze(photo);
  const other = app.session.slots.other ? await app.session.analyze(photo, 'other') : null;
  if (turn !== app.turn) {
    scene.free();
    other?.free();
    return;
  }
  app.scene?.free();
  app.other?.free();
  Object.assign(app, {scene, other});
  app.settings.clear();
  byId('welcome').hidden = true;
  byId('editor').hidden = false;
  document.body.classList.add('is-editing');
  choose(offered(app.mode) ? app.mode : MODES[0]);
  if (scene.people.length) reveal();
  else offerDepth();
  showBusy(null);
  document.body.dataset.scene = String(turn);
  keepLater();
}

/** Glide from all sharp into the focus that was found: the first look at a photo. */
function reveal() {
  const settings = currentSettings();
  if (prefersReducedMotion() || settings.aperture === undefined) return;
  app.painter.change({...settings, aperture: 0});
  app.painter.paint();
  app.painter.change(settings, {glide: true, duration: REVEAL});
}

/** Say that nobody was found. The photo stays sharp until the user asks for the depth, which is less sure there. */
function offerDepth() {
  const blur = () => {
    choose(refocus);
    change({aperture: APERTURE});
  };
  const text = 'Nobody was found in this photo. The net knows people best, but it has a depth for everything.';
  showNotice(text, {label: 'Refocus by depth', run: blur, calm: true});
}

/** Return the settings of the current mode. */
const currentSettings = () => app.settings.get(app.mode.id) ?? {};

/**
 * Open a mode on the current scene.
 *
 * @param {Mode} mode
 */
function choose(mode) {
  const {scene} = app;
  if (!scene) return;
  if (app.mode.mount) app.mode.stop();
  app.mode = mode;
  if (!app.settings.has(mode.id)) app.settings.set(mode.id, mode.start(scene));
  const settings = currentSettings();
  const mounted = Boolean(mode.mount);
  byId('mount').hidden = !mounted;
  byId('canvas').hidden = mounted;
  byId('hint').textContent = mode.hint;
  showTransparency();
  app.panel = buildControls(mode.controls(scene, settings), settings, change);
  byId('controls').replaceChildren(app.panel.element);
  byId('controls').setAttribute('aria-labelledby', `tab-${mode.id}`);
  markTab(MODES, mode, offered);
  fitFrame();
  if (mode.mount) mode.mount(byId('mount'), {stage: app.stage, scene, settings});
  else app.painter.show(scene, mode, settings, app.other);
  byId('seam').hidden = mounted || !app.other;
  byId('hint').hidden = !byId('seam').hidden;
}

/** Show a checkerboard behind a picture with clear parts. */
function showTransparency() {
  byId('canvas').classList.toggle('clear', Boolean(app.mode.transparent?.(currentSettings())));
}

/**
 * Return whether the loaded net has the output that a mode draws with.
 *
 * @param {Mode} mode
 */
function offered({judge}) {
  if (!judge) return true;
  const {modules} = app.session.slot('main').row;
  return Object.values(modules).some(({outputs}) => outputs.some((output) => output.judge === judge));
}

/**
 * Change some settings of the current mode.
 *
 * @param {Partial<Settings>} patch
 * @param {{glide?: boolean}} [options] whether numbers glide there
 */
function change(patch, {glide = true} = {}) {
  const settings = {...currentSettings(), ...patch};
  app.settings.set(app.mode.id, settings);
  app.panel?.update(settings);
  showTransparency();
  if (app.mode.mount) app.mode.update(settings);
  else app.painter.change(settings, {glide});
}

/** Connect the page's elements. */
function wire() {
  listen(byId('canvas'), {tap, drag, key});
  holdOriginal();
  byId('seam-position').addEventListener('input', () => moveSeam(byId('seam-position').valueAsNumber));
  byId('save').addEventListener('click', () => {
    if (app.scene) openSaver({...app, scene: app.scene, settings: currentSettings()});
  });
  const inspect = () => ({session: app.session, choice: app.choice, hasScene: Boolean(app.scene)});
  byId('inspect').addEventListener('click', () => openInspector({inspect, switchTo, compare}));
  byId('home').addEventListener('click', goHome);
  new ResizeObserver(fitFrame).observe(byId('stage'));
  byId('canvas').addEventListener('webglcontextlost', (event) => {
    event.preventDefault();
    showNotice('The graphics card was taken away. Load the page again to go on.');
  });
}

/**
 * Hand a tap to the mode.
 *
 * @param {Point} at
 */
function tap(at) {
  const patch = app.scene && app.mode.tap?.(app.scene, at, currentSettings());
  if (!patch) return;
  showRing(at);
  change(patch);
}

/** @type {import('./ui/pointer.js').Handlers['drag']} */
function drag(move) {
  if (!app.scene) return false;
  return app.mode.drag?.(app.scene, move, currentSettings(), (patch) => change(patch, {glide: false})) ?? false;
}

/** @type {import('./ui/pointer.js').Handlers['key']} */
function key(name) {
  const patch = app.scene && app.mode.key?.(app.scene, currentSettings(), name);
  if (patch) change(patch, {glide: false});
  return Boolean(patch);
}

/** Show the first page again. A photo under way is dropped. */
function goHome() {
  app.turn += 1;
  showBusy(null);
  byId('welcome').hidden = false;
  byId('editor').hidden = true;
  document.body.classList.remove('is-editing');
}

/** Show the photo as it was while the button is held. */
function holdOriginal() {
  const button = byId('original');
  /** @param {boolean} on */
  const set = (on) => {
    app.painter.original = on;
    button.setAttribute('aria-pressed', String(on));
    app.painter.ask();
  };
  button.addEventListener('pointerdown', () => set(true));
  for (const name of ['pointerup', 'pointerleave', 'pointercancel', 'blur']) {
    button.addEventListener(name, () => set(false));
  }
  button.addEventListener('keydown', ({key: name}) => name === ' ' && set(true));
  button.addEventListener('keyup', ({key: name}) => name === ' ' && set(false));
}

/**
 * Show a ring where a tap was.
 *
 * @param {Point} at
 */
function showRing({x, y}) {
  const ring = byId('ring');
  ring.style.left = `${x * 100}%`;
  ring.style.top = `${y * 100}%`;
  ring.classList.remove('on');
  void ring.offsetWidth; // begins the animation anew
  ring.classList.add('on');
}

/** Give the frame the largest size of the photo's shape. */
function fitFrame() {
  if (!app.scene) return;
  const {clientWidth, clientHeight} = byId('stage');
  const factor = Math.min(clientWidth / app.scene.width, clientHeight / app.scene.height);
  byId('frame').style.width = `${Math.floor(app.scene.width * factor)}px`;
  byId('frame').style.height = `${Math.floor(app.scene.height * factor)}px`;
}

/**
 * Move the seam between two precisions.
 *
 * @param {number} position of the width
 */
function moveSeam(position) {
  app.painter.seam = position;
  byId('seam').style.setProperty('--at', `${position * 100}%`);
  app.painter.ask();
}

/**
 * Load another artifact or backend, and analyze the photo again.
 *
 * @param {Choice} choice
 * @returns {Promise<boolean>} whether it loaded; the former one stays where it did not
 */
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
  if (app.photo) await analyze(app.photo);
  showBusy(null);
  return true;
}

/**
 * Show a second artifact of the same target beside the first.
 *
 * @param {string | null} id null ends the comparison
 */
async function compare(id) {
  if (!id) {
    await app.session.dropOther();
    endComparison();
  } else {
    await app.session.loadOther(id);
    if (app.photo) app.other = await app.session.analyze(app.photo, 'other');
    showProgress(null);
    const [left, right] = [app.choice.id, id].map((name) => name.split('/')[1]);
    inside(byId('seam'), '.left').textContent = left;
    inside(byId('seam'), '.right').textContent = right;
    moveSeam(0.5);
  }
  if (app.scene) choose(app.mode);
}

/** Free the second artifact's scene. */
function endComparison() {
  app.other?.free();
  app.other = null;
}

boot().catch((error) => showNotice(messageOf(error)));
