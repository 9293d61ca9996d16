// A mode's controls from their descriptions (README.md), each with its label, in the panel.

import {h} from './dom.js';
import {histogram} from './histogram.js';

// change(patch) applies new settings. -> {element, update(settings)}
export function buildControls(descriptions, settings, change) {
  const rows = descriptions.map((description) => ({
    description,
    ...BUILD[description.kind](description, settings, change),
  }));
  const update = (current) => {
    rows.forEach(({description, element, update: own}) => {
      element.hidden = description.shown ? !description.shown(current) : false;
      own?.(current);
    });
  };
  update(settings);
  return {
    element: h(
      'div',
      {class: 'controls'},
      rows.map(({element}) => element),
    ),
    update,
  };
}

const BUILD = {range, choice, actions, file, histogram, text};

function range({key, label, short, low, high, min = 0, max = 1, step = 0.005, get, set}, settings, change) {
  const id = `control-${key}`;
  const input = h('input', {
    id,
    type: 'range',
    min,
    max,
    step,
    'data-key': key,
    oninput: () => change(set ? set(input.valueAsNumber) : {[key]: input.valueAsNumber}, {glide: false}),
    // Back to where it was: what every editor does on a double click.
    ondblclick: () => min < 0 && change({[key]: 0}),
  });
  const element = h(
    'div',
    {class: 'control range'},
    h('label', {for: id, 'aria-label': label}, short ?? label),
    h('span', {class: 'end', 'aria-hidden': 'true'}, low),
    input,
    h('span', {class: 'end high', 'aria-hidden': 'true'}, high),
  );
  const update = (current) => {
    const value = get ? get(current) : current[key];
    if (document.activeElement !== input || Math.abs(input.valueAsNumber - value) > step) input.value = value;
    const place = (input.valueAsNumber - min) / (max - min);
    input.style.setProperty('--from', `${100 * Math.min(place, min < 0 ? 0.5 : 0)}%`);
    input.style.setProperty('--to', `${100 * Math.max(place, min < 0 ? 0.5 : 0)}%`);
    input.setAttribute('aria-valuetext', `${Math.round(place * 100)} % from ${low} to ${high}`);
  };
  return {element, update};
}

function choice({key, label, items}, settings, change) {
  const options = items.map(({value, label: words, icon, swatch, shown}) => {
    const input = h('input', {type: 'radio', name: `choice-${key}`, value, onchange: () => change({[key]: value})});
    const face = h('span', {class: `face${icon ? ' icon' : ''}`}, swatch ? h('i', {class: 'swatch'}) : (icon ?? words));
    if (swatch) face.firstChild.style.background = swatch;
    return {
      input,
      shown,
      element: h(
        'label',
        {class: 'option', title: words},
        input,
        face,
        icon || swatch ? h('span', {class: 'unseen'}, words) : null,
      ),
    };
  });
  const element = h(
    'fieldset',
    {class: 'control choice', 'data-key': key},
    h('legend', {}, label),
    h(
      'div',
      {class: 'options'},
      options.map((option) => option.element),
    ),
  );
  const update = (current) =>
    options.forEach(({input, shown, element: option}) => {
      input.checked = input.value === String(current[key]);
      option.hidden = shown ? !shown(current) : false;
    });
  return {element, update};
}

function actions({label, items}, settings, change) {
  let known = settings;
  const buttons = items.map(({label: words, run, off}) =>
    h('button', {type: 'button', class: 'chip', disabled: Boolean(off), onclick: () => change(run(known))}, words),
  );
  const update = (current) => (known = current);
  return {element: h('div', {class: 'control actions', role: 'group', 'aria-label': label}, buttons), update};
}

function file({key, label, set}, settings, change) {
  let known = settings;
  const input = h('input', {
    type: 'file',
    accept: 'image/*',
    'data-key': key,
    onchange: async () => input.files.length && change(await set(input.files[0], known)),
  });
  const update = (current) => (known = current);
  return {element: h('label', {class: 'control file chip'}, input, label), update};
}

function text({key, label}, settings, change) {
  const id = `control-${key}`;
  const input = h('textarea', {
    id,
    rows: 1,
    maxlength: 120,
    spellcheck: 'false',
    oninput: () => change({[key]: input.value}, {glide: false}),
  });
  const update = (current) => {
    if (input.value !== (current[key] ?? '')) input.value = current[key] ?? '';
  };
  return {element: h('div', {class: 'control text'}, h('label', {for: id}, label), input), update};
}
