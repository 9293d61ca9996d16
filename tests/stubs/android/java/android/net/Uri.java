package android.net;

/** Stub of https://developer.android.com/reference/android/net/Uri: the declarations that the packages use, each with its anchor on that page. */
public class Uri {
    private final String text;

    private Uri(String text) {
        this.text = text;
    }

    // #parse(java.lang.String)
    public static Uri parse(String uriString) {
        return new Uri(uriString);
    }

    @Override
    public String toString() {
        return text;
    }
}
