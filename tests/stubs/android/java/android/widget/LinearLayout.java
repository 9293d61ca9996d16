package android.widget;

import android.content.Context;
import android.view.View;

/** Stub of https://developer.android.com/reference/android/widget/LinearLayout: the declarations that the packages use, each with its anchor on that page. */
public class LinearLayout extends View {
    // #VERTICAL
    public static final int VERTICAL = 1;

    private int orientation;

    // #LinearLayout(android.content.Context)
    public LinearLayout(Context context) {
        super(context);
    }

    // #setOrientation(int)
    public void setOrientation(int orientation) {
        this.orientation = orientation;
    }

    // #getOrientation()
    public int getOrientation() {
        return orientation;
    }

    // ViewGroup#addView(android.view.View)
    public void addView(View child) {}
}
