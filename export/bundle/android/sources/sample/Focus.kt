package hydramobile.template.sample

import hydramobile.template.Plane

/** Blur a picture with the distance of its map from the map's element under the finger. */
internal class Focus(private val sharp: IntArray, private val width: Int, private val height: Int, private val map: Plane) {
    private val soft = blur(blur(sharp, maxOf(width, height) / 60), maxOf(width, height) / 60)
    private val levels = map.pixels(width, height)

    /** Return the picture in focus at a point from (0, 0) to (1, 1). */
    fun at(x: Float, y: Float): IntArray {
        val column = (x * width).toInt().coerceIn(0, width - 1)
        val row = (y * height).toInt().coerceIn(0, height - 1)
        val level = levels[row * width + column] and 0xFF
        return IntArray(sharp.size) { index ->
            val far = minOf(Math.abs((levels[index] and 0xFF) - level) * 3, 255)
            mix(sharp[index], soft[index], far)
        }
    }

    private fun mix(from: Int, to: Int, share: Int): Int {
        var word = 255
        for (shift in intArrayOf(16, 8, 0)) {
            val a = (from ushr shift) and 0xFF
            val b = (to ushr shift) and 0xFF
            word = (word shl 8) or (a + (b - a) * share / 255)
        }
        return word
    }

    /** Return the mean over a square of 2 * [radius] + 1 pixels: rows, then columns. */
    private fun blur(source: IntArray, radius: Int): IntArray {
        val rows = IntArray(source.size)
        for (y in 0 until height) line(source, rows, y * width, 1, width, radius)
        val result = IntArray(source.size)
        for (x in 0 until width) line(rows, result, x, width, height, radius)
        return result
    }

    private fun line(source: IntArray, target: IntArray, start: Int, step: Int, count: Int, radius: Int) {
        val sums = IntArray(3)
        fun add(index: Int, sign: Int) {
            val pixel = source[start + index.coerceIn(0, count - 1) * step]
            for (channel in 0 until 3) sums[channel] += sign * ((pixel ushr (16 - 8 * channel)) and 0xFF)
        }
        for (index in -radius..radius) add(index, 1)
        for (index in 0 until count) {
            target[start + index * step] = sums.fold(255) { word, sum -> (word shl 8) or (sum / (2 * radius + 1)) }
            add(index - radius, -1)
            add(index + radius + 1, 1)
        }
    }
}
