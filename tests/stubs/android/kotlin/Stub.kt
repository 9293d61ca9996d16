package stub

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBufferType
import java.io.DataInputStream
import java.io.DataOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.atomic.AtomicInteger

/** Faults that a test asks for, and counts of what the stub of LiteRT did. */
object Faults {
    /** Accelerators that cannot open a model, and the ones that fail in the next runs, after [runsBefore] good ones. */
    var open: Set<Accelerator> = setOf()
    var unlinked: Set<Accelerator> = setOf()
    var run: Set<Accelerator> = setOf()
    var runsBefore = 0
    var inputType = TensorBufferType.HostMemory

    @Volatile var created = 0
    @Volatile var written = 0
    @Volatile var read = 0
    @Volatile var closed = 0
    @Volatile var runs = 0
    private val inside = AtomicInteger()

    fun reset() {
        open = setOf()
        unlinked = setOf()
        run = setOf()
        runsBefore = 0
        inputType = TensorBufferType.HostMemory
        created = 0
        written = 0
        read = 0
        closed = 0
        runs = 0
    }

    fun opening(accelerator: Accelerator) {
        if (accelerator in unlinked) throw UnsatisfiedLinkError("dlopen failed")
        if (accelerator in open) throw LiteRtException("Failed to compile model")
    }

    fun running(accelerator: Accelerator) {
        check(inside.incrementAndGet() == 1) { "two runs at once" }
        if (accelerator in run && runsBefore-- <= 0) {
            inside.decrementAndGet()
            throw LiteRtException("ErrorMemoryAllocationFailure")
        }
        runs += 1
    }

    fun ran() {
        inside.decrementAndGet()
    }
}

/** LiteRT's Python package in a process of its own: `stub.python` runs `stub.server`. */
object Pipe {
    class Tensor(val name: String, val dtype: String, val bytes: Int)

    class Signature(val inputs: List<Tensor>, val outputs: List<Tensor>)

    private val process by lazy {
        ProcessBuilder(System.getProperty("stub.python"), System.getProperty("stub.server"))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start()
    }
    private val input by lazy { DataInputStream(process.inputStream.buffered()) }
    private val output by lazy { DataOutputStream(process.outputStream.buffered()) }
    private val known = HashMap<String, Signature>()

    @Synchronized
    fun describe(path: String, signature: String): Signature = known.getOrPut("$path $signature") {
        ask("describe", path, signature) { }
        Signature(tensors(), tensors())
    }

    @Synchronized
    fun run(path: String, signature: String, feeds: Map<String, ByteArray>): Map<String, ByteArray> {
        ask("run", path, signature) {
            output.writeInt(feeds.size)
            for ((name, bytes) in feeds) {
                output.writeUTF(name)
                output.writeInt(bytes.size)
                output.write(bytes)
            }
        }
        return (0 until input.readInt()).associate { input.readUTF() to ByteArray(input.readInt()).also { input.readFully(it) } }
    }

    private fun ask(verb: String, path: String, signature: String, more: () -> Unit) {
        output.writeUTF(verb)
        output.writeUTF(path)
        output.writeUTF(signature)
        more()
        output.flush()
        val error = input.readUTF()
        if (error.isNotEmpty()) throw LiteRtException(error)
    }

    private fun tensors(): List<Tensor> =
        List(input.readInt()) { Tensor(input.readUTF(), input.readUTF(), input.readInt()) }

    fun wrap(bytes: ByteArray): ByteBuffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)

    fun bytes(count: Int, write: (ByteBuffer) -> Unit): ByteArray = ByteArray(count).also { write(wrap(it)) }
}
