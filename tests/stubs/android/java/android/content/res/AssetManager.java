package android.content.res;

/** Stub of https://developer.android.com/reference/android/content/res/AssetManager: the declarations that the packages use, each with its anchor on that page. */
public class AssetManager {
    private final java.util.List<java.io.File> roots = new java.util.ArrayList<>();

    public AssetManager(String paths) {
        for (String path : paths.split(java.io.File.pathSeparator)) roots.add(new java.io.File(path));
    }

    // #open(java.lang.String): throws FileNotFoundException for an asset that is not there
    public java.io.InputStream open(String fileName) throws java.io.IOException {
        return new java.io.FileInputStream(file(fileName));
    }

    public java.io.File file(String name) {
        for (java.io.File root : roots) if (new java.io.File(root, name).isFile()) return new java.io.File(root, name);
        return new java.io.File(roots.get(0), name);
    }
}
