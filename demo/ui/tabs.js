// The tabs of the modes.

/** @import {Mode} from '../modes/types.d.ts' */

import {byId, h, inside} from './dom.js';

/** @type {Record<string, number>} */
const STEPS = {ArrowRight: 1, ArrowLeft: -1};

/**
 * Make the tabs of the modes; arrow keys go from one visible tab to the next.
 *
 * @param {Mode[]} modes
 * @param {(mode: Mode) => boolean} offered whether the loaded net has what a mode needs
 * @param {(mode: Mode) => void} choose opens a mode
 */
export function buildTabs(modes, offered, choose) {
  byId('tabs').replaceChildren(
    ...modes.map((mode) =>
      h(
        'button',
        {
          id: `tab-${mode.id}`,
          type: 'button',
          role: 'tab',
          'aria-controls': 'controls',
          onclick: () => choose(mode),
          onkeydown: (/** @type {KeyboardEvent} */ {key}) => {
            if (!STEPS[key]) return;
            const visible = modes.filter(offered);
            const next = visible[(visible.indexOf(mode) + STEPS[key] + visible.length) % visible.length];
            const tab = inside(byId('tabs'), `#tab-${next.id}`);
            tab.focus();
            tab.click();
          },
        },
        mode.title,
      ),
    ),
  );
}

/**
 * Mark the tab of the open mode, and hide those of modes that the net lacks an output for.
 *
 * @param {Mode[]} modes
 * @param {Mode} open
 * @param {(mode: Mode) => boolean} offered
 */
export function markTab(modes, open, offered) {
  for (const mode of modes) {
    const tab = inside(byId('tabs'), `#tab-${mode.id}`);
    tab.hidden = !offered(mode);
    tab.setAttribute('aria-selected', String(mode === open));
    tab.tabIndex = mode === open ? 0 : -1;
  }
}
