package android.content;

/** Stub of https://developer.android.com/reference/android/content/Context: the declarations that the packages use, each with its anchor on that page. */
public class Context {
    private final android.content.res.AssetManager assets;
    private final ContentResolver resolver = new ContentResolver();

    public Context() {
        this(System.getProperty("stub.assets", "."));
    }

    public Context(String paths) {
        assets = new android.content.res.AssetManager(paths);
    }

    // #getAssets()
    public android.content.res.AssetManager getAssets() {
        return assets;
    }

    // #getApplicationContext()
    public Context getApplicationContext() {
        return this;
    }

    // #getContentResolver()
    public ContentResolver getContentResolver() {
        return resolver;
    }
}
