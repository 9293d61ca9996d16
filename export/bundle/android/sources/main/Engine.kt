package hydramobile.template

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.BuiltinNpuAcceleratorProvider
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.Environment
import com.google.ai.edge.litert.TensorBuffer
import java.lang.ref.PhantomReference
import java.lang.ref.ReferenceQueue

/** Where the net runs. */
enum class Device(internal val accelerator: Accelerator) {
    CPU(Accelerator.CPU),
    GPU(Accelerator.GPU),
    NPU(Accelerator.NPU),
}

/**
 * One signature of a model file. [features] names the outputs that stay in LiteRT's memory for other steps, [results]
 * those that the app reads. An output may be both.
 */
internal class Step(
    val name: String,
    val file: String,
    val signature: String,
    val inputs: List<Port>,
    val outputs: List<Port>,
    val features: Set<String>,
    val results: Set<String>,
) {
    fun input(name: String): Port = inputs.first { it.name == name }

    fun output(name: String): Port = outputs.first { it.name == name }
}

/** What a step gave: the elements of its results, by name, and its features where other steps read some. */
internal class Outcome(val results: Map<String, Any>, val lease: Lease?)

/** Features of one call: output tensors of [engine], until they are returned. */
internal class Lease(val engine: Engine, val step: Step, val tensors: Map<String, TensorBuffer>) {
    var returned = false
}

/**
 * The compiled models of one device, and the tensors that they read and write.
 *
 * The tensors are created once and kept between calls. Features go from one signature to the next as they are, without a
 * copy, wherever LiteRT's requirements for both ends agree. LiteRT's Kotlin tensors take and give arrays alone, no direct
 * buffers (https://github.com/google-ai-edge/LiteRT/issues/4920): that is one copy per input and per result. One thread at a
 * time may call an engine.
 */
internal class Engine(context: Context, files: List<String>, val device: Device) : AutoCloseable {
    private val owned = ArrayList<AutoCloseable>()
    private val models = HashMap<String, CompiledModel>()
    private val inputs = HashMap<String, TensorBuffer>()
    private val results = HashMap<String, TensorBuffer>()
    private val idle = HashMap<String, ArrayDeque<Map<String, TensorBuffer>>>()
    private val shared = HashMap<String, Boolean>()
    private val lost = ReferenceQueue<Any>()
    private val watched = HashSet<Watch>()
    private var lent = 0

    /** Whether nobody holds features of this engine. */
    val unused: Boolean get() = lent == 0

    init {
        try {
            val environment = when (device) {
                Device.NPU -> Environment.create(BuiltinNpuAcceleratorProvider(context))
                else -> Environment.create()
            }
            owned += environment
            for (file in files) {
                val options = CompiledModel.Options(device.accelerator)
                models[file] = CompiledModel.create(context.assets, file, options, environment).also { owned += it }
            }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    /** Run a step on [given], arrays by the name of the input, and [leases], the features that it reads. */
    fun run(step: Step, given: Map<String, Any>, leases: List<Lease>): Outcome {
        val model = models.getValue(step.file)
        val feeds = step.inputs.associate { port -> port.name to feed(model, step, port, given, leases) }
        val features = if (step.features.isEmpty()) null else borrow(model, step)
        val targets = step.outputs.associate { port ->
            port.name to (features?.get(port.name) ?: kept(results, step, port) { model.createOutputBuffer(it, step.signature) })
        }
        try {
            model.run(byFileName(feeds, step.inputs), byFileName(targets, step.outputs), step.signature)
        } catch (error: Throwable) {
            if (features != null) idleOf(step).addLast(features)
            throw error
        }
        val read = step.outputs.filter { it.name in step.results }.associate { it.name to read(targets.getValue(it.name), it) }
        return Outcome(read, features?.let { lent += 1; Lease(this, step, it) })
    }

    /** Return the arrays of features, for an engine that cannot read these tensors. */
    fun copyOut(lease: Lease): Map<String, Any> =
        lease.tensors.mapValues { (name, tensor) -> read(tensor, lease.step.output(name)) }

    /** Take the tensors of a lease back when [holder] can no longer be reached. */
    fun watch(holder: Any, lease: Lease) {
        watched += Watch(holder, lease, lost)
    }

    fun giveBack(lease: Lease) {
        if (lease.returned) return
        lease.returned = true
        lent -= 1
        watched.removeAll { it.lease === lease }
        idleOf(lease.step).addLast(lease.tensors)
    }

    override fun close() {
        owned.asReversed().forEach { it.close() }
        owned.clear()
    }

    private fun feed(model: CompiledModel, step: Step, port: Port, given: Map<String, Any>, leases: List<Lease>): TensorBuffer {
        val lease = leases.firstOrNull { port.name in it.tensors }
        if (lease != null && port.name !in given && shares(model, step, port, lease)) return lease.tensors.getValue(port.name)
        val tensor = kept(inputs, step, port) { model.createInputBuffer(it, step.signature) }
        write(tensor, port, given[port.name] ?: read(lease!!.tensors.getValue(port.name), port))
        return tensor
    }

    /** Return whether an output tensor of one signature may be the input tensor of another. */
    private fun shares(model: CompiledModel, step: Step, port: Port, lease: Lease): Boolean =
        shared.getOrPut("${step.name}/${port.name}") {
            val source = lease.step.output(port.name).fileName
            val written = models.getValue(lease.step.file).getOutputBufferRequirements(source, lease.step.signature)
            val needed = model.getInputBufferRequirements(port.fileName, step.signature)
            written.supportedTypes.firstOrNull() in needed.supportedTypes &&
                written.bufferSize == needed.bufferSize && written.strides == needed.strides
        }

    private fun borrow(model: CompiledModel, step: Step): Map<String, TensorBuffer> {
        while (true) {
            val watch = lost.poll() as Watch? ?: break
            giveBack(watch.lease)
        }
        return idleOf(step).removeFirstOrNull() ?: step.outputs.filter { it.name in step.features }.associate {
            it.name to model.createOutputBuffer(it.fileName, step.signature).also { tensor -> owned += tensor }
        }
    }

    private fun byFileName(tensors: Map<String, TensorBuffer>, ports: List<Port>): Map<String, TensorBuffer> =
        ports.associate { it.fileName to tensors.getValue(it.name) }

    private fun idleOf(step: Step) = idle.getOrPut(step.name) { ArrayDeque() }

    private inline fun kept(
        tensors: HashMap<String, TensorBuffer>,
        step: Step,
        port: Port,
        create: (String) -> TensorBuffer,
    ): TensorBuffer = tensors.getOrPut("${step.name}/${port.name}") { create(port.fileName).also { owned += it } }

    private class Watch(holder: Any, val lease: Lease, queue: ReferenceQueue<Any>) : PhantomReference<Any>(holder, queue)
}

// uint8 goes through the methods of int8, which copy bytes.

private fun write(tensor: TensorBuffer, port: Port, elements: Any) = when (port.kind) {
    Kind.FLOAT32 -> tensor.writeFloat(elements as FloatArray)
    Kind.INT32 -> tensor.writeInt(elements as IntArray)
    Kind.INT64 -> tensor.writeLong(elements as LongArray)
    Kind.INT8, Kind.UINT8 -> tensor.writeInt8(elements as ByteArray)
    Kind.BOOL -> tensor.writeBoolean(elements as BooleanArray)
}

private fun read(tensor: TensorBuffer, port: Port): Any = when (port.kind) {
    Kind.FLOAT32 -> tensor.readFloat()
    Kind.INT32 -> tensor.readInt()
    Kind.INT64 -> tensor.readLong()
    Kind.INT8, Kind.UINT8 -> tensor.readInt8()
    Kind.BOOL -> tensor.readBoolean()
}
