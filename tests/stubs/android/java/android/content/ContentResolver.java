package android.content;

/** Stub of https://developer.android.com/reference/android/content/ContentResolver: the declarations that the packages use, each with its anchor on that page. */
public class ContentResolver {
    // #openInputStream(android.net.Uri): a Uri of this stub is a path
    public java.io.InputStream openInputStream(android.net.Uri uri) throws java.io.FileNotFoundException {
        return new java.io.FileInputStream(uri.toString());
    }
}
