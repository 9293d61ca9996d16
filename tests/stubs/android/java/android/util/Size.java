package android.util;

/** Stub of https://developer.android.com/reference/android/util/Size: the declarations that the packages use, each with its anchor on that page. */
public class Size {
    private final int width;
    private final int height;

    // #Size(int, int)
    public Size(int width, int height) {
        this.width = width;
        this.height = height;
    }

    // #getWidth()
    public int getWidth() {
        return width;
    }

    // #getHeight()
    public int getHeight() {
        return height;
    }
}
