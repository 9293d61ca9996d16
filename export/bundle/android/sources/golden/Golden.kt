package hydramobile.template

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** One golden output: its file, and how far the mean of the absolute differences may be off, in the file's units. */
internal class Expected(val file: String, val meanAbs: Double)

/** The golden of one signature: files of inputs and outputs by the names of the ports. */
internal class GoldenEntry(val step: Step, val inputs: Map<String, String>, val outputs: Map<String, Expected>)

/** Read golden files: elements in the port's order, little-endian, without a header. */
internal object Golden {
    /** Return the elements. Throws IllegalArgumentException where the file has another length than the port. */
    fun read(bytes: ByteArray, port: Port): Any {
        require(bytes.size == port.count * port.kind.bytes) {
            "${port.name}: ${bytes.size} bytes, not ${port.count * port.kind.bytes}"
        }
        val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        return when (port.kind) {
            Kind.FLOAT32 -> FloatArray(port.count).also { buffer.asFloatBuffer().get(it) }
            Kind.INT32 -> IntArray(port.count).also { buffer.asIntBuffer().get(it) }
            Kind.INT64 -> LongArray(port.count).also { buffer.asLongBuffer().get(it) }
            Kind.INT8, Kind.UINT8 -> bytes
            Kind.BOOL -> BooleanArray(port.count) { bytes[it] != 0.toByte() }
        }
    }

    /** Return the mean absolute difference. Equal elements, infinite ones too, differ by 0; a NaN differs from a number. */
    fun meanAbs(actual: Any, expected: Any, port: Port): Double {
        val left = port.numbers(actual)
        val right = port.numbers(expected)
        require(left.size == right.size) { "${port.name}: ${left.size} elements, not ${right.size}" }
        var sum = 0.0
        for (index in left.indices) if (left[index].compareTo(right[index]) != 0) sum += Math.abs(left[index] - right[index])
        return if (sum.isNaN()) Double.POSITIVE_INFINITY else sum / left.size
    }

    /** Return a golden photo as opaque ARGB pixels. */
    fun pixels(elements: Any, port: Port): IntArray {
        val values = port.unpack(elements)
        val low = if (port.low.isNaN()) 0f else port.low
        val span = if (port.low.isNaN()) 1f else port.high - port.low
        val plane = port.width * port.height
        return IntArray(plane) { pixel ->
            (0 until 3).fold(255) { word, channel ->
                val value = values[if (port.channelsLast) pixel * 3 + channel else channel * plane + pixel]
                (word shl 8) or ((value - low) / span * 255 + 0.5f).toInt().coerceIn(0, 255)
            }
        }
    }

    private fun Port.numbers(raw: Any): DoubleArray = when (raw) {
        is FloatArray -> DoubleArray(raw.size) { raw[it].toDouble() }
        is IntArray -> DoubleArray(raw.size) { raw[it].toDouble() }
        else -> unpackLong(raw).let { whole -> DoubleArray(whole.size) { whole[it].toDouble() } }
    }
}
