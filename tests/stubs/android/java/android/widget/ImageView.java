package android.widget;

import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.Matrix;
import android.view.View;

/** Stub of https://developer.android.com/reference/android/widget/ImageView: the declarations that the packages use, each with its anchor on that page. */
public class ImageView extends View {
    private boolean adjust;

    // #ImageView(android.content.Context)
    public ImageView(Context context) {
        super(context);
    }

    // #setImageBitmap(android.graphics.Bitmap)
    public void setImageBitmap(Bitmap bm) {}

    // #getImageMatrix()
    public Matrix getImageMatrix() {
        return new Matrix();
    }

    // #setAdjustViewBounds(boolean)
    public void setAdjustViewBounds(boolean adjustViewBounds) {
        adjust = adjustViewBounds;
    }

    // #getAdjustViewBounds()
    public boolean getAdjustViewBounds() {
        return adjust;
    }
}
