package android.widget;

import android.content.Context;

/** Stub of https://developer.android.com/reference/android/widget/Button: the declarations that the packages use, each with its anchor on that page. */
public class Button extends TextView {
    // #Button(android.content.Context)
    public Button(Context context) {
        super(context);
    }
}
