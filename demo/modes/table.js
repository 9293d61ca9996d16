// The modes of the demo, in the order of their tabs. README.md describes a mode; to add one, write it in a file of this
// folder and list it here.

/** @import {Mode} from './types.d.ts' */

import {cutout} from './cutout.js';
import {edit} from './edit.js';
import {place} from './place.js';
import {refocus} from './refocus.js';
import {relight} from './relight.js';
import {scene3d} from './scene3d.js';

/** @type {Mode[]} */
export const MODES = [refocus, cutout, edit, place, scene3d, relight];
