// The view of the 3D mode: a renderer, a camera, and its motion.

/** @import {Scene} from '../app/scene.js' */
/** @import {SaveFormat} from './types.d.ts' */
/** @import {Appearance, Content, LayerImages, Library} from './surfaces.js' */
/** @typedef {typeof import('three/addons/controls/OrbitControls.js').OrbitControls} OrbitClass */

import {h, prefersReducedMotion} from '../ui/dom.js';
import {glbOf, plyOf} from './files3d.js';
import {build, SCALE_STOPS} from './surfaces.js';

/**
 * `home` changes when the camera shall go back.
 *
 * @typedef {Pick<Appearance, 'look' | 'shape' | 'relief'> & {motion: 'parallax' | 'orbit', home: number}} SpaceSettings
 */

const FIELD = 40; // degrees, vertical: about what a phone's portrait lens sees
const REACH = 0.05; // how far the eye goes beside the camera, of the distance to the nearest
const BORDER = 0.08; // of the photo's sides: how far it goes on beyond them, mirrored, while it is shown
const EASE = 0.12; // of the way left, per frame
const STILL = 1e-3; // of the eye's reach: less is no motion
const KEY_STEP = 0.25; // of the eye's reach
const TILT = 18; // degrees for the eye's whole reach
const BACKGROUND = 0x0b0c10;
/** @type {Record<string, [number, number]>} */
const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
/** @type {(keyof SpaceSettings)[]} settings that need other geometry */
const REBUILDING = ['look', 'shape', 'relief'];

export class Space {
  /**
   * Show a scene in `host`.
   *
   * @param {Library} three
   * @param {OrbitClass} OrbitControls
   * @param {HTMLElement} host
   * @param {{scene: Scene, images: LayerImages, settings: SpaceSettings}} shown
   * @throws {Error} where the browser offers no WebGL for it
   */
  constructor(three, OrbitControls, host, {scene, images, settings}) {
    this.three = three;
    this.host = host;
    this.scene = scene;
    this.images = images;
    this.settings = settings;
    this.closed = false;
    this.frames = 0;
    /** @type {number | null} the animation frame that is asked for */
    this.asked = null;
    /** Where the eye is and where it goes, in [-1, 1] of its reach. */
    this.eye = {x: 0, y: 0, wantX: 0, wantY: 0};
    this.listeners = new AbortController();

    this.renderer = new three.WebGLRenderer({antialias: true, preserveDrawingBuffer: true, alpha: false});
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.world = new three.Scene();
    this.world.background = new three.Color(BACKGROUND);
    this.camera = new three.PerspectiveCamera(FIELD, scene.width / scene.height, 0.05, 50);
    this.orbit = new OrbitControls(this.camera, this.renderer.domElement);
    Object.assign(this.orbit, {enableDamping: !prefersReducedMotion(), enablePan: false, enabled: false});
    Object.assign(this.orbit, {minDistance: 0.15, maxDistance: 6});
    Object.assign(this.orbit, {minPolarAngle: Math.PI * 0.2, maxPolarAngle: Math.PI * 0.8});
    Object.assign(this.orbit, {minAzimuthAngle: -1.2, maxAzimuthAngle: 1.2});
    this.orbit.addEventListener('change', () => this.ask());
    this.content = this.buildContent();

    this.legend = legend();
    this.sized = new ResizeObserver(() => this.resize());
    this.show();
    this.listen();
    this.goHome();
    this.follow();
  }

  /** Put the canvas and the depth map's legend into the host. */
  show() {
    const canvas = this.renderer.domElement;
    Object.assign(canvas, {id: 'space', tabIndex: 0});
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', 'The photo in space. Drag to turn it; arrow keys look around.');
    this.host.replaceChildren(canvas, this.legend);
    this.sized.observe(this.host);
    this.resize();
  }

  /** Take the host's size. */
  resize() {
    const {clientWidth, clientHeight} = this.host;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.ask();
  }

  /** Listen to pointer, keys and tilt. */
  listen() {
    const canvas = this.renderer.domElement;
    const {signal} = this.listeners;
    canvas.addEventListener(
      'pointermove',
      (event) => {
        const box = canvas.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width;
        const y = (event.clientY - box.top) / box.height;
        this.lookFrom(x * 2 - 1, y * 2 - 1);
      },
      {signal},
    );
    canvas.addEventListener('pointerleave', () => this.lookFrom(0, 0), {signal});
    canvas.addEventListener(
      'keydown',
      (event) => {
        const direction = KEYS[event.key];
        if (!direction) return;
        event.preventDefault();
        const {wantX, wantY} = this.eye;
        this.lookFrom(wantX + direction[0] * KEY_STEP, wantY + direction[1] * KEY_STEP);
      },
      {signal},
    );
    // How the phone is held at first is straight ahead.
    /** @type {{beta: number, gamma: number} | null} */
    let rest = null;
    addEventListener(
      'deviceorientation',
      ({beta, gamma}) => {
        if (beta === null || gamma === null || prefersReducedMotion()) return;
        rest ??= {beta, gamma};
        this.lookFrom((gamma - rest.gamma) / TILT, (beta - rest.beta) / TILT);
      },
      {signal},
    );
  }

  /**
   * Move the eye.
   *
   * @param {number} x in [-1, 1] of its reach
   * @param {number} y
   */
  lookFrom(x, y) {
    Object.assign(this.eye, {wantX: Math.min(Math.max(x, -1), 1), wantY: Math.min(Math.max(y, -1), 1)});
    this.ask();
  }

  /**
   * Take new settings.
   *
   * @param {SpaceSettings} settings
   */
  update(settings) {
    const before = this.settings;
    this.settings = settings;
    if (REBUILDING.some((key) => before[key] !== settings[key])) {
      this.content.free();
      this.world.remove(this.content.group);
      this.content = this.buildContent();
    }
    if (before.motion !== settings.motion || before.home !== settings.home) this.goHome();
    this.follow();
  }

  /** Apply the settings that need no other geometry. */
  follow() {
    this.orbit.enabled = this.settings.motion === 'orbit';
    this.legend.hidden = this.settings.look !== 'depth';
    this.ask();
  }

  /**
   * Build the surfaces and put them into the world.
   *
   * @returns {Content}
   */
  buildContent() {
    const content = build(this.three, this.scene, this.images, {...this.settings, field: FIELD, border: BORDER});
    this.world.add(content.group);
    document.body.dataset.space = `${this.settings.look} ${this.settings.shape} ${content.vertices}`;
    return content;
  }

  /** Go to where the photo was taken from: there it looks as it is. */
  goHome() {
    Object.assign(this.eye, {x: 0, y: 0, wantX: 0, wantY: 0});
    this.camera.position.set(0, 0, 0);
    this.orbit.target.set(0, 0, -this.content.middle);
    this.camera.lookAt(this.orbit.target);
    this.orbit.update();
  }

  /** Ask for the next animation frame. */
  ask() {
    if (this.closed) return;
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      this.paint();
    });
  }

  /** Draw now, and ask for another frame while something moves. */
  paint() {
    if (this.closed) return;
    if (this.orbit.enabled) {
      if (this.orbit.update()) this.ask();
    } else {
      this.moveEye();
    }
    this.renderer.render(this.world, this.camera);
    this.frames += 1;
    document.body.dataset.spaceFrames = String(this.frames);
  }

  /** Move the camera to where the eye is. */
  moveEye() {
    const {eye, content} = this;
    const ease = prefersReducedMotion() ? 1 : EASE;
    eye.x += (eye.wantX - eye.x) * ease;
    eye.y += (eye.wantY - eye.y) * ease;
    this.camera.position.set(eye.x * REACH * content.nearest, -eye.y * REACH * content.nearest, 0);
    this.camera.lookAt(0, 0, -content.middle);
    if (Math.abs(eye.wantX - eye.x) + Math.abs(eye.wantY - eye.y) > STILL) this.ask();
  }

  /**
   * Encode the current view (PNG), or the photo's surfaces in any view. A PLY file has colours per vertex alone.
   *
   * @param {SaveFormat} format
   * @returns {Promise<Blob>}
   */
  async save(format) {
    if (format === 'png') {
      this.paint();
      return pngOf(this.renderer.domElement);
    }
    const shape = format === 'ply' ? 'points' : 'mesh';
    const appearance = {relief: this.settings.relief, field: FIELD, border: 0};
    const content = build(this.three, this.scene, this.images, {...appearance, look: 'photo', shape});
    try {
      return format === 'glb' ? await glbOf(content.group) : await plyOf(this.three, content.group);
    } finally {
      content.free();
    }
  }

  /** Free everything and leave the host empty. */
  close() {
    this.closed = true;
    this.listeners.abort();
    this.sized.disconnect();
    if (this.asked !== null) cancelAnimationFrame(this.asked);
    this.content.free();
    this.orbit.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.host.replaceChildren();
    delete document.body.dataset.space;
  }
}

/** Return the scale of the depth map. */
function legend() {
  const stops = SCALE_STOPS.map(([position, color]) => `${color} ${position * 100}%`).join(', ');
  const bar = h('i', {'aria-hidden': 'true'});
  bar.style.background = `linear-gradient(to right, ${stops})`;
  return h('div', {class: 'mount-scale', hidden: true}, h('span', {}, 'far'), bar, h('span', {}, 'near'));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob>}
 */
function pngOf(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob) resolve(blob);
      else reject(new Error('the browser could not code the picture'));
    }, 'image/png');
  });
}
