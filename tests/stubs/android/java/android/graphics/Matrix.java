package android.graphics;

/** Stub of https://developer.android.com/reference/android/graphics/Matrix: the declarations that the packages use, each with its anchor on that page. */
public class Matrix {
    private final java.awt.geom.AffineTransform transform = new java.awt.geom.AffineTransform();

    // #Matrix()
    public Matrix() {}

    // #setValues(float[]): rows of a 3 x 3 matrix
    public void setValues(float[] values) {
        transform.setTransform(values[0], values[3], values[1], values[4], values[2], values[5]);
    }

    // #postScale(float, float)
    public boolean postScale(float sx, float sy) {
        transform.preConcatenate(java.awt.geom.AffineTransform.getScaleInstance(sx, sy));
        return true;
    }

    // #invert(android.graphics.Matrix): writes the inverse of this matrix to `inverse`
    public boolean invert(Matrix inverse) {
        try {
            inverse.transform.setTransform(transform.createInverse());
            return true;
        } catch (java.awt.geom.NoninvertibleTransformException error) {
            return false;
        }
    }

    // #mapPoints(float[])
    public void mapPoints(float[] pts) {
        transform.transform(pts, 0, pts, 0, pts.length / 2);
    }
}
