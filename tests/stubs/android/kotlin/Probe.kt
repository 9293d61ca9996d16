package hydramobile.template

import java.io.File
import java.lang.management.ManagementFactory
import java.lang.reflect.InvocationTargetException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Runs the plain Kotlin of a package on files. Each line of the file in the first argument is one command. */
fun main(arguments: Array<String>) {
    for (line in File(arguments[0]).readLines()) {
        val words = line.split(' ')
        when (words[0]) {
            "resize" -> resize(words.drop(1))
            "time" -> time(words.drop(1).map { it.toInt() })
            "pack" -> pack(words.drop(1))
            "unpack" -> unpack(words.drop(1))
            "plane" -> plane(words.drop(1))
            "test" -> test(words[1])
            else -> error("no command ${words[0]}")
        }
    }
}

private class Pixels(val pixels: IntArray, override val width: Int, override val height: Int, override val transparent: Boolean) : Rows {
    override fun read(pixels: IntArray, first: Int, count: Int) {
        this.pixels.copyInto(pixels, 0, first * width, (first + count) * width)
    }
}

/** IN WIDTH HEIGHT TRANSPARENT EXIF TO_WIDTH TO_HEIGHT OUT: ARGB words in, upright RGB bytes out. */
private fun resize(words: List<String>) {
    val (width, height) = words.slice(1..2).map { it.toInt() }
    val orientation = Orientation.of(words[4].toInt())
    val (toWidth, toHeight) = words.slice(5..6).map { it.toInt() }
    val stored = if (orientation.swaps) toHeight to toWidth else toWidth to toHeight
    val rows = Pixels(ints(words[0]), width, height, words[3] == "true")
    val bytes = Resize(stored.first, stored.second).run(rows)
    File(words[7]).writeBytes(orientation.turn(bytes, stored.first, stored.second))
}

/** WIDTH HEIGHT TO_WIDTH TO_HEIGHT TRANSPARENT: prints the medians of 15 calls after 10 others, in ms: the clock's, the thread's. */
private fun time(numbers: List<Int>) {
    val (width, height, toWidth, toHeight) = numbers
    val rows = Pixels(IntArray(width * height) { it * -0x61C88647 or (255 shl 24) }, width, height, numbers[4] == 1)
    val resize = Resize(toWidth, toHeight)
    val thread = ManagementFactory.getThreadMXBean()
    val times = List(25) {
        val start = System.nanoTime() to thread.currentThreadCpuTime
        resize.run(rows)
        System.nanoTime() - start.first to thread.currentThreadCpuTime - start.second
    }.drop(10)
    println("time ${times.map { it.first }.sorted()[7] / 1e6} ${times.map { it.second }.sorted()[7] / 1e6}")
}

/** PORT IN OUT: RGB bytes of a photo in, elements of the file out. */
private fun pack(words: List<String>) {
    val port = port(words[0])
    val target = port.newArray()
    port.packPhoto(File(words[1]).readBytes(), target)
    File(words[2]).writeBytes(bytes(target))
}

/** PORT IN OUT VALUES: a golden file in; the reference's elements and the file's elements packed from them out. */
private fun unpack(words: List<String>) {
    val port = port(words[0])
    val raw = Golden.read(File(words[1]).readBytes(), port)
    val values = port.unpack(raw)
    File(words[2]).writeBytes(bytes(values))
    val given: Any = if (port.plain && raw !is ByteArray) raw else values
    File(words[3]).writeBytes(bytes(port.pack(given)))
}

/** IN WIDTH HEIGHT LOW HIGH TO_WIDTH TO_HEIGHT OUT: float32 in, ARGB words out. */
private fun plane(words: List<String>) {
    val (width, height) = words.slice(1..2).map { it.toInt() }
    val floats = ByteBuffer.wrap(File(words[0]).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    val elements = FloatArray(width * height).also { floats.get(it) }
    val map = Plane(listOf(1, height, width, 1), elements, width, height, words[3].toFloat(), words[4].toFloat())
    File(words[7]).writeBytes(bytes(map.pixels(words[5].toInt(), words[6].toInt())))
}

/** Run all methods with org.junit.Test of a class, and print one line each. */
private fun test(name: String) {
    val type = Class.forName(name)
    for (method in type.declaredMethods.filter { it.isAnnotationPresent(org.junit.Test::class.java) }.sortedBy { it.name }) {
        try {
            method.invoke(type.getDeclaredConstructor().newInstance())
            println("passed $name.${method.name}")
        } catch (error: InvocationTargetException) {
            println("FAILED $name.${method.name}: ${error.targetException}")
            error.targetException.printStackTrace()
        }
    }
}

/** kind:last|first:1x2x3:scale:zero:low:high */
private fun port(text: String): Port {
    val parts = text.split(':')
    val shape = if (parts[2].isEmpty()) intArrayOf() else parts[2].split('x').map { it.toInt() }.toIntArray()
    val (scale, zero, low, high) = parts.drop(3).map { it.toFloat() }
    return Port("x", "x", shape, parts[1] == "last", Kind.valueOf(parts[0].uppercase()), scale, zero, low, high)
}

private fun ints(path: String): IntArray {
    val buffer = ByteBuffer.wrap(File(path).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer()
    return IntArray(buffer.remaining()).also { buffer.get(it) }
}

private fun bytes(array: Any): ByteArray {
    if (array is ByteArray) return array
    if (array is BooleanArray) return ByteArray(array.size) { if (array[it]) 1 else 0 }
    val size = when (array) {
        is FloatArray -> array.size * 4
        is IntArray -> array.size * 4
        is LongArray -> array.size * 8
        else -> error("no array")
    }
    val buffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)
    when (array) {
        is FloatArray -> buffer.asFloatBuffer().put(array)
        is IntArray -> buffer.asIntBuffer().put(array)
        is LongArray -> buffer.asLongBuffer().put(array)
    }
    return buffer.array()
}
