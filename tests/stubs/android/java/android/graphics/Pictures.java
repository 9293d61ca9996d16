package android.graphics;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.InputStream;
import javax.imageio.ImageIO;

/** No class of Android: decodes the pictures of the tests with the JDK. */
final class Pictures {
    private Pictures() {}

    static Bitmap decode(InputStream stream) {
        try {
            BufferedImage image = ImageIO.read(stream);
            if (image == null) return null;
            int width = image.getWidth();
            int height = image.getHeight();
            int[] pixels = image.getRGB(0, 0, width, height, null, 0, width);
            return Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888);
        } catch (IOException error) {
            return null;
        }
    }
}
