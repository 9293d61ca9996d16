// The modes of the demo, in the order of their tabs. A mode is an object as README.md describes; to add one, write it
// in a file of this folder and put it here.

import {cutout} from './cutout.js';
import {edit} from './edit.js';
import {place} from './place.js';
import {refocus} from './refocus.js';
import {scene3d} from './scene3d.js';

export const MODES = [refocus, cutout, edit, place, scene3d];
