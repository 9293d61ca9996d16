// Colours written as in CSS.

/**
 * Convert a colour to sRGB in [0, 1].
 *
 * @param {string} hex `#rrggbb`
 * @returns {number[]} red, green, blue
 */
export function rgbOf(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16) / 255);
}
