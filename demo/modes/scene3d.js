// 3D: the photo as two surfaces in space, the people and what is behind them, seen from where the camera stood and
// from beside it. Parallax by pointer or tilt, an orbit, points, a depth map; GLB and PLY to take away.

import {VIEW} from '../gl/view.js';
import {calm, h} from '../ui/dom.js';
import {build, SCALE_STOPS} from './surfaces.js';

const FIELD = 40; // degrees, vertical: about what a phone's portrait lens sees
const REACH = 0.05; // how far the eye goes beside the camera, of the distance to the nearest
const BORDER = 0.08; // of the photo's sides: how far it goes on beyond them, mirrored, while it is shown
const EASE = 0.12; // of the way left, a frame
const SIDE = 1280; // of the textures, at most

// The colours of one layer, and the people's matte. Beside a person, where the eye comes to look behind them, what
// the matte's edge left of them would stand as a ghost: there the filled in background takes over.
const LAYER = `${VIEW}
uniform int which; // 0 people, 1 behind them
out vec4 result;
void main() {
  float alpha = texture(maps, uv).r;
  vec3 photo = texture(source, uv).rgb;
  if (which == 0) {
    vec3 person, rest;
    split(photo, alpha, person, rest);
    result = vec4(alpha == 1.0 ? photo : person, alpha);
    return;
  }
  vec2 size = vec2(textureSize(maps, 0));
  float reach = length(size) * 0.006, most = alpha;
  for (int index = 0; index < 16; index++) {
    float angle = float(index) * 0.7854;
    vec2 aside = vec2(cos(angle), sin(angle)) * reach * (index < 8 ? 1.0 : 0.5);
    most = max(most, texture(maps, uv + aside / size).r);
  }
  result = vec4(mix(photo, texture(back, inPhoto()).rgb, smoothstep(0.02, 0.2, most)), 1.0);
}`;

export const scene3d = {
  id: 'scene3d',
  title: '3D',
  hint: 'Move over the photo, tilt the phone, or turn it around',
  formats: ['glb', 'ply', 'png'],
  saved: 'GLB: both surfaces with their colours. PLY: the points. PNG: what is seen now.',

  start: () => ({motion: 'parallax', look: 'photo', shape: 'mesh', relief: 0.5}),

  controls: () => [
    {
      kind: 'choice',
      key: 'motion',
      label: 'Motion',
      items: [
        {value: 'parallax', label: 'Parallax'},
        {value: 'orbit', label: 'Orbit'},
      ],
    },
    {
      kind: 'choice',
      key: 'look',
      label: 'Look',
      items: [
        {value: 'photo', label: 'Photo'},
        {value: 'depth', label: 'Depth'},
      ],
    },
    {
      kind: 'choice',
      key: 'shape',
      label: 'Shape',
      items: [
        {value: 'mesh', label: 'Surface'},
        {value: 'points', label: 'Points'},
      ],
    },
    {kind: 'range', key: 'relief', label: 'Relief', low: 'flat', high: 'deep'},
    {kind: 'actions', label: 'Camera', items: [{label: 'Back to the camera', run: () => ({home: (homes += 1)})}]},
    {
      kind: 'actions',
      label: 'Tilt',
      shown: () => needsLeave(),
      items: [{label: 'Let it feel the tilt', run: allowTilt}],
    },
  ],

  mount(host, {stage, scene, settings}) {
    this.stop();
    const space = new Space(host, stage, scene, settings);
    this.space = space;
    space.open().catch((error) => space.fail(error));
  },

  update(settings) {
    this.space?.update(settings);
  },

  stop() {
    this.space?.close();
    this.space = null;
  },

  save(format) {
    if (!this.space?.three) throw new Error('The 3D view is not there yet.');
    return this.space.save(format);
  },
};

let homes = 0;

// Some browsers give a phone's tilt away only after a question, which only a tap may ask.
const needsLeave = () =>
  matchMedia('(pointer: coarse)').matches && typeof globalThis.DeviceOrientationEvent?.requestPermission === 'function';

function allowTilt() {
  DeviceOrientationEvent.requestPermission().catch(() => {});
  return {};
}

class Space {
  constructor(host, stage, scene, settings) {
    Object.assign(this, {host, scene, settings, closed: false, frames: 0});
    this.textures = {people: layer(stage, scene, 0), behind: layer(stage, scene, 1)};
    this.eye = {x: 0, y: 0, wantX: 0, wantY: 0};
    this.listeners = new AbortController();
  }

  async open() {
    this.host.replaceChildren(h('p', {class: 'own-note', role: 'status'}, 'Building it …'));
    const [three, {OrbitControls}] = await Promise.all([
      import('three'),
      import('three/addons/controls/OrbitControls.js'),
    ]);
    if (this.closed) return;
    this.three = three;
    this.renderer = new three.WebGLRenderer({antialias: true, preserveDrawingBuffer: true, alpha: false});
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.world = new three.Scene();
    this.world.background = new three.Color(0x0b0c10);
    this.camera = new three.PerspectiveCamera(FIELD, this.scene.width / this.scene.height, 0.05, 50);
    this.orbit = new OrbitControls(this.camera, this.renderer.domElement);
    Object.assign(this.orbit, {
      enableDamping: !calm(),
      enablePan: false,
      minDistance: 0.15,
      maxDistance: 6,
      enabled: false,
    });
    Object.assign(this.orbit, {
      minPolarAngle: Math.PI * 0.2,
      maxPolarAngle: Math.PI * 0.8,
      minAzimuthAngle: -1.2,
      maxAzimuthAngle: 1.2,
    });
    this.orbit.addEventListener('change', () => this.ask());
    this.show();
    this.listen();
    this.update(this.settings);
  }

  // The element's parts: the picture, and the scale of the depth map.
  show() {
    const canvas = this.renderer.domElement;
    Object.assign(canvas, {id: 'space', tabIndex: 0});
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', 'The photo in space. Drag to turn it; arrow keys look around.');
    const stops = SCALE_STOPS.map(([at, color]) => `${color} ${at * 100}%`).join(', ');
    const bar = h('i', {'aria-hidden': 'true'});
    bar.style.background = `linear-gradient(to right, ${stops})`;
    this.legend = h('div', {class: 'own-scale', hidden: true}, h('span', {}, 'far'), bar, h('span', {}, 'near'));
    this.host.replaceChildren(canvas, this.legend);
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(this.host);
    this.resize();
  }

  resize() {
    const {clientWidth, clientHeight} = this.host;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.ask();
  }

  listen() {
    const canvas = this.renderer.domElement;
    const {signal} = this.listeners;
    const look = (x, y) => {
      Object.assign(this.eye, {wantX: Math.min(Math.max(x, -1), 1), wantY: Math.min(Math.max(y, -1), 1)});
      this.ask();
    };
    canvas.addEventListener(
      'pointermove',
      (event) => {
        const box = canvas.getBoundingClientRect();
        look(((event.clientX - box.left) / box.width) * 2 - 1, ((event.clientY - box.top) / box.height) * 2 - 1);
      },
      {signal},
    );
    canvas.addEventListener('pointerleave', () => look(0, 0), {signal});
    canvas.addEventListener(
      'keydown',
      (event) => {
        const [dx, dy] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] ?? [
          0, 0,
        ];
        if (!dx && !dy) return;
        event.preventDefault();
        look(this.eye.wantX + dx * 0.25, this.eye.wantY + dy * 0.25);
      },
      {signal},
    );
    // Where the phone is held at first is straight ahead.
    let rest = null;
    addEventListener(
      'deviceorientation',
      ({beta, gamma}) => {
        if (beta === null || gamma === null || calm()) return;
        rest ??= {beta, gamma};
        look((gamma - rest.gamma) / 18, (beta - rest.beta) / 18);
      },
      {signal},
    );
  }

  update(settings) {
    const before = this.settings;
    this.settings = settings;
    if (!this.three) return;
    if (!this.content || ['look', 'shape', 'relief'].some((key) => before[key] !== settings[key])) this.rebuild();
    const orbit = settings.motion === 'orbit';
    if (orbit !== this.orbit.enabled || before.home !== settings.home || !this.placed) this.goHome();
    this.orbit.enabled = orbit;
    this.legend.hidden = settings.look !== 'depth';
    this.ask();
  }

  rebuild() {
    this.content?.free();
    if (this.content) this.world.remove(this.content.group);
    this.content = build(this.three, this.scene, this.textures, {...this.settings, field: FIELD, border: BORDER});
    this.world.add(this.content.group);
    document.body.dataset.space = `${this.settings.look} ${this.settings.shape} ${this.content.vertices}`;
  }

  // Where the photo was taken from: there it looks as it is.
  goHome() {
    this.placed = true;
    Object.assign(this.eye, {x: 0, y: 0, wantX: 0, wantY: 0});
    this.camera.position.set(0, 0, 0);
    this.orbit.target.set(0, 0, -this.content.middle);
    this.camera.lookAt(this.orbit.target);
    this.orbit.update();
  }

  ask() {
    if (this.closed) return;
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      this.paint();
    });
  }

  paint() {
    if (this.closed || !this.content) return;
    if (this.orbit.enabled) {
      if (this.orbit.update()) this.ask();
    } else {
      const {eye} = this;
      const ease = calm() ? 1 : EASE;
      eye.x += (eye.wantX - eye.x) * ease;
      eye.y += (eye.wantY - eye.y) * ease;
      this.camera.position.set(eye.x * REACH * this.content.nearest, -eye.y * REACH * this.content.nearest, 0);
      this.camera.lookAt(0, 0, -this.content.middle);
      if (Math.abs(eye.wantX - eye.x) + Math.abs(eye.wantY - eye.y) > 1e-3) this.ask();
    }
    this.renderer.render(this.world, this.camera);
    this.frames += 1;
    document.body.dataset.spaceFrames = this.frames;
  }

  async save(format) {
    if (format === 'png') {
      this.paint();
      return new Promise((resolve, reject) => {
        this.renderer.domElement.toBlob(
          (blob) => (blob ? resolve(blob) : reject(new Error('the browser could not code the picture'))),
          'image/png',
        );
      });
    }
    // What is taken away is the photo's surface, whatever is shown now; a PLY file knows colours by vertex alone.
    const shape = format === 'ply' ? 'points' : 'mesh';
    const content = build(this.three, this.scene, this.textures, {
      ...this.settings,
      look: 'photo',
      shape,
      field: FIELD,
      border: 0,
    });
    try {
      return format === 'glb' ? await glb(content.group) : await ply(this.three, content.group);
    } finally {
      content.free();
    }
  }

  fail(error) {
    this.host.replaceChildren(h('p', {class: 'own-note', role: 'alert'}, `3D is not possible here: ${error.message}`));
  }

  close() {
    this.closed = true;
    this.listeners.abort();
    this.sized?.disconnect();
    cancelAnimationFrame(this.asked);
    this.content?.free();
    this.orbit?.dispose();
    this.renderer?.dispose();
    this.renderer?.forceContextLoss();
    this.host.replaceChildren();
    delete document.body.dataset.space;
  }
}

// A canvas with one layer's colours, first row on top.
function layer(stage, scene, which) {
  const factor = Math.min(SIDE / Math.max(scene.width, scene.height), 1);
  const [width, height] = [Math.round(scene.width * factor), Math.round(scene.height * factor)];
  const target = stage.target(width, height);
  stage.draw(LAYER, {...scene.view.uniforms, which}, target);
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width, height});
  canvas.getContext('2d').putImageData(new ImageData(stage.read(target), width, height), 0, 0);
  stage.free(target);
  return canvas;
}

async function glb(group) {
  const {GLTFExporter} = await import('three/addons/exporters/GLTFExporter.js');
  const made = await new GLTFExporter().parseAsync(group, {binary: true});
  return new Blob([made], {type: 'model/gltf-binary'});
}

// Most readers of PLY want colours as bytes, which the exporter writes for attributes of bytes; it would take them for
// linear light, and eight bits are too few for that.
async function ply(three, group) {
  const {PLYExporter} = await import('three/addons/exporters/PLYExporter.js');
  const color = new three.Color();
  group.traverse(({geometry}) => {
    const linear = geometry?.getAttribute('color');
    if (!linear) return;
    const bytes = new Uint8Array(linear.count * 3);
    for (let index = 0; index < linear.count; index++) {
      color.fromBufferAttribute(linear, index).convertLinearToSRGB();
      bytes.set(
        [color.r, color.g, color.b].map((value) => Math.round(value * 255)),
        index * 3,
      );
    }
    // Normalized attributes it writes as floats: this one is of bytes, and read as 0 to 1.
    const share = (offset) => (index) => bytes[index * 3 + offset] / 255;
    geometry.setAttribute(
      'color',
      Object.assign(new three.Uint8BufferAttribute(bytes, 3), {getX: share(0), getY: share(1), getZ: share(2)}),
    );
  });
  const managed = three.ColorManagement.enabled;
  three.ColorManagement.enabled = false;
  try {
    const made = new PLYExporter().parse(group, undefined, {binary: true, littleEndian: true});
    return new Blob([made], {type: 'application/octet-stream'});
  } finally {
    three.ColorManagement.enabled = managed;
  }
}
