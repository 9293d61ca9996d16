// Types that the page and its worker share. Those of the runtime are the web package's.

import type {
  Backend,
  EngineFacts,
  EngineName,
  Port as FilePort,
  FileRow as FileToFetch,
  Floats,
  ModuleFile,
  Progress,
  Rgba,
  Size,
} from '../export/bundle/web/sources/types.d.ts';

export type * from '../export/bundle/web/sources/types.d.ts';

// catalog.json, written by published.py and site.py

/** One tensor of a module, and how an output is judged. */
export interface Port extends FilePort {
  /** `relative-depth`, `alpha-matte`; null for features. */
  judge: string | null;
}

/** One file to download, with its size after gzip. */
export interface FileRow extends FileToFetch {
  gzip: number;
}

export interface ModuleRow extends ModuleFile {
  inputs: Port[];
  outputs: Port[];
  files: FileRow[];
}

export interface ArtifactRow {
  /** `<target>/<recipe>` */
  id: string;
  engine: EngineName;
  target: string;
  recipe: string;
  sha256: string;
  /** Height and width of the model's input. */
  size: [number, number];
  /** The runtimes in which the artifact passed parity. */
  proven_by: string[];
  /** Path of the folder on the server. */
  base: string;
  modules: Record<string, ModuleRow>;
}

export interface SampleRow extends Size {
  url: string;
  /** URL of a small copy. */
  thumbnail: string;
  name: string;
  title: string;
  license: string;
}

/** One state of the picture on the start page. */
export interface HeroRow extends Size {
  url: string;
  label: string;
}

export interface Catalog {
  model: {name: string; version: string; description: string};
  artifacts: ArtifactRow[];
  withheld: {id: string; reason: string}[];
  samples: SampleRow[];
  hero: HeroRow[];
}

// The worker (app/worker.js) and the page's side of it (app/net.js)

/** Two artifacts may be loaded at once, to compare them. */
export type Slot = 'main' | 'other';

export interface LoadOptions {
  row: ArtifactRow;
  backend: Backend;
  threads: number;
}

export interface Timed {
  /** Milliseconds in the worker. */
  ms: number;
}

export interface Loaded extends Timed {
  facts: EngineFacts;
  /** Bytes that came over the network. */
  fetched: number;
}

/** The net's own small maps. */
export interface NetMaps extends Size {
  alpha: Float32Array;
  depth: Float32Array;
  /** [3, height, width], where the net has them. */
  normals: Float32Array | null;
}

export interface LiftJob {
  guide: Rgba;
  alpha: Float32Array;
  depth: Float32Array;
  /** Size of `alpha` and `depth`. */
  net: Size;
}

/** The two layers of a photo at the guide's size; see app/lift.js. */
export interface Layers extends Size {
  /** Guided filter coefficients [height, width, 4] of the matte, the people's depth, the background's depth. */
  matte: Floats;
  near: Floats;
  far: Floats;
  /** RGBA bytes: colours of the people, and of the background behind them. */
  front: Uint8Array<ArrayBuffer>;
  back: Uint8Array<ArrayBuffer>;
}

/** What the page may call in the worker: name, arguments, result. */
export interface Calls {
  load(args: LoadOptions & {slot: Slot}): Loaded;
  encode(args: {slot: Slot; image: Rgba}): Timed;
  head(args: {slot: Slot; name: string}): Timed & {values: Floats};
  lift(job: LiftJob): Timed & Layers;
  runtimeBytes(args: Record<string, never>): number;
  drop(args: {slot: Slot}): undefined;
}

/** Page to worker. */
export interface Request {
  call: number;
  name: keyof Calls;
  args: unknown;
}

/** Worker to page: progress of a download, or the answer to a call. */
export type Message =
  | {progress: Progress; call?: undefined}
  | {call: number; value: unknown; error?: undefined}
  | {call: number; error: string};
