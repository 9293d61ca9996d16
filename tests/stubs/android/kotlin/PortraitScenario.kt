package hydramobile.portraithydra

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.os.Build
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.TensorBufferType
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test
import stub.Faults

/** How the portrait's package behaves: typed errors, fallback, calls at once, and the memory that it keeps. */
class PortraitScenario {
    private val context = Context()
    private val photo = Photo(picture(300, 400))

    init {
        Faults.reset()
    }

    private fun picture(width: Int, height: Int, config: Bitmap.Config = Bitmap.Config.ARGB_8888): Bitmap =
        Bitmap.createBitmap(
            IntArray(width * height) {
                val (x, y) = it % width to it / width
                (255 shl 24) or (x * 255 / width shl 16) or (y * 255 / height shl 8) or ((x xor y) and 0xFF)
            },
            width, height, config,
        )

    private fun floats(plane: Plane) = FloatArray(plane.values.remaining()) { plane[it] }

    private inline fun <reified E : NetException> expect(block: () -> Unit): E {
        try {
            block()
        } catch (error: NetException) {
            assertTrue("$error is no ${E::class}", error is E)
            return error as E
        }
        throw AssertionError("no ${E::class}")
    }

    @Test
    fun headsReadFeaturesWithoutACopy() = runBlocking {
        PortraitHydra.load(context).use { net ->
            net.encode(photo).use { features ->
                val before = Faults.written to Faults.read
                val depth = net.depth(features)
                val matte = net.segmentation(features)
                assertEquals(before.first, Faults.written)
                assertEquals(before.second + 2, Faults.read)
                val both = net.portrait(photo)
                assertArrayEquals(floats(depth.depth), floats(both.depth), 0f)
                assertArrayEquals(floats(matte.alpha), floats(both.alpha), 0f)
            }
            assertEquals(listOf(1, 256, 192, 1), net.portrait(photo).depth.shape)
        }
    }

    @Test
    fun tensorsAreKeptBetweenCalls() = runBlocking {
        PortraitHydra.load(context).use { net ->
            net.portrait(photo)
            val created = Faults.created
            repeat(3) { net.portrait(photo) }
            assertEquals(created, Faults.created)
            val forgotten = (0 until 40).map { net.encode(photo) }.size
            var calls = 0
            while (calls < 60) {
                System.gc()
                Thread.sleep(20)
                net.portrait(photo)
                val now = Faults.created
                net.encode(photo)
                if (Faults.created == now && calls > 3) break
                calls += 1
            }
            assertTrue("forgotten features are never found", calls < 60 && forgotten == 40)
        }
    }

    @Test
    fun otherTensorsAreCopied() = runBlocking {
        PortraitHydra.load(context).use { net ->
            val shared = floats(net.portrait(photo).depth)
            Faults.inputType = TensorBufferType.OpenClBuffer
            PortraitHydra.load(context).use { other -> assertArrayEquals(shared, floats(other.portrait(photo).depth), 0f) }
        }
    }

    @Test
    fun twoCallsAtOnceAreBothRight() = runBlocking {
        PortraitHydra.load(context).use { net ->
            val other = Photo(picture(64, 48))
            val alone = listOf(photo, other).map { floats(net.portrait(it).depth) }
            val together = (0 until 6).map { index ->
                async(Dispatchers.Default) { floats(net.portrait(if (index % 2 == 0) photo else other).depth) }
            }
            together.forEachIndexed { index, job -> assertArrayEquals(alone[index % 2], job.await(), 0f) }
        }
    }

    @Test
    fun aGpuThatCannotLoadFallsBackAndSaysSo() = runBlocking {
        Faults.open = setOf(Accelerator.GPU)
        var told = ""
        PortraitHydra.load(context, Device.GPU) { told = it }.use { net ->
            assertEquals(Device.CPU, net.device)
            assertEquals("GPU: Failed to compile model", net.fallback)
            assertEquals(net.fallback, told)
            net.portrait(photo)
        }
    }

    @Test
    fun aLibraryThatIsNotInTheAppIsNoCrash() = runBlocking {
        Faults.unlinked = setOf(Accelerator.GPU)
        PortraitHydra.load(context, Device.GPU).use { net -> assertEquals("GPU: dlopen failed", net.fallback) }
        Faults.unlinked = setOf(Accelerator.CPU)
        expect<NetException.EngineFailed> { PortraitHydra.load(context) }
        Unit
    }

    @Test
    fun aGpuThatWorksStays() = runBlocking {
        PortraitHydra.load(context, Device.GPU).use { net ->
            net.portrait(photo)
            assertEquals(Device.GPU to null, net.device to net.fallback)
        }
    }

    @Test
    fun aDelegateWithoutMemoryFallsBackInTheCall() = runBlocking {
        val right = PortraitHydra.load(context).use { floats(it.portrait(photo).alpha) }
        // Three warm-up runs and the encoder pass; the head fails, so its features move to the CPU.
        Faults.run = setOf(Accelerator.NPU)
        Faults.runsBefore = 4
        var told = 0
        PortraitHydra.load(context, Device.NPU) { told += 1 }.use { net ->
            assertEquals(Device.NPU, net.device)
            val features = net.encode(photo)
            assertArrayEquals(right, floats(net.segmentation(features).alpha), 0f)
            assertEquals(Device.CPU to "NPU: ErrorMemoryAllocationFailure", net.device to net.fallback)
            assertArrayEquals(right, floats(net.segmentation(features).alpha), 0f)
            val closed = Faults.closed
            features.close()
            assertArrayEquals(right, floats(net.portrait(photo).alpha), 0f)
            // The model and the environment of the NPU are closed with the last features that it holds.
            assertEquals(closed + 2, Faults.closed)
            assertEquals(1, told)
        }
    }

    @Test
    fun aCpuThatFailsIsATypedError() = runBlocking {
        Faults.open = setOf(Accelerator.CPU, Accelerator.GPU)
        expect<NetException.EngineFailed> { PortraitHydra.load(context, Device.GPU) }
        Faults.reset()
        PortraitHydra.load(context).use { net ->
            Faults.run = setOf(Accelerator.CPU)
            assertEquals("encoder", expect<NetException.EngineFailed> { net.portrait(photo) }.step)
            Faults.reset()
            net.portrait(photo)
            Unit
        }
    }

    @Test
    fun useAfterClose() = runBlocking {
        val net = PortraitHydra.load(context)
        val features = net.encode(photo)
        val more = net.encode(photo)
        features.close()
        features.close()
        expect<NetException.Closed> { net.depth(features) }
        PortraitHydra.load(context).use { other -> expect<NetException.Closed> { other.depth(more) } }
        val running = async(Dispatchers.Default) { runCatching { net.portrait(photo) } }
        net.close()
        net.close()
        val end = running.await()
        assertTrue("$end", end.isSuccess || end.exceptionOrNull() is NetException.Closed)
        expect<NetException.Closed> { net.encode(photo) }
        expect<NetException.Closed> { net.depth(more) }
        more.close()
    }

    @Test
    fun missingAndCorruptFiles() = runBlocking {
        val empty = File.createTempFile("assets", "").also { it.delete() }
        val error = expect<NetException.MissingFile> { PortraitHydra.load(Context(empty.path)) }
        assertEquals("portraithydra/portrait.tflite", error.file)
        File(empty, "portraithydra").mkdirs()
        val bytes = context.assets.open(error.file).use { it.readBytes() }
        bytes[bytes.size / 2] = (bytes[bytes.size / 2] + 1).toByte()
        File(empty, error.file).writeBytes(bytes)
        val corrupt = expect<NetException.CorruptFile> { PortraitHydra.load(Context(empty.path)) }
        assertTrue(corrupt.message!!, corrupt.sha256.length == 64 && corrupt.sha256 != corrupt.expected)
        empty.deleteRecursively()
        Unit
    }

    @Test
    fun photosOfEveryKind() = runBlocking {
        PortraitHydra.load(context).use { net ->
            val right = floats(net.portrait(photo).depth)
            assertArrayEquals(right, floats(net.portrait(Photo(picture(300, 400, Bitmap.Config.HARDWARE))).depth), 0f)
            net.portrait(Photo(picture(1, 1)))
            net.portrait(Photo(picture(10_000, 5_000)))
            val gone = picture(4, 4).also { it.recycle() }
            expect<NetException.WrongPhoto> { net.portrait(Photo(gone)) }
            expect<NetException.WrongPhoto> { net.portrait(Photo(picture(4, 4, Bitmap.Config.ALPHA_8))) }
            val image = net.portrait(photo).depth.image(photo.width, photo.height)
            assertEquals(300 to 400, image.width to image.height)
        }
    }

    @Test
    fun aPhotoWithoutMemory() = runBlocking {
        PortraitHydra.load(context).use { net ->
            val right = floats(net.portrait(photo).depth)
            Bitmap.exhausted = true
            expect<NetException.OutOfMemory> { net.portrait(photo) }
            Bitmap.exhausted = false
            assertArrayEquals(right, floats(net.portrait(photo).depth), 0f)
        }
    }

    @Test
    fun cancelledCallsLeaveNothing() = runBlocking {
        launch(Dispatchers.Default) { PortraitHydra.load(context) }.run { cancelAndJoin() }
        PortraitHydra.load(context).use { net ->
            val right = floats(net.portrait(photo).depth)
            val job = launch(Dispatchers.Default) { repeat(100) { net.portrait(photo) } }
            delay(50)
            job.cancelAndJoin()
            assertArrayEquals(right, floats(net.portrait(photo).depth), 0f)
        }
    }

    @Test
    fun photosFromFiles() = runBlocking {
        val uri = Uri.parse(System.getProperty("stub.photo"))
        for (sdk in listOf(24, 26, 36)) {
            Build.VERSION.SDK_INT = sdk
            val photo = Photo.open(context, uri)
            assertEquals(3 to 2, photo.width to photo.height)
            expect<NetException.WrongPhoto> { Photo.open(context, Uri.parse("/nowhere.png")) }
            expect<NetException.WrongPhoto> { Photo.open(context, Uri.parse(System.getProperty("stub.server"))) }
            val error = expect<NetException.WrongPhoto> { Photo.open(context, uri, 5) }
            assertTrue(error.message!!, "3 x 2" in error.message!!)
        }
        Build.VERSION.SDK_INT = 24
        System.setProperty("stub.exif", "6")
        val turned = Photo.open(context, uri)
        System.clearProperty("stub.exif")
        Build.VERSION.SDK_INT = 36
        assertEquals(Orientation.ROTATE_90, turned.orientation)
        assertEquals(2 to 3, turned.width to turned.height)
        val preview = turned.preview(640)
        assertEquals(2 to 3, preview.width to preview.height)
        val pixels = IntArray(6).also { preview.getPixels(it, 0, 2, 0, 0, 2, 3) }
        val stored = IntArray(6).also { turned.bitmap.getPixels(it, 0, 3, 0, 0, 3, 2) }
        assertEquals(listOf(3, 0, 4, 1, 5, 2).map { stored[it] }, pixels.toList())
        assertEquals(2, turned.preview(2).height)
    }

    @Test
    fun wrongInputs() = runBlocking {
        PortraitHydra.load(context).use { net ->
            val port = Port("ids", "ids", intArrayOf(1, 3), false, Kind.INT32, low = 0f, high = 9f)
            assertTrue(expect<NetException.WrongInput> { port.pack(intArrayOf(1, 2)) }.message!!.contains("2 elements, the net reads 3 (1x3)"))
            assertTrue(expect<NetException.WrongInput> { port.pack(intArrayOf(1, 2, 10)) }.message!!.contains("10 is outside [0, 9]"))
            assertArrayEquals(floatArrayOf(0f), floatArrayOf(0f), 0f)
            net.portrait(photo)
        }
        if (Faults.runs == 0) fail("nothing ran")
    }
}
