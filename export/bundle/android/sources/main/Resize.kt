package hydramobile.template

/** A picture that is read in bands of rows. Pixels are 32-bit ARGB in sRGB, not premultiplied, as `Bitmap.getPixels` gives them. */
internal interface Rows {
    val width: Int
    val height: Int

    /** Whether a pixel may have an alpha below 255. */
    val transparent: Boolean

    /** Write the rows [first] until [first] + [count] to the start of [pixels], one behind the other. */
    fun read(pixels: IntArray, first: Int, count: Int)
}

/** Indices of the first source element and fixed-point weights of each target element, along one axis. */
private class Triangles(from: Int, to: Int) {
    val first = IntArray(to)
    val start = IntArray(to + 1)
    val weights: IntArray

    init {
        val scale = from.toDouble() / to
        val reach = maxOf(scale, 1.0)
        val parts = Array(to) { target ->
            val center = (target + 0.5) * scale
            val low = maxOf((center - reach + 0.5).toInt(), 0)
            val high = minOf((center + reach + 0.5).toInt(), from)
            val raw = DoubleArray(high - low) { maxOf(1 - Math.abs((low + it - center + 0.5) / reach), 0.0) }
            val total = raw.sum()
            first[target] = low
            start[target + 1] = start[target] + raw.size
            IntArray(raw.size) { (raw[it] / total * (1 shl BITS) + 0.5).toInt() }
        }
        weights = IntArray(start[to])
        for (target in 0 until to) parts[target].copyInto(weights, start[target])
    }
}

/**
 * The same weights by source element, for an axis that shrinks.
 *
 * A source element between the centers of two targets counts for these two alone. Its weights for the left and the right
 * target are the halves of one Long, so that one multiplication serves both. The elements before [cut] of t + 1 and from
 * [cut] of t on lie between the centers of the targets t - 1 and t.
 */
private class Pairs private constructor(val cut: IntArray, val weights: LongArray) {
    companion object {
        /** Return the pairs, or null for an axis that grows. */
        fun of(triangles: Triangles, from: Int, to: Int): Pairs? {
            if (from < to) return null
            val cut = IntArray(to + 2)
            val weights = LongArray(from)
            val scale = from.toDouble() / to
            val right = IntArray(from) { minOf(Math.floor((it + 0.5) / scale - 0.5).toInt() + 1, to) }
            for (source in 0 until from) cut[right[source] + 1] = source + 1
            for (target in 1..to + 1) cut[target] = maxOf(cut[target], cut[target - 1])
            for (target in 0 until to) {
                for (index in triangles.start[target] until triangles.start[target + 1]) {
                    val source = triangles.first[target] + index - triangles.start[target]
                    val weight = triangles.weights[index].toLong()
                    when (target) {
                        right[source] -> weights[source] = weights[source] or weight
                        right[source] - 1 -> weights[source] = weights[source] or (weight shl 32)
                        // A weight of rounding size; the general way keeps it.
                        else -> if (weight != 0L) return null
                    }
                }
            }
            return Pairs(cut, weights)
        }
    }
}

/** Bits of the fixed-point weights, as Pillow has them. */
private const val BITS = 22
private const val HALF = 1 shl (BITS - 1)

/** Pixels that are read at once: a band stays in a core's cache. */
private const val BAND = 1 shl 16

/**
 * Stretch pictures to one size: bilinear, and antialiased where the picture shrinks.
 *
 * The algorithm is Pillow's `BILINEAR`: a triangle filter per axis with fixed-point weights, rows first, rounded to bytes
 * between the two passes. Pillow 13 begins with the columns where the height shrinks
 * much more (https://github.com/python-pillow/Pillow/pull/9549), which changes a byte by 1 at most. Transparent pixels are put over white first. Scratch memory is kept between calls, so one
 * instance serves one thread.
 */
internal class Resize(private val toWidth: Int, private val toHeight: Int) {
    private var pixels = IntArray(0)
    private var narrow = ByteArray(0)
    private val result = ByteArray(toWidth * toHeight * 3)
    private val sums = IntArray(toWidth * 3)

    /** Return the picture as bytes [toHeight, toWidth, 3] (R, G, B). The array is overwritten by the next call. */
    fun run(rows: Rows): ByteArray {
        val width = rows.width
        val height = rows.height
        val band = maxOf(1, minOf(BAND / width, height))
        if (pixels.size < band * width) pixels = IntArray(band * width)
        if (narrow.size < height * toWidth * 3) narrow = ByteArray(height * toWidth * 3)
        val across = Triangles(width, toWidth)
        val pairs = Pairs.of(across, width, toWidth)
        var y = 0
        while (y < height) {
            val count = minOf(band, height - y)
            rows.read(pixels, y, count)
            if (rows.transparent) putOverWhite(pixels, count * width)
            for (row in 0 until count) {
                val target = (y + row) * toWidth * 3
                if (pairs != null) shrinkRow(pairs, row * width, target) else growRow(across, row * width, target)
            }
            y += count
        }
        flatten(Triangles(height, toHeight))
        return result
    }

    /** Shrink one row: a sum has at most 31 bits, so that two of them fit in a Long. */
    private fun shrinkRow(pairs: Pairs, row: Int, target: Int) {
        val source = pixels
        val weights = pairs.weights
        var out = target
        var red = 0
        var green = 0
        var blue = 0
        for (right in 0..toWidth) {
            var reds = 0L
            var greens = 0L
            var blues = 0L
            for (index in pairs.cut[right] until pairs.cut[right + 1]) {
                val pixel = source[row + index]
                val weight = weights[index]
                reds += ((pixel ushr 16) and 0xFF) * weight
                greens += ((pixel ushr 8) and 0xFF) * weight
                blues += (pixel and 0xFF) * weight
            }
            if (right > 0) {
                narrow[out] = toByte(red + (reds ushr 32).toInt())
                narrow[out + 1] = toByte(green + (greens ushr 32).toInt())
                narrow[out + 2] = toByte(blue + (blues ushr 32).toInt())
                out += 3
            }
            red = HALF + reds.toInt()
            green = HALF + greens.toInt()
            blue = HALF + blues.toInt()
        }
    }

    /** Stretch one row. */
    private fun growRow(across: Triangles, row: Int, target: Int) {
        var out = target
        for (x in 0 until toWidth) {
            val start = across.start[x]
            var red = HALF
            var green = HALF
            var blue = HALF
            for (index in start until across.start[x + 1]) {
                val pixel = pixels[row + across.first[x] + index - start]
                val weight = across.weights[index]
                red += ((pixel ushr 16) and 0xFF) * weight
                green += ((pixel ushr 8) and 0xFF) * weight
                blue += (pixel and 0xFF) * weight
            }
            narrow[out] = toByte(red)
            narrow[out + 1] = toByte(green)
            narrow[out + 2] = toByte(blue)
            out += 3
        }
    }

    /** Shrink the columns of `narrow` into `result`, a whole row at a time. */
    private fun flatten(down: Triangles) {
        val row = toWidth * 3
        for (y in 0 until toHeight) {
            sums.fill(HALF)
            for (index in down.start[y] until down.start[y + 1]) {
                val weight = down.weights[index]
                val start = (down.first[y] + index - down.start[y]) * row
                for (item in 0 until row) sums[item] += (narrow[start + item].toInt() and 0xFF) * weight
            }
            for (item in 0 until row) result[y * row + item] = toByte(sums[item])
        }
    }
}

/** Return a fixed-point sum, which already holds one half, as a byte. */
private fun toByte(sum: Int): Byte = minOf(sum ushr BITS, 255).toByte()

/** Replace pixels by their colour over white, with Pillow's rounding. */
internal fun putOverWhite(pixels: IntArray, count: Int) {
    for (index in 0 until count) {
        val pixel = pixels[index]
        val alpha = pixel ushr 24
        if (alpha == 255) continue
        val red = overWhite((pixel ushr 16) and 0xFF, alpha)
        val green = overWhite((pixel ushr 8) and 0xFF, alpha)
        val blue = overWhite(pixel and 0xFF, alpha)
        pixels[index] = (255 shl 24) or (red shl 16) or (green shl 8) or blue
    }
}

private fun overWhite(value: Int, alpha: Int): Int {
    val sum = value * alpha + 255 * (255 - alpha) + 128
    return ((sum ushr 8) + sum) ushr 8
}
