// The page to open on a phone. It introduces the device, then runs the commands that it polls and posts the results.
// The page reloads before each engine starts; sessionStorage keeps the name and the results across reloads.

import {hydra} from '/page/main.js';

/** @typedef {{artifact: string, runtime: string, entry: string, first?: string, median?: string, reason?: string}} Row */
/** @typedef {{rows: Row[], name?: string, session?: string, running?: boolean}} Remembered */
/** @typedef {{id: number, command: string, argument: Record<string, unknown>}} Command */
/** @typedef {(argument: never) => unknown} Handler */

const STORAGE_KEY = 'hydra';
const ERROR_LENGTH = 1000; // the command keeps half of it
const RELOAD_DELAY = 100; // ms: time for the answer to leave

const token = location.hash.slice(1);
/** @type {Remembered} */
const remembered = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? '{"rows": []}');
const state = {session: '', leaving: false, hidden: document.hidden};

/**
 * Return an element of phone.html.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind its class
 * @returns {Kind}
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

const form = element('form', HTMLFormElement);
const nameField = element('name', HTMLInputElement);
const results = element('results', HTMLTableElement);
const warning = element('warning', HTMLElement);

/**
 * Keep something across page loads.
 *
 * @param {Partial<Remembered>} change
 */
function remember(change) {
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify(Object.assign(remembered, change)));
}

/** @param {string} text */
function status(text) {
  element('status', HTMLElement).textContent = text;
}

/**
 * Post JSON to the command and return its answer.
 *
 * @param {string} path
 * @param {object} body
 * @param {RequestInit} [options]
 * @throws {Error} with the command's refusal
 */
async function post(path, body, options = {}) {
  const headers = {'Content-Type': 'application/json', 'X-Hydra-Token': token};
  const response = await fetch(path, {method: 'POST', headers, body: JSON.stringify(body), ...options});
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

/** @param {Row[]} rows */
function show(rows) {
  results.hidden = !rows.length;
  results.tBodies[0].replaceChildren(
    ...rows.map((row) => {
      const line = document.createElement('tr');
      const cells = [row.artifact, row.runtime, row.entry, row.first, row.median];
      line.append(
        ...cells.map((text, index) => {
          const cell = document.createElement('td');
          cell.className = index > 2 ? 'n' : '';
          cell.textContent = text ?? row.reason ?? '';
          return cell;
        }),
      );
      return line;
    }),
  );
}

/** The commands of this page, besides those of main.js. */
const pageHandlers = {
  /** @param {{text: string}} argument */
  say({text}) {
    status(text);
  },
  /** @param {{rows: Row[]}} argument */
  row({rows}) {
    remember({rows: [...remembered.rows, ...rows]});
    show(remembered.rows);
  },
  /** Whether the page was ever out of sight: a browser slows such a page down. */
  watched: () => ({hidden: state.hidden}),
};

/**
 * Return the function behind a command.
 *
 * @param {string} command
 */
function handlerOf(command) {
  const handler = /** @type {Record<string, Handler>} */ ({...hydra, ...pageHandlers})[command];
  if (!handler) throw new Error(`no command ${command}`);
  return handler;
}

/** Poll for commands and run them in sequence, until the command is to reload or to stop. */
async function work() {
  let answer = {};
  for (;;) {
    /** @type {Command} */
    const {id, command, argument} = await post('/next', {session: state.session, ...answer});
    answer = {};
    if (command === 'wait') continue;
    if (command === 'reload' || command === 'end') {
      state.leaving = true;
      // Do not wait for the reply, which would be a command that this page can no longer run.
      post('/next', {session: state.session, id, result: {}}, {keepalive: true}).catch(() => {});
      if (command === 'reload') setTimeout(() => location.reload(), RELOAD_DELAY);
      else finish(String(argument.text));
      return;
    }
    try {
      // link.py sends the argument that the handler takes.
      answer = {id, result: (await handlerOf(command)(/** @type {never} */ (argument))) ?? {}};
    } catch (error) {
      answer = {id, error: messageOf(error).slice(0, ERROR_LENGTH)};
    }
  }
}

/**
 * Return the message of a thrown value. Libraries also throw values that are not an Error.
 *
 * @param {unknown} thrown
 */
const messageOf = (thrown) => String(/** @type {{message?: string}} */ (Object(thrown)).message ?? thrown);

/** @param {string} text the reason of the end */
function finish(text) {
  remember({running: false, rows: []});
  form.hidden = false;
  status(text);
}

/** Introduce this device, then work. */
async function begin() {
  form.hidden = true;
  show(remembered.rows);
  status('Starting …');
  // Best effort: a screen that goes dark stops the measuring, and the page says so.
  navigator.wakeLock?.request('screen').catch(() => {});
  try {
    const facts = {
      ...(await hydra.offers()),
      touch: navigator.maxTouchPoints,
      screen: [screen.width, screen.height],
      pixel_ratio: devicePixelRatio,
    };
    const {session} = await post('/hello', {name: remembered.name, facts, session: remembered.session});
    state.session = session;
    remember({session});
    await work();
  } catch (error) {
    finish(`Stopped: ${messageOf(error)}`);
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  remember({name: nameField.value.trim(), running: true, rows: []});
  begin();
});
addEventListener('visibilitychange', () => {
  state.hidden ||= document.hidden;
});
addEventListener('pagehide', () => {
  if (state.session && !state.leaving) post('/bye', {session: state.session}, {keepalive: true}).catch(() => {});
});

nameField.value = remembered.name ?? '';
element('offer', HTMLElement).textContent = navigator.userAgent;
if (!isSecureContext) {
  warning.hidden = false;
  warning.textContent =
    'This address is no secure context for the browser: no WebGPU and one thread only. Its results will be marked.';
}
if (remembered.running) begin();
