// Depths of a scene that several modes ask for.

/** @import {Scene} from '../app/scene.js' */

/**
 * Return the farthest depth of the people.
 *
 * @param {Scene} scene with people
 * @returns {number}
 */
export function farthestPerson({people}) {
  return Math.min(...people.map(({extent}) => extent[0]));
}

/**
 * Return the median depth of the background.
 *
 * @param {Scene} scene
 * @returns {number} 0 where people fill the picture
 */
export function backgroundDepth({pixels}) {
  const depths = pixels.behind.filter((_, index) => pixels.alpha[index] < 0.1).sort();
  return depths.length ? depths[depths.length >> 1] : 0;
}
