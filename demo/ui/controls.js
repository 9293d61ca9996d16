// A mode's controls, built from their descriptions (README.md), each with its label.

/**
 * @import {
 *   ActionsControl, BuiltControl, Change, ChoiceControl, ChoiceItem, Control, FileControl, RangeControl, Settings,
 *   TextControl,
 * } from '../modes/types.d.ts'
 */

import {h} from './dom.js';
import {buildHistogram} from './histogram.js';

const MOST_LETTERS = 120;

/**
 * Build a panel of controls.
 *
 * @param {Control[]} descriptions
 * @param {Settings} settings
 * @param {Change} change applies new settings
 * @returns {BuiltControl}
 */
export function buildControls(descriptions, settings, change) {
  const rows = descriptions.map((description) => ({description, ...buildControl(description, settings, change)}));
  /** @param {Settings} current */
  const update = (current) => {
    for (const row of rows) {
      row.element.hidden = row.description.shown ? !row.description.shown(current) : false;
      row.update(current);
    }
  };
  update(settings);
  const elements = rows.map(({element}) => element);
  return {element: h('div', {class: 'controls'}, elements), update};
}

/**
 * Build one control.
 *
 * @param {Control} description
 * @param {Settings} settings
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildControl(description, settings, change) {
  switch (description.kind) {
    case 'range':
      return buildRange(description, change);
    case 'choice':
      return buildChoice(description, change);
    case 'actions':
      return buildActions(description, settings, change);
    case 'file':
      return buildFile(description, settings, change);
    case 'histogram':
      return buildHistogram(description, change);
    case 'text':
      return buildText(description, change);
  }
}

/**
 * @param {RangeControl} description
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildRange({key, label, short, low, high, min = 0, max = 1, step = 0.005, get, set}, change) {
  const id = `control-${key}`;
  const input = h('input', {
    id,
    type: 'range',
    min,
    max,
    step,
    'data-key': key,
    oninput: () => {
      change(set ? set(input.valueAsNumber) : {[key]: input.valueAsNumber}, {glide: false});
    },
    // A double click resets, as in every editor.
    ondblclick: () => {
      if (min < 0) change({[key]: 0});
    },
  });
  const element = h(
    'div',
    {class: 'control range'},
    h('label', {for: id, 'aria-label': label}, short ?? label),
    h('span', {class: 'end', 'aria-hidden': 'true'}, low),
    input,
    h('span', {class: 'end high', 'aria-hidden': 'true'}, high),
  );
  const zero = min < 0 ? 0.5 : 0; // where the filled part of the track begins
  /** @param {Settings} current */
  const update = (current) => {
    const value = get ? get(current) : Number(current[key]);
    const differs = Math.abs(input.valueAsNumber - value) > step;
    if (document.activeElement !== input || differs) input.value = String(value);
    const position = (input.valueAsNumber - min) / (max - min);
    input.style.setProperty('--from', `${100 * Math.min(position, zero)}%`);
    input.style.setProperty('--to', `${100 * Math.max(position, zero)}%`);
    input.setAttribute('aria-valuetext', `${Math.round(position * 100)} % from ${low} to ${high}`);
  };
  return {element, update};
}

/**
 * @param {ChoiceControl} description
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildChoice({key, label, items}, change) {
  const options = items.map((item) => {
    const onchange = () => change({[key]: item.value});
    const input = h('input', {type: 'radio', name: `choice-${key}`, value: item.value, onchange});
    return {item, input, element: h('label', {class: 'option', title: item.label}, input, optionFace(item))};
  });
  const elements = options.map(({element}) => element);
  const element = h(
    'fieldset',
    {class: 'control choice', 'data-key': key},
    h('legend', {}, label),
    h('div', {class: 'options'}, elements),
  );
  /** @param {Settings} current */
  const update = (current) => {
    for (const option of options) {
      option.input.checked = option.input.value === String(current[key]);
      option.element.hidden = option.item.shown ? !option.item.shown(current) : false;
    }
  };
  return {element, update};
}

/**
 * Return the face of an option: a swatch, an icon or its label. The label is there for screen readers in any case.
 *
 * @param {ChoiceItem} item
 * @returns {HTMLElement[]}
 */
function optionFace({label, icon, swatch}) {
  const face = h('span', {class: `face${icon ? ' icon' : ''}`});
  if (swatch) {
    const disc = h('i', {class: 'swatch'});
    disc.style.background = swatch;
    face.append(disc);
  } else face.append(icon ?? label);
  return icon || swatch ? [face, h('span', {class: 'unseen'}, label)] : [face];
}

/**
 * @param {ActionsControl} description
 * @param {Settings} settings
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildActions({label, items}, settings, change) {
  let known = settings;
  const buttons = items.map((item) => {
    const onclick = () => change(item.run(known));
    return h('button', {type: 'button', class: 'chip', disabled: Boolean(item.off), onclick}, item.label);
  });
  /** @param {Settings} current */
  const update = (current) => {
    known = current;
  };
  return {element: h('div', {class: 'control actions', role: 'group', 'aria-label': label}, buttons), update};
}

/**
 * @param {FileControl} description
 * @param {Settings} settings
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildFile({key, label, set}, settings, change) {
  let known = settings;
  const input = h('input', {
    type: 'file',
    accept: 'image/*',
    'data-key': key,
    onchange: async () => {
      if (input.files?.length) change(await set(input.files[0], known));
    },
  });
  /** @param {Settings} current */
  const update = (current) => {
    known = current;
  };
  return {element: h('label', {class: 'control file chip'}, input, label), update};
}

/**
 * @param {TextControl} description
 * @param {Change} change
 * @returns {BuiltControl}
 */
function buildText({key, label}, change) {
  const id = `control-${key}`;
  const oninput = () => {
    change({[key]: input.value}, {glide: false});
  };
  const input = h('textarea', {id, rows: 1, maxlength: MOST_LETTERS, spellcheck: 'false', oninput});
  /** @param {Settings} current */
  const update = (current) => {
    const text = String(current[key] ?? '');
    if (input.value !== text) input.value = text;
  };
  return {element: h('div', {class: 'control text'}, h('label', {for: id}, label), input), update};
}
