package android.graphics;

/** Stub of https://developer.android.com/reference/android/graphics/ColorSpace: the declarations that the packages use, each with its anchor on that page. */
public class ColorSpace {
    /** Stub of https://developer.android.com/reference/android/graphics/ColorSpace.Named. */
    public enum Named {
        // #SRGB
        SRGB
    }

    // #get(android.graphics.ColorSpace.Named)
    public static ColorSpace get(Named name) {
        return new ColorSpace();
    }
}
