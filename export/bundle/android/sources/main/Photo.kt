package hydramobile.template

import android.annotation.TargetApi
import android.content.ContentResolver
import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import android.os.Build
import java.io.FileNotFoundException
import java.io.IOException

/**
 * A photo as the net reads it: the pixels of [bitmap], turned by [orientation].
 *
 * Any configuration that holds colours will do: hardware bitmaps are copied to software ones, wide gamuts are converted to
 * sRGB, transparent pixels are put over white. The net stretches the whole photo to its own size.
 */
class Photo(val bitmap: Bitmap, val orientation: Orientation = Orientation.UP) {
    /** Width and height of the upright photo. */
    val width: Int get() = if (orientation.swaps) bitmap.height else bitmap.width
    val height: Int get() = if (orientation.swaps) bitmap.width else bitmap.height

    /** Return the upright photo in a software bitmap, with at most [longest] pixels on its longer side, to be shown. */
    fun preview(longest: Int): Bitmap {
        val source = software()
        val scale = minOf(1f, longest.toFloat() / maxOf(source.width, source.height))
        val matrix = Matrix().apply {
            setValues(orientation.matrix(source.width, source.height))
            postScale(scale, scale)
        }
        return Bitmap.createBitmap(source, 0, 0, source.width, source.height, matrix, true)
    }

    /** Return the rows of the pixels. Throws [NetException.WrongPhoto] where they cannot be read. */
    internal fun rows(): Rows {
        if (bitmap.width.toLong() * bitmap.height > MAX_PIXELS) {
            throw NetException.WrongPhoto("it has ${bitmap.width} x ${bitmap.height} pixels, over the limit of $MAX_PIXELS")
        }
        return BitmapRows(software())
    }

    /** Return a bitmap whose pixels can be read: the pixels of a hardware bitmap are in the GPU's memory. */
    private fun software(): Bitmap {
        if (bitmap.isRecycled) throw NetException.WrongPhoto("its bitmap is recycled")
        if (bitmap.config == Bitmap.Config.ALPHA_8) throw NetException.WrongPhoto("a bitmap of ALPHA_8 has no colours")
        val hardware = Build.VERSION.SDK_INT >= Build.VERSION_CODES.O && bitmap.config == Bitmap.Config.HARDWARE
        if (!hardware) return bitmap
        return bitmap.copy(Bitmap.Config.ARGB_8888, false)
            ?: throw NetException.WrongPhoto("its hardware bitmap cannot be copied")
    }

    companion object {
        /** The most pixels that [open] decodes: 100 megapixels, 400 MB. */
        const val MAX_PIXELS = 100_000_000L

        /**
         * Decode a photo of the user's, upright and in sRGB. Call it off the main thread.
         *
         * Android 9 and newer decode with ImageDecoder, which applies the EXIF orientation by itself, in HEIF files too. Older
         * versions decode with BitmapFactory, and the orientation is read from EXIF. Throws [NetException.WrongPhoto] for a
         * file that is missing, is no picture or has more than [maxPixels] pixels, [NetException.OutOfMemory] where the
         * pixels do not fit.
         */
        fun open(context: Context, uri: Uri, maxPixels: Long = MAX_PIXELS): Photo = try {
            val resolver = context.contentResolver
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) decode(resolver, uri, maxPixels) else read(resolver, uri, maxPixels)
        } catch (error: FileNotFoundException) {
            throw NetException.WrongPhoto("$uri does not exist", error)
        } catch (error: IOException) {
            throw NetException.WrongPhoto("$uri is no picture, or damaged", error)
        } catch (error: SecurityException) {
            throw NetException.WrongPhoto("the app may not read $uri", error)
        } catch (error: OutOfMemoryError) {
            throw NetException.OutOfMemory(error)
        }

        @TargetApi(Build.VERSION_CODES.P)
        private fun decode(resolver: ContentResolver, uri: Uri, maxPixels: Long): Photo {
            val bitmap = ImageDecoder.decodeBitmap(ImageDecoder.createSource(resolver, uri)) { decoder, info, _ ->
                checkSize(info.size.width, info.size.height, maxPixels)
                decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
                decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
            }
            return Photo(bitmap)
        }

        private fun read(resolver: ContentResolver, uri: Uri, maxPixels: Long): Photo {
            fun <T> stream(use: (java.io.InputStream) -> T): T =
                (resolver.openInputStream(uri) ?: throw FileNotFoundException(uri.toString())).use(use)

            val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
            stream { BitmapFactory.decodeStream(it, null, options) }
            if (options.outWidth <= 0) throw NetException.WrongPhoto("$uri is no picture, or damaged")
            checkSize(options.outWidth, options.outHeight, maxPixels)
            options.inJustDecodeBounds = false
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O) {
                options.inPreferredColorSpace = ColorSpace.get(ColorSpace.Named.SRGB)
            }
            val bitmap = stream { BitmapFactory.decodeStream(it, null, options) }
                ?: throw NetException.WrongPhoto("$uri is no picture, or damaged")
            val exif = try {
                stream { ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, Orientation.UP.exif) }
            } catch (_: IOException) {
                Orientation.UP.exif // a format without EXIF
            }
            return Photo(bitmap, Orientation.of(exif))
        }

        private fun checkSize(width: Int, height: Int, maxPixels: Long) {
            if (width.toLong() * height > maxPixels) {
                throw NetException.WrongPhoto("it has $width x $height pixels, over the limit of $maxPixels")
            }
        }
    }
}

/** The rows of a software bitmap. `getPixels` converts every configuration to ARGB and every colour space to sRGB. */
private class BitmapRows(private val bitmap: Bitmap) : Rows {
    override val width: Int = bitmap.width
    override val height: Int = bitmap.height
    override val transparent: Boolean = bitmap.hasAlpha()

    override fun read(pixels: IntArray, first: Int, count: Int) {
        bitmap.getPixels(pixels, 0, width, 0, first, width, count)
    }
}

/** Return the map as a grey picture, see [Plane.pixels]: for `photo.width` and `photo.height`, the size of the photo. */
fun Plane.image(width: Int, height: Int): Bitmap =
    Bitmap.createBitmap(pixels(width, height), width, height, Bitmap.Config.ARGB_8888)
