// The modules of one model in one engine. Tensors stay on the engine's device until they are read.

/** @import {Engine, ModuleFile, Port, Runner, TensorData} from './types.d.ts' */

/** @typedef {Record<string, unknown>} Tensors on the device, by the port's name */

export class Model {
  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    /** @type {Map<string, {module: ModuleFile, runner: Runner<unknown>}>} by module */
    this.modules = new Map();
  }

  /**
   * Open one module.
   *
   * @param {string} name
   * @param {ModuleFile} module
   * @param {Record<string, ArrayBuffer>} files path to content
   */
  async open(name, module, files) {
    const {file, signature, outputs} = module;
    const outputNames = outputs.map((port) => port.file_name);
    const runner = await this.engine.open({file, files, signature, outputs: outputNames});
    this.modules.set(name, {module, runner});
  }

  /**
   * Return an opened module.
   *
   * @param {string} name
   */
  opened(name) {
    const opened = this.modules.get(name);
    if (!opened) throw new Error(`no module ${name} (has: ${[...this.modules.keys()].join(', ')})`);
    return opened;
  }

  /**
   * Run one module. Its outputs are the caller's, who releases them.
   *
   * @param {string} name
   * @param {Tensors} inputs
   * @returns {Promise<Tensors>}
   */
  async run(name, inputs) {
    const {module, runner} = this.opened(name);
    const feeds = Object.fromEntries(module.inputs.map((port) => [port.file_name, inputs[port.name]]));
    const results = await runner.run(feeds);
    return Object.fromEntries(module.outputs.map((port) => [port.name, results[port.file_name]]));
  }

  /**
   * Put elements of a file's input onto the device.
   *
   * @param {Port} port
   * @param {TensorData} data
   */
  upload({shape, dtype}, data) {
    return this.engine.upload({data, shape, dtype});
  }

  /** @param {Tensors} tensors */
  release(tensors) {
    for (const tensor of Object.values(tensors)) this.engine.release(tensor);
  }

  close() {
    for (const {runner} of this.modules.values()) runner.close();
    this.modules.clear();
  }
}
