package hydramobile.template

import java.nio.FloatBuffer
import java.nio.LongBuffer

/** A result: [values] holds the reference's elements in the order of [shape], the file's own layout. It belongs to the caller. */
open class Tensor internal constructor(val shape: List<Int>, private val elements: FloatArray) {
    /** All elements, from position 0. Every call returns a view of the same memory with a position of its own. */
    val values: FloatBuffer get() = FloatBuffer.wrap(elements)

    operator fun get(index: Int): Float = elements[index]
}

/** A result of whole numbers, such as class indices. */
class Integers internal constructor(val shape: List<Int>, private val elements: LongArray) {
    val values: LongBuffer get() = LongBuffer.wrap(elements)

    operator fun get(index: Int): Long = elements[index]
}

/**
 * A result with one channel, [width] x [height].
 *
 * [low] and [high] are the ends of its declared range, or NaN where the model declares none.
 */
class Plane internal constructor(
    shape: List<Int>,
    private val elements: FloatArray,
    val width: Int,
    val height: Int,
    val low: Float,
    val high: Float,
) : Tensor(shape, elements) {
    /** Return the element at the column [x] and the row [y]. */
    operator fun get(x: Int, y: Int): Float = elements[y * width + x]

    /** Return the element at a point of the picture, where (0, 0) is its upper left corner and (1, 1) its lower right one. */
    fun at(x: Float, y: Float): Float = sample(x * width - 0.5f, y * height - 0.5f)

    /**
     * Return a grey picture of [toWidth] x [toHeight] opaque pixels, ARGB.
     *
     * Black is the lower end of the declared range and white the upper one; without a range, the smallest and the largest
     * element. The map is enlarged bilinearly between the centers of its pixels.
     */
    fun pixels(toWidth: Int, toHeight: Int): IntArray {
        require(toWidth > 0 && toHeight > 0) { "a picture of $toWidth x $toHeight pixels" }
        val from = if (low.isNaN()) elements.minOrNull()!! else low
        val to = if (low.isNaN()) elements.maxOrNull()!! else high
        val factor = if (to > from) 255f / (to - from) else 0f
        val columns = Line(width, toWidth)
        val rows = Line(height, toHeight)
        val result = IntArray(toWidth * toHeight)
        for (y in 0 until toHeight) {
            for (x in 0 until toWidth) {
                val value = mix(columns.first[x], columns.second[x], columns.share[x], rows.first[y], rows.second[y], rows.share[y])
                val grey = ((value - from) * factor + 0.5f).toInt().coerceIn(0, 255)
                result[y * toWidth + x] = (255 shl 24) or (grey shl 16) or (grey shl 8) or grey
            }
        }
        return result
    }

    private fun mix(x0: Int, x1: Int, u: Float, y0: Int, y1: Int, v: Float): Float {
        val upper = elements[y0 * width + x0] + (elements[y0 * width + x1] - elements[y0 * width + x0]) * u
        val lower = elements[y1 * width + x0] + (elements[y1 * width + x1] - elements[y1 * width + x0]) * u
        return upper + (lower - upper) * v
    }

    private fun sample(x: Float, y: Float): Float {
        val left = x.coerceIn(0f, (width - 1).toFloat())
        val top = y.coerceIn(0f, (height - 1).toFloat())
        val x0 = left.toInt()
        val y0 = top.toInt()
        return mix(x0, minOf(x0 + 1, width - 1), left - x0, y0, minOf(y0 + 1, height - 1), top - y0)
    }
}

/** The two neighbours of each target's center along one axis, and the share of the second one. */
private class Line(from: Int, to: Int) {
    val first = IntArray(to)
    val second = IntArray(to)
    val share = FloatArray(to)

    init {
        for (index in 0 until to) {
            val center = ((index + 0.5f) * from / to - 0.5f).coerceIn(0f, (from - 1).toFloat())
            first[index] = center.toInt()
            second[index] = minOf(first[index] + 1, from - 1)
            share[index] = center - first[index]
        }
    }
}

internal fun Port.tensor(raw: Any): Tensor = Tensor(shape.toList(), unpack(raw))

internal fun Port.integers(raw: Any): Integers = Integers(shape.toList(), unpackLong(raw))

internal fun Port.plane(raw: Any): Plane = Plane(shape.toList(), unpack(raw), width, height, low, high)
