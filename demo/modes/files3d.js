// The surfaces as files: GLB and PLY.

/** @import * as Three from 'three' */
/** @import {Library} from './surfaces.js' */

/**
 * Encode a group as binary glTF.
 *
 * @param {Three.Group} group
 * @returns {Promise<Blob>}
 */
export async function glbOf(group) {
  const {GLTFExporter} = await import('three/addons/exporters/GLTFExporter.js');
  const content = /** @type {ArrayBuffer} */ (await new GLTFExporter().parseAsync(group, {binary: true}));
  return new Blob([content], {type: 'model/gltf-binary'});
}

/**
 * Encode a group's vertices as binary PLY. Most readers want colours as bytes, which the exporter writes for an
 * attribute of bytes. It takes bytes for linear light, for which eight bits are too few: so they are sRGB here, and the
 * exporter's own conversion is switched off meanwhile.
 *
 * @param {Library} three
 * @param {Three.Group} group
 * @returns {Promise<Blob>}
 */
export async function plyOf(three, group) {
  const {PLYExporter} = await import('three/addons/exporters/PLYExporter.js');
  group.traverse((object) => {
    if (object instanceof three.Points) setByteColors(three, object.geometry);
  });
  const managed = three.ColorManagement.enabled;
  three.ColorManagement.enabled = false;
  try {
    const content = new PLYExporter().parse(group, () => {}, {binary: true, littleEndian: true});
    if (!content) throw new Error('there are no points to write');
    return new Blob([content], {type: 'application/octet-stream'});
  } finally {
    three.ColorManagement.enabled = managed;
  }
}

/**
 * Replace a geometry's linear float colours with sRGB bytes.
 *
 * @param {Library} three
 * @param {Three.BufferGeometry} geometry
 */
function setByteColors(three, geometry) {
  const linear = geometry.getAttribute('color');
  const color = new three.Color();
  const bytes = new Uint8Array(linear.count * 3);
  for (let index = 0; index < linear.count; index++) {
    color.fromBufferAttribute(linear, index).convertLinearToSRGB();
    const srgb = [color.r, color.g, color.b].map((value) => Math.round(value * 255));
    bytes.set(srgb, index * 3);
  }
  // The exporter writes normalized attributes as floats. This one holds bytes, and is read as 0 to 1.
  /** @param {number} offset */
  const share = (offset) => (/** @type {number} */ index) => bytes[index * 3 + offset] / 255;
  const attribute = new three.Uint8BufferAttribute(bytes, 3);
  geometry.setAttribute('color', Object.assign(attribute, {getX: share(0), getY: share(1), getZ: share(2)}));
}
