package android.media;

/** Stub of https://developer.android.com/reference/android/media/ExifInterface: the declarations that the packages use, each with its anchor on that page. */
public class ExifInterface {
    // #TAG_ORIENTATION
    public static final String TAG_ORIENTATION = "Orientation";

    // #ExifInterface(java.io.InputStream)
    public ExifInterface(java.io.InputStream inputStream) throws java.io.IOException {}

    // #getAttributeInt(java.lang.String, int); the property stub.exif stands for the file's tag
    public int getAttributeInt(String tag, int defaultValue) {
        return Integer.getInteger("stub.exif", defaultValue);
    }
}
