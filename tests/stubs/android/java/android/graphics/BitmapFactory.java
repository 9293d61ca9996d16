package android.graphics;

/** Stub of https://developer.android.com/reference/android/graphics/BitmapFactory: the declarations that the packages use, each with its anchor on that page. */
public class BitmapFactory {
    /** Stub of https://developer.android.com/reference/android/graphics/BitmapFactory.Options. */
    public static class Options {
        // #inJustDecodeBounds, #outWidth, #outHeight, #inPreferredColorSpace
        public boolean inJustDecodeBounds;
        public int outWidth;
        public int outHeight;
        public ColorSpace inPreferredColorSpace;
    }

    // #decodeStream(java.io.InputStream, android.graphics.Rect, android.graphics.BitmapFactory.Options); Rect is Object here
    public static Bitmap decodeStream(java.io.InputStream is, Object outPadding, Options opts) {
        Bitmap decoded = Pictures.decode(is);
        opts.outWidth = decoded == null ? -1 : decoded.getWidth();
        opts.outHeight = decoded == null ? -1 : decoded.getHeight();
        return opts.inJustDecodeBounds ? null : decoded;
    }
}
