import android.content.Context
import java.io.File
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test

/** The code of USAGE.md, on the artifact that lies in the assets. */
class UsageTest {
    @Test
    fun theGoldenIsRight() = Model(Context().assets).use { it.check() }

    @Test
    fun aWrongGoldenIsFound() {
        val copy = File.createTempFile("artifact", "").also { it.delete() }
        File(System.getProperty("stub.assets")).copyRecursively(copy)
        val golden = File(copy, "golden").listFiles()!!.filter { it.extension == "bin" }
        golden.forEach { file -> file.writeBytes(file.readBytes().also { bytes -> bytes.reverse() }) }
        try {
            Model(Context(copy.path).assets).use { it.check() }
            fail("no error")
        } catch (error: IllegalStateException) {
            assertTrue("$error", "is off by" in error.message!!)
        } finally {
            copy.deleteRecursively()
        }
    }
}
