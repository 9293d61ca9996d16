package hydramobile.template

/**
 * How a stored picture must be turned to stand upright. The values are those of EXIF's tag Orientation (0x0112).
 *
 * A turned photo costs nothing here: the stored pixels are resized, and the few pixels of the result are turned.
 */
enum class Orientation(val exif: Int) {
    UP(1),
    FLIP_HORIZONTAL(2),
    ROTATE_180(3),
    FLIP_VERTICAL(4),
    TRANSPOSE(5),
    ROTATE_90(6),
    TRANSVERSE(7),
    ROTATE_270(8);

    /** Whether width and height change places. */
    val swaps: Boolean get() = exif >= 5

    /**
     * Return the nine values of an `android.graphics.Matrix` that moves a stored picture of [width] x [height] pixels
     * upright. Its corner stays at the origin.
     */
    fun matrix(width: Int, height: Int): FloatArray {
        val w = width.toFloat()
        val h = height.toFloat()
        return when (this) {
            UP -> floatArrayOf(1f, 0f, 0f, 0f, 1f, 0f, 0f, 0f, 1f)
            FLIP_HORIZONTAL -> floatArrayOf(-1f, 0f, w, 0f, 1f, 0f, 0f, 0f, 1f)
            ROTATE_180 -> floatArrayOf(-1f, 0f, w, 0f, -1f, h, 0f, 0f, 1f)
            FLIP_VERTICAL -> floatArrayOf(1f, 0f, 0f, 0f, -1f, h, 0f, 0f, 1f)
            TRANSPOSE -> floatArrayOf(0f, 1f, 0f, 1f, 0f, 0f, 0f, 0f, 1f)
            ROTATE_90 -> floatArrayOf(0f, -1f, h, 1f, 0f, 0f, 0f, 0f, 1f)
            TRANSVERSE -> floatArrayOf(0f, -1f, h, -1f, 0f, w, 0f, 0f, 1f)
            ROTATE_270 -> floatArrayOf(0f, 1f, 0f, -1f, 0f, w, 0f, 0f, 1f)
        }
    }

    /** Return stored bytes [[height], [width], 3] upright: [width, height, 3] where [swaps]. */
    internal fun turn(stored: ByteArray, width: Int, height: Int): ByteArray {
        if (this == UP) return stored
        val upright = ByteArray(stored.size)
        val values = matrix(width, height)
        val upWidth = if (swaps) height else width
        // The matrix moves corners of pixels; their centers lie half a pixel further.
        for (y in 0 until height) {
            for (x in 0 until width) {
                val toX = (values[0] * (x + 0.5f) + values[1] * (y + 0.5f) + values[2]).toInt()
                val toY = (values[3] * (x + 0.5f) + values[4] * (y + 0.5f) + values[5]).toInt()
                val from = (y * width + x) * 3
                val to = (toY * upWidth + toX) * 3
                for (channel in 0 until 3) upright[to + channel] = stored[from + channel]
            }
        }
        return upright
    }

    companion object {
        /** Return the orientation of an EXIF value. An unknown one means upright, as in every viewer. */
        fun of(exif: Int): Orientation = values().firstOrNull { it.exif == exif } ?: UP
    }
}
