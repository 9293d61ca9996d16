// Types of the runtime that packages for the web, the demo and the benchmarks share.

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

export type Dtype = 'float32' | 'int64' | 'int32' | 'int8' | 'uint8' | 'bool';
export type TensorData = Float32Array | BigInt64Array | Int32Array | Int8Array | Uint8Array;

/** A tensor in the page's memory. */
export interface HostTensor {
  data: TensorData;
  shape: number[];
  dtype: Dtype;
}

// What a model's files hold

/** One tensor of a module. An element in the file is `reference * scale + zero_point`. */
export interface Port {
  name: string;
  file_name: string;
  /** In the file's layout. */
  shape: number[];
  dtype: Dtype;
  layout: string;
  /** NCHW where the axes of a file in NHWC are moved. */
  reference_layout: string;
  /** Least and largest element of the reference; null where it declares none. */
  range: [number, number] | null;
  scale: number;
  zero_point: number;
}

/** One file to download: size in bytes, and hash. */
export interface FileRow {
  path: string;
  bytes: number;
  sha256: string;
}

/** A module that an engine can open. */
export interface ModuleFile {
  file: string;
  signature: string;
  inputs: Port[];
  outputs: Port[];
}

// Engines: one interface over TF.js, ONNX Runtime Web and LiteRT.js. `Tensor` is the library's own class.

export type EngineName = 'tfjs' | 'ort' | 'litert';
export type Backend = 'wasm' | 'webgl' | 'webgpu';

export interface EngineSettings {
  backend: Backend;
  /** WebAssembly threads; one is used where the page is not cross-origin isolated. */
  threads: number;
}

export interface EngineOptions extends EngineSettings {
  /** Where the npm packages are served. */
  npm: URL;
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

/** Bytes: done of total, and how many of them came over the network instead of from the cache. */
export interface Progress {
  done: number;
  total: number;
  fetched: number;
}

// A net of a package

/** An input of a step. */
export interface StepInput extends Port {
  /** The step whose features it is; "" where the caller gives it. */
  step: string;
  /** Whether it is a photo, which is resized and scaled here. */
  photo: boolean;
}

/** An output of a step. */
export interface StepOutput extends Port {
  /** Its field in the result. */
  key: string;
}

/** One module of the net. `features` names the outputs that other steps read, `results` the outputs of the net. */
export interface Step extends ModuleFile {
  inputs: StepInput[];
  outputs: StepOutput[];
  features: string[];
  results: string[];
}

/** Several steps in one call, and the outputs that it returns. */
export interface Whole {
  steps: string[];
  outputs: string[];
}

/** A model file, in parts that are fetched and checked one by one. */
export interface PartedFile {
  path: string;
  parts: FileRow[];
}

/** One artifact of the package. */
export interface Contract {
  target: string;
  recipe: string;
  sha256: string;
  /** Why parity does not prove it; "" where it does. */
  unproven: string;
  steps: Record<string, Step>;
  wholes: Record<string, Whole>;
  files: PartedFile[];
}

/** Bytes of a photo at the net's size, elements in the reference's layout, elements as the file has them, or a photo. */
export type Given =
  | {rgb: Uint8Array}
  | {values: ArrayLike<number> | ArrayLike<bigint>}
  | {raw: ArrayBuffer}
  | {photo: Blob | ImageBitmap | Rgba};

export interface NetFacts {
  backend: Backend;
  threads: number;
  /** Why another backend than the wanted one runs; "" where it is the wanted one. */
  fallback: string;
}

/** What an engine of a package gets beside its settings. */
export interface StartOptions extends EngineSettings {
  /** Where npm packages are served; without it, the bundled ones. */
  npm?: string | undefined;
  /** Where the engine's WebAssembly is served, in place of the bundler's URL. */
  assets?: string | undefined;
  engine: EngineName;
}

export type Start = (options: StartOptions) => Promise<Engine>;

export interface HostOptions {
  contract: Contract;
  /** Path of a part to its URL. */
  urls: Record<string, string>;
  engine: EngineName;
  /** In the order in which they are tried. */
  backends: Backend[];
  threads: number;
  npm?: string | undefined;
  assets?: string | undefined;
}

export interface StepResult {
  /** By the output's name; raw elements where they were asked for. */
  results: Record<string, {data: TensorData | Float64Array; shape: number[]}>;
  /** Under which the features are kept; 0 for none. */
  kept: number;
  facts: NetFacts;
}

/** What a net may call in its worker: name, arguments, result. */
export interface HostCalls {
  load(args: HostOptions): NetFacts;
  step(args: {name: string; given: Record<string, Given>; features: Record<string, number>; raw?: boolean}): StepResult;
  free(args: {kept: number}): undefined;
  files(args: {files: (FileRow & {url: string})[]}): Record<string, ArrayBuffer>;
}

/** A way to a host: in a worker, or in this thread. */
export interface Link {
  call<Name extends keyof HostCalls>(
    name: Name,
    args: Parameters<HostCalls[Name]>[0],
    transfer?: Transferable[],
  ): Promise<ReturnType<HostCalls[Name]>>;
  close(): void;
}
