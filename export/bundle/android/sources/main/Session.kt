package hydramobile.template

import android.content.Context
import java.io.FileNotFoundException
import java.security.MessageDigest
import java.util.concurrent.Executors
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.coroutines.cancellation.CancellationException
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.withContext

/** One model file in the assets, with the hash that it had when it was judged. */
internal class ModelFile(val path: String, val sha256: String)

/**
 * Run steps one after the other on a thread of its own, and change to the CPU where another device fails.
 *
 * Two calls at once are both right: the second one waits. A GPU or NPU that cannot compile the net, or that fails or runs
 * out of memory later, is replaced by the CPU; [fallback] then says why, and `onFallback` is called once.
 */
internal class Session private constructor(
    private val context: Context,
    private val files: List<ModelFile>,
    private val onFallback: (String) -> Unit,
) : AutoCloseable {
    private val closed = AtomicBoolean(false)
    private val executor = Executors.newSingleThreadExecutor { Thread(it, "net").apply { isDaemon = true } }
    private val dispatcher = executor.asCoroutineDispatcher()
    private val engines = ArrayList<Engine>()
    private val resizes = HashMap<String, Resize>()
    private val photos = HashMap<String, Any>()

    private val engine: Engine get() = engines.last()

    /** The device that the net runs on. */
    @Volatile
    var device: Device = Device.CPU
        private set

    /** Why the net does not run on the device that was asked for; null where it does. */
    @Volatile
    var fallback: String? = null
        private set

    /** Run [block] on the session's thread. Throws [NetException] of every kind. */
    suspend fun <T> work(block: () -> T): T {
        if (closed.get()) throw NetException.Closed("the net")
        try {
            return withContext(dispatcher) {
                if (closed.get()) throw NetException.Closed("the net")
                block()
            }
        } catch (error: CancellationException) {
            // close() came between: the thread takes no more work.
            if (closed.get() && error.cause is RejectedExecutionException) throw NetException.Closed("the net")
            throw error
        } catch (error: OutOfMemoryError) {
            throw NetException.OutOfMemory(error)
        }
    }

    /** Run a step, on the session's thread. */
    fun run(step: Step, given: Map<String, Any>, features: List<Features> = emptyList()): Outcome {
        val leases = features.map { it.lease() }
        if (leases.any { it.engine !in engines }) throw NetException.Closed("a features value of another net")
        try {
            return runOn(engine, step, given, leases)
        } catch (error: NetException) {
            throw error
        } catch (error: Exception) {
            if (device == Device.CPU) throw NetException.EngineFailed(step.name, error)
            changeToCpu(error)
            return try {
                runOn(engine, step, given, leases).also { freeUnused() }
            } catch (second: Exception) {
                throw NetException.EngineFailed(step.name, second)
            }
        }
    }

    /** Run a step on elements of the file, and return those of all its outputs, by name. For comparisons with goldens. */
    fun raw(step: Step, given: Map<String, Any>): Map<String, Any> {
        val outcome = run(step, given)
        val lease = outcome.lease ?: return outcome.results
        val features = lease.engine.copyOut(lease)
        lease.engine.giveBack(lease)
        return features + outcome.results
    }

    /** Return a photo as the elements of the port. They are overwritten by the next photo of this port. */
    fun pack(step: Step, name: String, photo: Photo): Any {
        val port = step.input(name)
        val key = "${step.name}/$name"
        val turned = photo.orientation
        val width = if (turned.swaps) port.height else port.width
        val height = if (turned.swaps) port.width else port.height
        val stored = resizes.getOrPut("$width x $height") { Resize(width, height) }.run(photo.rows())
        val target = photos.getOrPut(key) { port.newArray() }
        port.packPhoto(turned.turn(stored, width, height), target)
        return target
    }

    /** Close the features that [holder] stands for when it is closed, or no longer reachable. */
    fun watch(holder: Any, lease: Lease) = lease.engine.watch(holder, lease)

    fun giveBack(lease: Lease) = later {
        lease.engine.giveBack(lease)
        freeUnused()
    }

    /** Free all memory as soon as the running call is over. A second call does nothing. */
    override fun close() {
        if (!closed.compareAndSet(false, true)) return
        later { engines.asReversed().forEach { it.close() } }
        executor.shutdown()
    }

    private fun later(block: () -> Unit) {
        try {
            executor.execute(block)
        } catch (_: RejectedExecutionException) {
            // The session is closed, and with it all of its tensors.
        }
    }

    private fun runOn(engine: Engine, step: Step, given: Map<String, Any>, leases: List<Lease>): Outcome {
        val copies = leases.filter { it.engine !== engine }.flatMap { it.engine.copyOut(it).entries }
        val all = if (copies.isEmpty()) given else given + copies.associate { it.key to it.value }
        return engine.run(step, all, leases.filter { it.engine === engine })
    }

    /** Close engines that failed and hold no features of the app any more. */
    private fun freeUnused() {
        for (old in engines.dropLast(1).filter { it.unused }) {
            engines.remove(old)
            old.close()
        }
    }

    /** The engine that failed stays while the app holds features in its memory. */
    private fun changeToCpu(reason: Throwable) {
        val failed = device
        engines += open(Device.CPU)
        device = Device.CPU
        fallback = "$failed: ${reason.message ?: reason.javaClass.name}"
        onFallback(fallback!!)
    }

    private fun open(device: Device): Engine = Engine(context, files.map { it.path }, device)

    /** Open the models. On a GPU or NPU each step runs once on zeros, since some delegates fail only there. */
    private fun start(steps: List<Step>, asked: Device) {
        files.forEach { verify(it) }
        try {
            val first = open(asked)
            engines += first
            device = asked
            if (asked != Device.CPU) warmUp(first, steps)
        } catch (error: Throwable) {
            // A LinkageError says that a library is not in the app: the accelerator's, or LiteRT's for this processor.
            if (error !is Exception && error !is LinkageError) throw error
            if (asked == Device.CPU) throw NetException.EngineFailed("load", error)
            engines.forEach { it.close() }
            engines.clear()
            device = asked
            try {
                changeToCpu(error)
            } catch (second: Exception) {
                throw NetException.EngineFailed("load", second)
            } catch (second: LinkageError) {
                throw NetException.EngineFailed("load", second)
            }
        }
    }

    private fun warmUp(engine: Engine, steps: List<Step>) {
        val leases = ArrayList<Lease>()
        for (step in steps) {
            val read = leases.filter { lease -> step.inputs.any { it.name in lease.tensors } }
            val given = step.inputs.filter { port -> read.none { port.name in it.tensors } }.associate { it.name to it.newArray() }
            engine.run(step, given, read).lease?.let { leases += it }
        }
        leases.forEach { engine.giveBack(it) }
    }

    private fun verify(file: ModelFile) {
        val digest = MessageDigest.getInstance("SHA-256")
        try {
            context.assets.open(file.path).use { stream ->
                val chunk = ByteArray(1 shl 16)
                while (true) {
                    val count = stream.read(chunk)
                    if (count < 0) break
                    digest.update(chunk, 0, count)
                }
            }
        } catch (error: FileNotFoundException) {
            throw NetException.MissingFile(file.path, error)
        }
        val actual = digest.digest().joinToString("") { "%02x".format(it) }
        if (actual != file.sha256) throw NetException.CorruptFile(file.path, actual, file.sha256)
    }

    companion object {
        /** Check the files, and open them on [device] or, where that fails, on the CPU. */
        suspend fun open(
            context: Context,
            files: List<ModelFile>,
            steps: List<Step>,
            device: Device,
            onFallback: (String) -> Unit,
        ): Session {
            val session = Session(context.applicationContext, files, onFallback)
            try {
                session.work { session.start(steps, device) }
            } catch (error: Throwable) {
                session.close()
                throw error
            }
            return session
        }
    }
}

/**
 * Features of one photo, which other methods of the net read. They stay in LiteRT's memory.
 *
 * Close them when their last head has run: their memory then serves the next photo. Forgotten ones are found by the garbage
 * collector.
 */
open class Features internal constructor(private val session: Session, private val leased: Lease) : AutoCloseable {
    private val closed = AtomicBoolean(false)

    init {
        session.watch(this, leased)
    }

    internal fun lease(): Lease = if (closed.get()) throw NetException.Closed("a features value") else leased

    override fun close() {
        if (closed.compareAndSet(false, true)) session.giveBack(leased)
    }
}

/** Features that a method holds until it returns. */
internal class Holder {
    private val kept = ArrayList<AutoCloseable>()

    fun <T : AutoCloseable> keep(item: T): T = item.also { kept += it }

    fun release() = kept.forEach { it.close() }
}

internal inline fun <T> holding(block: Holder.() -> T): T {
    val holder = Holder()
    try {
        return holder.block()
    } finally {
        holder.release()
    }
}
