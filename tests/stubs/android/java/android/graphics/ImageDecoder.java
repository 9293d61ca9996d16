package android.graphics;

import android.content.ContentResolver;
import android.net.Uri;
import android.util.Size;
import java.io.IOException;

/** Stub of https://developer.android.com/reference/android/graphics/ImageDecoder: the declarations that the packages use, each with its anchor on that page. */
public class ImageDecoder {
    // #ALLOCATOR_SOFTWARE
    public static final int ALLOCATOR_SOFTWARE = 1;

    /** Stub of https://developer.android.com/reference/android/graphics/ImageDecoder.Source. */
    public static class Source {
        private final ContentResolver resolver;
        private final Uri uri;

        private Source(ContentResolver resolver, Uri uri) {
            this.resolver = resolver;
            this.uri = uri;
        }
    }

    /** Stub of https://developer.android.com/reference/android/graphics/ImageDecoder.ImageInfo. */
    public static class ImageInfo {
        private final Size size;

        private ImageInfo(Size size) {
            this.size = size;
        }

        // #getSize()
        public Size getSize() {
            return size;
        }
    }

    /** Stub of https://developer.android.com/reference/android/graphics/ImageDecoder.OnHeaderDecodedListener. */
    public interface OnHeaderDecodedListener {
        // #onHeaderDecoded(android.graphics.ImageDecoder, ImageDecoder.ImageInfo, ImageDecoder.Source)
        void onHeaderDecoded(ImageDecoder decoder, ImageInfo info, Source source);
    }

    private int allocator;

    // #createSource(android.content.ContentResolver, android.net.Uri)
    public static Source createSource(ContentResolver cr, Uri uri) {
        return new Source(cr, uri);
    }

    // #decodeBitmap(android.graphics.ImageDecoder.Source, android.graphics.ImageDecoder.OnHeaderDecodedListener)
    public static Bitmap decodeBitmap(Source src, OnHeaderDecodedListener listener) throws IOException {
        Bitmap bitmap = Pictures.decode(src.resolver.openInputStream(src.uri));
        if (bitmap == null) throw new IOException("Failed to create image decoder");
        listener.onHeaderDecoded(new ImageDecoder(), new ImageInfo(new Size(bitmap.getWidth(), bitmap.getHeight())), src);
        return bitmap;
    }

    // #setAllocator(int)
    public void setAllocator(int allocator) {
        this.allocator = allocator;
    }

    // #getAllocator()
    public int getAllocator() {
        return allocator;
    }

    // #setTargetColorSpace(android.graphics.ColorSpace)
    public void setTargetColorSpace(ColorSpace colorSpace) {}
}
