// Types of modes and their controls. README.md describes them in words.

import type {Scene} from '../app/scene.js';
import type {Stage, Target} from '../gl/stage.js';
import type {View} from '../gl/view.js';

/** A point of the photo; x and y in [0, 1], origin at the top left. */
export interface Point {
  x: number;
  y: number;
}

/** A flat object. Numbers and lists of numbers glide when they change. */
export type Settings = Record<string, unknown>;

/** Apply some settings. `glide: false` applies them at once. */
export type Change<S extends Settings = Settings> = (patch: Partial<S>, options?: {glide?: boolean}) => void;

export interface Drag extends Point {
  dx: number;
  dy: number;
  phase: 'start' | 'move' | 'end';
}

export interface Frame<S extends Settings = Settings> {
  stage: Stage;
  scene: Scene;
  /** The preview, or a tile of the saved picture. */
  view: View;
  settings: S;
  /** RGBA8, to be drawn over completely; colour not multiplied by alpha. */
  output: Target;
}

interface ModeBase<S extends Settings> {
  id: string;
  title: string;
  hint: string;
  /** The judge of the output that the mode draws with; it has a tab where the net has such an output. */
  judge?: string;
  start(scene: Scene): S;
  controls(scene: Scene, settings: S): Control<S>[];
  transparent?(settings: S): boolean;
  tap?(scene: Scene, at: Point, settings: S): Partial<S> | null;
  drag?(scene: Scene, move: Drag, settings: S, change: Change<S>): boolean;
  key?(scene: Scene, settings: S, name: string): Partial<S> | null;
}

/** A mode that draws with WebGL 2. */
export interface PaintedMode<S extends Settings = Settings> extends ModeBase<S> {
  render(frame: Frame<S>): void;
  margin(settings: S): number;
  mount?: undefined;
}

export type SaveFormat = 'jpeg' | 'png' | 'glb' | 'ply';

/** A mode that fills an element of its own. */
export interface MountedMode<S extends Settings = Settings> extends ModeBase<S> {
  mount(host: HTMLElement, context: {stage: Stage; scene: Scene; settings: S}): void;
  update(settings: S): void;
  stop(): void;
  save(format: SaveFormat): Promise<Blob>;
  formats: SaveFormat[];
  saved: string;
}

export type Mode<S extends Settings = Settings> = PaintedMode<S> | MountedMode<S>;

// Controls

interface ControlBase<S extends Settings> {
  label: string;
  /** Shown always where it is absent. */
  shown?(settings: S): boolean;
}

export interface RangeControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'range';
  key: string;
  /** A shorter label, for the eye. */
  short?: string;
  low: string;
  high: string;
  min?: number;
  max?: number;
  step?: number;
  get?(settings: S): number;
  set?(value: number): Partial<S>;
}

export interface ChoiceItem<S extends Settings = Settings> {
  value: string;
  label: string;
  icon?: string;
  /** A CSS colour. */
  swatch?: string;
  shown?(settings: S): boolean;
}

export interface ChoiceControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'choice';
  key: string;
  items: ChoiceItem<S>[];
}

export interface ActionsControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'actions';
  items: {label: string; off?: boolean; run(settings: S): Partial<S>}[];
}

export interface FileControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'file';
  key: string;
  set(file: File, settings: S): Promise<Partial<S>>;
}

export interface HistogramControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'histogram';
  key: string;
  /** Depths in [0, 1], one per pixel. */
  values: Float32Array;
  /** The setting that holds half the width of the transition around the threshold. */
  spread: string;
}

export interface TextControl<S extends Settings = Settings> extends ControlBase<S> {
  kind: 'text';
  key: string;
}

export type Control<S extends Settings = Settings> =
  | RangeControl<S>
  | ChoiceControl<S>
  | ActionsControl<S>
  | FileControl<S>
  | HistogramControl<S>
  | TextControl<S>;

/** A control's element, and how it follows the settings. */
export interface BuiltControl {
  element: HTMLElement;
  update(settings: Settings): void;
}
