// A person's page: says which device this is, then does what the command asks for and posts what came of it. Every
// engine starts in a page that was loaded anew; sessionStorage carries name and results across.
import {hydra} from '/page/main.js';

const token = location.hash.slice(1);
const element = (id) => document.getElementById(id);
const remembered = JSON.parse(sessionStorage.getItem('hydra') ?? '{"rows": []}');
const remember = (change) => sessionStorage.setItem('hydra', JSON.stringify(Object.assign(remembered, change)));
const state = {session: '', leaving: false, hidden: document.hidden};

const status = (text) => {
  element('status').textContent = text;
};

async function post(path, body, options = {}) {
  const headers = {'Content-Type': 'application/json', 'X-Hydra-Token': token};
  const answer = await fetch(path, {method: 'POST', headers, body: JSON.stringify(body), ...options});
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function show(rows) {
  element('results').hidden = !rows.length;
  element('results').tBodies[0].replaceChildren(
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

// What the command may ask for beside what main.js offers.
const own = {
  say: ({text}) => {
    status(text);
    return {};
  },
  row: ({rows}) => {
    remember({rows: [...remembered.rows, ...rows]});
    show(remembered.rows);
    return {};
  },
  // Whether the page was ever out of sight: a browser slows such a page down.
  watched: () => ({hidden: state.hidden}),
};

async function work() {
  let answer = {};
  for (;;) {
    const {id, command, argument} = await post('/next', {session: state.session, ...answer});
    answer = {};
    if (command === 'wait') continue;
    if (command === 'reload' || command === 'end') {
      state.leaving = true;
      // Answered, but not waited for: the next question of this page would never be heard.
      post('/next', {session: state.session, id, result: {}}, {keepalive: true}).catch(() => {});
      if (command === 'reload') setTimeout(() => location.reload(), 100);
      else finish(argument.text);
      return;
    }
    try {
      answer = {id, result: (await (own[command] ?? hydra[command])(argument)) ?? {}};
    } catch (error) {
      answer = {id, error: String(error?.message ?? error)};
    }
  }
}

function finish(text) {
  remember({running: false, rows: []});
  element('form').hidden = false;
  status(text);
}

async function begin() {
  element('form').hidden = true;
  show(remembered.rows);
  status('Starting …');
  // Best effort: a screen that goes dark stops the measuring, and the person was told.
  navigator.wakeLock?.request('screen').catch(() => {});
  try {
    const facts = await hydra.offers();
    const device = {
      name: remembered.name,
      facts: {
        ...facts,
        touch: navigator.maxTouchPoints,
        screen: [screen.width, screen.height],
        pixel_ratio: devicePixelRatio,
      },
    };
    ({session: state.session} = await post('/hello', {...device, session: remembered.session}));
    remember({session: state.session});
    await work();
  } catch (error) {
    finish(`Stopped: ${error.message}`);
  }
}

element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  remember({name: element('name').value.trim(), running: true, rows: []});
  begin();
});
addEventListener('visibilitychange', () => {
  state.hidden ||= document.hidden;
});
addEventListener('pagehide', () => {
  if (state.session && !state.leaving) post('/bye', {session: state.session}, {keepalive: true}).catch(() => {});
});

element('name').value = remembered.name ?? '';
element('offer').textContent = navigator.userAgent;
if (!isSecureContext) {
  element('warning').hidden = false;
  element('warning').textContent =
    'This address is no secure context for the browser: no WebGPU and one thread only. Its results will be marked.';
}
if (remembered.running) begin();
