// Stub of LiteRT 2.x for Android, package com.google.ai.edge.litert: the declarations that the packages use, as documented in
// https://developers.google.com/edge/api/litert/kotlin/classes and declared in the files of
// https://github.com/google-ai-edge/LiteRT/tree/main/litert/kotlin/src/main/kotlin/com/google/ai/edge/litert
// that are named at each class. What they do here is done by a process with LiteRT's Python package: stub.Pipe.
package com.google.ai.edge.litert

import android.content.Context
import android.content.res.AssetManager
import stub.Faults
import stub.Pipe

/** Common.kt. */
enum class Accelerator { NONE, CPU, GPU, NPU }

/** LiteRtException.kt: a status and a message. */
class LiteRtException(message: String) : Exception(message)

/** AcceleratorProvider.kt. */
interface NpuAcceleratorProvider

/** AcceleratorProvider.kt: the second parameter has a default and is left out. */
class BuiltinNpuAcceleratorProvider(context: Context) : NpuAcceleratorProvider

/** Environment.kt. */
class Environment private constructor() : AutoCloseable {
    override fun close() {
        Faults.closed += 1
    }

    companion object {
        /** `create(options: Map<Option, String> = mapOf())`; the packages give no options. */
        fun create(): Environment = Environment()

        /** `create(npuAcceleratorProvider, options = mapOf())`. */
        fun create(npuAcceleratorProvider: NpuAcceleratorProvider): Environment = Environment()
    }
}

/** TensorBuffer.kt. */
enum class TensorBufferType { Unknown, HostMemory, OpenClBuffer }

/** TensorBuffer.kt. */
data class TensorBufferRequirements(val supportedTypes: List<TensorBufferType>, val bufferSize: Int, val strides: List<Int>)

/** TensorBuffer.kt: elements are copied in and out, in arrays of their dtype. */
class TensorBuffer internal constructor(internal val tensor: Pipe.Tensor) : AutoCloseable {
    internal var elements: ByteArray = ByteArray(tensor.bytes)
        get() = if (open) field else throw IllegalStateException("The handle has been destroyed.")
    private var open = true

    init {
        Faults.created += 1
    }

    fun writeInt(data: IntArray) = put("int32") { Pipe.bytes(data.size * 4) { buffer -> buffer.asIntBuffer().put(data) } }

    fun writeFloat(data: FloatArray) = put("float32") { Pipe.bytes(data.size * 4) { buffer -> buffer.asFloatBuffer().put(data) } }

    /** uint8 as well: the native code copies bytes, whatever their dtype (litert_tensor_buffer_jni.cc). */
    fun writeInt8(data: ByteArray) = put("int8", "uint8") { data.clone() }

    fun writeBoolean(data: BooleanArray) = put("bool") { ByteArray(data.size) { if (data[it]) 1 else 0 } }

    fun writeLong(data: LongArray) = put("int64") { Pipe.bytes(data.size * 8) { buffer -> buffer.asLongBuffer().put(data) } }

    fun readInt(): IntArray = get("int32").asIntBuffer().let { view -> IntArray(view.remaining()) { view.get(it) } }

    fun readFloat(): FloatArray = get("float32").asFloatBuffer().let { view -> FloatArray(view.remaining()) { view.get(it) } }

    fun readInt8(): ByteArray = get("int8", "uint8").array().clone()

    fun readBoolean(): BooleanArray = get("bool").array().let { bytes -> BooleanArray(bytes.size) { bytes[it] != 0.toByte() } }

    fun readLong(): LongArray = get("int64").asLongBuffer().let { view -> LongArray(view.remaining()) { view.get(it) } }

    override fun close() {
        open = false
    }

    private fun put(vararg dtypes: String, make: () -> ByteArray) {
        check(tensor.dtype in dtypes) { "${tensor.name} is ${tensor.dtype}, not ${dtypes.first()}" }
        val bytes = make()
        if (bytes.size != elements.size) throw LiteRtException("${tensor.name}: ${bytes.size} bytes, not ${elements.size}")
        elements = bytes
        Faults.written += 1
    }

    private fun get(vararg dtypes: String): java.nio.ByteBuffer {
        check(tensor.dtype in dtypes) { "${tensor.name} is ${tensor.dtype}, not ${dtypes.first()}" }
        Faults.read += 1
        return Pipe.wrap(elements)
    }
}

/** Model.kt. */
class CompiledModel private constructor(private val path: String, private val accelerator: Accelerator) : AutoCloseable {
    /** `Options(vararg accelerators: Accelerator)`. */
    class Options(vararg val accelerators: Accelerator)

    private var open = true

    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer =
        TensorBuffer(Pipe.describe(path, signature!!).inputs.first { it.name == inputName })

    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer =
        TensorBuffer(Pipe.describe(path, signature!!).outputs.first { it.name == outputName })

    fun getInputBufferRequirements(inputName: String, signature: String? = null): TensorBufferRequirements =
        requirements(Pipe.describe(path, signature!!).inputs.first { it.name == inputName }, Faults.inputType)

    fun getOutputBufferRequirements(outputName: String, signature: String? = null): TensorBufferRequirements =
        requirements(Pipe.describe(path, signature!!).outputs.first { it.name == outputName }, TensorBufferType.HostMemory)

    private fun requirements(tensor: Pipe.Tensor, type: TensorBufferType) =
        TensorBufferRequirements(listOf(type), tensor.bytes, listOf())

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null) {
        check(open) { "The handle has been destroyed." }
        Faults.running(accelerator)
        try {
            val results = Pipe.run(path, signature!!, inputs.mapValues { it.value.elements })
            for ((name, buffer) in outputs) buffer.elements = results.getValue(name)
        } finally {
            Faults.ran()
        }
    }

    override fun close() {
        open = false
        Faults.closed += 1
    }

    companion object {
        fun create(
            assetManager: AssetManager,
            assetName: String,
            options: Options = Options(Accelerator.CPU),
            optionalEnv: Environment? = null,
        ): CompiledModel {
            val accelerator = options.accelerators.single()
            Faults.opening(accelerator)
            return CompiledModel(assetManager.file(assetName).path, accelerator)
        }
    }
}
