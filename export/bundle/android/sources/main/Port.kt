package hydramobile.template

/** Dtype of a tensor in the file. */
internal enum class Kind(val bytes: Int) { FLOAT32(4), INT32(4), INT64(8), INT8(1), UINT8(1), BOOL(1) }

/**
 * One input or output of the file: [name] is the model's name, [fileName] the signature's.
 *
 * An element in the file is `element_in_reference * scale + zeroPoint`, rounded and clipped where [kind] is quantized.
 * [low] and [high] are the declared range in the reference; both are NaN where none is declared.
 */
internal class Port(
    val name: String,
    val fileName: String,
    val shape: IntArray,
    val channelsLast: Boolean,
    val kind: Kind,
    val scale: Float = 1f,
    val zeroPoint: Float = 0f,
    val low: Float = Float.NaN,
    val high: Float = Float.NaN,
) {
    val count: Int = shape.fold(1) { product, size -> product * size }

    /** Whether elements are the reference's own, without scale and zero point. */
    val plain: Boolean get() = scale == 1f && zeroPoint == 0f

    /** Height and width of a photo or a map, [1, H, W, C] or [1, C, H, W]. */
    val height: Int get() = shape[if (channelsLast) 1 else 2]
    val width: Int get() = shape[if (channelsLast) 2 else 3]

    /** Return an array for the elements of the file: FloatArray, IntArray, LongArray, ByteArray or BooleanArray. */
    fun newArray(): Any = when (kind) {
        Kind.FLOAT32 -> FloatArray(count)
        Kind.INT32 -> IntArray(count)
        Kind.INT64 -> LongArray(count)
        Kind.INT8, Kind.UINT8 -> ByteArray(count)
        Kind.BOOL -> BooleanArray(count)
    }
}

/** Return one element of the file for an element of the reference. */
private fun Port.toFile(value: Float): Float {
    var result = if (scale != 1f) value * scale else value
    if (zeroPoint != 0f) result += zeroPoint
    return when (kind) {
        Kind.INT8 -> Math.rint(result.toDouble()).toFloat().coerceIn(-128f, 127f)
        Kind.UINT8 -> Math.rint(result.toDouble()).toFloat().coerceIn(0f, 255f)
        else -> result
    }
}

/** Write a resized photo, bytes [H, W, 3], as the elements of the file into [target] of [Port.newArray]. */
internal fun Port.packPhoto(photo: ByteArray, target: Any) {
    val from = if (low.isNaN()) 0f else low
    val span = if (low.isNaN()) 1f else high - low
    val table = FloatArray(256) { toFile(it / 255f * span + from) }
    val plane = width * height
    val steps = if (channelsLast) intArrayOf(3, 1) else intArrayOf(1, plane)
    for (pixel in 0 until plane) {
        for (channel in 0 until 3) {
            val value = table[photo[pixel * 3 + channel].toInt() and 0xFF]
            store(target, pixel * steps[0] + channel * steps[1], value)
        }
    }
}

private fun store(target: Any, index: Int, value: Float) {
    when (target) {
        is FloatArray -> target[index] = value
        is ByteArray -> target[index] = value.toInt().toByte()
        is IntArray -> target[index] = value.toInt()
        is LongArray -> target[index] = value.toLong()
        is BooleanArray -> target[index] = value != 0f
    }
}

/**
 * Return what the caller gives for this input as the elements of the file.
 *
 * Throws [NetException.WrongInput] for another number of elements, and for an integer outside the declared range: an
 * index beyond a table would read foreign memory.
 */
internal fun Port.pack(given: Any): Any {
    val size = when (given) {
        is FloatArray -> given.size
        is IntArray -> given.size
        is LongArray -> given.size
        is ByteArray -> given.size
        is BooleanArray -> given.size
        else -> throw NetException.WrongInput(name, "it is a ${given.javaClass.simpleName}")
    }
    if (size != count) throw NetException.WrongInput(name, "it has $size elements, the net reads $count (${shapeText()})")
    if (given is FloatArray && kind != Kind.FLOAT32 || given is FloatArray && !plain) {
        val packed = newArray()
        for (index in given.indices) store(packed, index, toFile(given[index]))
        return packed
    }
    val outside = when {
        low.isNaN() -> null
        given is IntArray -> given.firstOrNull { it < low || it > high }
        given is LongArray -> given.firstOrNull { it < low || it > high }
        else -> null
    }
    if (outside != null) throw NetException.WrongInput(name, "$outside is outside [${low.toLong()}, ${high.toLong()}]")
    return given
}

internal fun Port.shapeText(): String = shape.joinToString("x").ifEmpty { "a scalar" }

/** Return elements of the file as the reference's. A plain FloatArray is returned as it is, without a copy. */
internal fun Port.unpack(raw: Any): FloatArray {
    val shift = zeroPoint
    val divisor = scale
    if (raw is FloatArray && plain) return raw
    return FloatArray(count) { index ->
        val value = when (raw) {
            is FloatArray -> raw[index]
            is IntArray -> raw[index].toFloat()
            is LongArray -> raw[index].toFloat()
            is BooleanArray -> if (raw[index]) 1f else 0f
            is ByteArray -> (if (kind == Kind.UINT8) raw[index].toInt() and 0xFF else raw[index].toInt()).toFloat()
            else -> error("no array: ${raw.javaClass}")
        }
        val moved = if (shift != 0f) value - shift else value
        if (divisor != 1f) moved / divisor else moved
    }
}

/** Return whole numbers of the file without loss. */
internal fun Port.unpackLong(raw: Any): LongArray = when (raw) {
    is LongArray -> raw
    is IntArray -> LongArray(count) { raw[it].toLong() }
    is ByteArray -> LongArray(count) { (if (kind == Kind.UINT8) raw[it].toInt() and 0xFF else raw[it].toInt()).toLong() }
    is BooleanArray -> LongArray(count) { if (raw[it]) 1 else 0 }
    else -> error("no whole numbers: ${raw.javaClass}")
}
