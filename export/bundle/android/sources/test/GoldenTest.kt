package hydramobile.template

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** What runs without LiteRT: the golden files are whole, and a photo becomes the very elements that the net was judged on. */
class GoldenTest {
    private fun read(file: String, port: Port): Any =
        Golden.read(javaClass.classLoader!!.getResourceAsStream("golden/$file")!!.use { it.readBytes() }, port)

    @Test
    fun everyGoldenFileFitsItsPort() {
        assertTrue(GoldenFiles.entries.isNotEmpty())
        for (entry in GoldenFiles.entries) {
            for ((name, file) in entry.inputs) read(file, entry.step.input(name))
            for ((name, expected) in entry.outputs) {
                val port = entry.step.output(name)
                val elements = read(expected.file, port)
                assertEquals(0.0, Golden.meanAbs(elements, elements, port), 0.0)
                assertTrue(expected.meanAbs >= 0)
            }
        }
    }

    @Test
    fun thePhotoIsPackedAsTheNetWasJudged() {
        for ((step, name) in GoldenFiles.photos) {
            val port = step.input(name)
            val golden = read(GoldenFiles.entries.first { it.step === step }.inputs.getValue(name), port)
            val pixels = Golden.pixels(golden, port)
            val rows = object : Rows {
                override val width = port.width
                override val height = port.height
                override val transparent = false

                override fun read(pixels: IntArray, first: Int, count: Int) {
                    source.copyInto(pixels, 0, first * width, (first + count) * width)
                }

                val source = pixels
            }
            val packed = port.newArray()
            port.packPhoto(Resize(port.width, port.height).run(rows), packed)
            val half = (if (port.low.isNaN()) 1f else port.high - port.low) / 255 / 2 * 1.01f
            assertArrayEquals(port.unpack(golden), port.unpack(packed), half)
        }
    }
}
