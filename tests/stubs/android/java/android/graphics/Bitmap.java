package android.graphics;

/** Stub of https://developer.android.com/reference/android/graphics/Bitmap: the declarations that the packages use, each with its anchor on that page. */
public class Bitmap {
    /** Stub of https://developer.android.com/reference/android/graphics/Bitmap.Config. */
    public enum Config {
        // #ALPHA_8, #ARGB_8888, #HARDWARE, #RGBA_F16
        ALPHA_8,
        ARGB_8888,
        HARDWARE,
        RGBA_F16
    }

    // no field of Android: a test lets getPixels run out of memory
    public static boolean exhausted;

    private final int[] pixels;
    private final int width;
    private final int height;
    private final Config config;
    private boolean recycled;

    private Bitmap(int[] pixels, int width, int height, Config config) {
        this.pixels = pixels;
        this.width = width;
        this.height = height;
        this.config = config;
    }

    // #createBitmap(int[], int, int, android.graphics.Bitmap.Config)
    public static Bitmap createBitmap(int[] colors, int width, int height, Config config) {
        return new Bitmap(colors.clone(), width, height, config);
    }

    // #createBitmap(android.graphics.Bitmap, int, int, int, int, android.graphics.Matrix, boolean): nearest pixels here
    public static Bitmap createBitmap(Bitmap source, int x, int y, int width, int height, Matrix m, boolean filter) {
        float[] corners = {0, 0, width, height};
        m.mapPoints(corners);
        float left = Math.min(corners[0], corners[2]);
        float top = Math.min(corners[1], corners[3]);
        int toWidth = Math.round(Math.abs(corners[2] - corners[0]));
        int toHeight = Math.round(Math.abs(corners[3] - corners[1]));
        Matrix inverse = new Matrix();
        m.invert(inverse);
        int[] result = new int[toWidth * toHeight];
        for (int index = 0; index < result.length; index++) {
            float[] point = {left + index % toWidth + 0.5f, top + index / toWidth + 0.5f};
            inverse.mapPoints(point);
            int column = Math.min(Math.max((int) point[0], 0), width - 1);
            int row = Math.min(Math.max((int) point[1], 0), height - 1);
            result[index] = source.pixels[(y + row) * source.width + x + column];
        }
        return new Bitmap(result, toWidth, toHeight, source.config);
    }

    // #copy(android.graphics.Bitmap.Config, boolean)
    public Bitmap copy(Config config, boolean isMutable) {
        return new Bitmap(pixels.clone(), width, height, config);
    }

    // #getPixels(int[], int, int, int, int, int, int): throws IllegalStateException for a hardware bitmap
    public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
        if (exhausted) throw new OutOfMemoryError();
        if (recycled) throw new IllegalStateException("Can't call getPixels() on a recycled bitmap");
        if (config == Config.HARDWARE) throw new IllegalStateException("unable to getPixels(), pixel access is not supported");
        for (int row = 0; row < height; row++) {
            System.arraycopy(this.pixels, (y + row) * this.width + x, pixels, offset + row * stride, width);
        }
    }

    // #setPixels(int[], int, int, int, int, int, int)
    public void setPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
        for (int row = 0; row < height; row++) {
            System.arraycopy(pixels, offset + row * stride, this.pixels, (y + row) * this.width + x, width);
        }
    }

    // #getWidth()
    public int getWidth() {
        return width;
    }

    // #getHeight()
    public int getHeight() {
        return height;
    }

    // #getConfig()
    public Config getConfig() {
        return config;
    }

    // #hasAlpha()
    public boolean hasAlpha() {
        for (int pixel : pixels) if (pixel >>> 24 != 255) return true;
        return false;
    }

    // #isRecycled()
    public boolean isRecycled() {
        return recycled;
    }

    // #recycle()
    public void recycle() {
        recycled = true;
    }
}
