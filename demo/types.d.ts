// Types that the page and its worker share.

// Images and tensors

export interface Size {
  width: number;
  height: number;
}

/** Floats that a worker may hand over: not in shared memory. */
export type Floats = Float32Array<ArrayBuffer>;

/** An RGBA image, first row on top, colour not multiplied by alpha. */
export interface Rgba extends Size {
  data: Uint8ClampedArray<ArrayBuffer>;
}

export type Dtype = 'float32' | 'int32' | 'int8' | 'uint8' | 'bool';
export type TensorData = Float32Array | Int32Array | Int8Array | Uint8Array;

/** A tensor in the page's memory. */
export interface HostTensor {
  data: TensorData;
  shape: number[];
  dtype: Dtype;
}

// catalog.json, written by published.py and site.py

/** One tensor of a module. An element in the file is `reference * scale + zero_point`. */
export interface Port {
  name: string;
  file_name: string;
  shape: number[];
  dtype: Dtype;
  layout: string;
  scale: number;
  zero_point: number;
  /** How an output is judged: `relative-depth`, `alpha-matte`; null for features. */
  judge: string | null;
}

/** One file to download: sizes in bytes, as it is and after gzip. */
export interface FileRow {
  path: string;
  bytes: number;
  gzip: number;
  sha256: string;
}

export interface ModuleRow {
  file: string;
  signature: string;
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
  name: string;
  title: string;
  license: string;
}

export interface Catalog {
  model: {name: string; version: string; description: string};
  artifacts: ArtifactRow[];
  withheld: {id: string; reason: string}[];
  samples: SampleRow[];
}

// Engines: one interface over TF.js, ONNX Runtime Web and LiteRT.js. `Tensor` is the library's own class.

export type EngineName = 'tfjs' | 'ort' | 'litert';
export type Backend = 'wasm' | 'webgl' | 'webgpu';

export interface EngineOptions {
  /** Where the npm packages are served. */
  npm: URL;
  backend: Backend;
  /** WebAssembly threads; one is used where the page is not cross-origin isolated. */
  threads: number;
}

export interface EngineFacts {
  backend: Backend;
  /** WebAssembly threads in use. */
  threads: number;
  simd?: boolean;
  /** Version of TF.js. */
  tfjs?: string;
  /** Version of ONNX Runtime Web. */
  'onnxruntime-web'?: string;
}

export interface OpenOptions {
  /** Path of the module's file among `files`. */
  file: string;
  /** Tells files of the same name apart where two artifacts share an engine; `file` by default. */
  key?: string;
  /** Path to content: the file itself and, of a graph model, every shard that it lists. */
  files: Record<string, ArrayBuffer>;
  /** The entry of a file that holds several (LiteRT). */
  signature: string;
  /** Names of the outputs in the file. */
  outputs: string[];
}

/** A loaded module. Inputs and outputs stay on the device. */
export interface Runner<Tensor> {
  run(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  close(): void;
}

export interface Engine<Tensor = unknown> {
  facts: EngineFacts;
  /** Throws where the file does not load or lacks the signature. */
  open(options: OpenOptions): Promise<Runner<Tensor>>;
  upload(tensor: HostTensor): Tensor | Promise<Tensor>;
  download(tensor: Tensor): Promise<TensorData>;
  /** Resolves when the device has computed `results`: a GPU only queues work until something is read. */
  synchronize(results: Record<string, Tensor>): Promise<void>;
  /** Free a tensor's memory on the device. */
  release(tensor: Tensor): void;
}

export interface EngineModule {
  start(options: EngineOptions): Promise<Engine>;
}

// The worker (app/worker.js) and the page's side of it (app/net.js)

/** Two artifacts may be loaded at once, to compare them. */
export type Slot = 'main' | 'other';

export interface LoadOptions {
  row: ArtifactRow;
  backend: Backend;
  threads: number;
}

/** Bytes: done of total, and how many of them came over the network instead of from the cache. */
export interface Progress {
  done: number;
  total: number;
  fetched: number;
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
