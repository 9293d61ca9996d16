package android.widget;

import android.content.Context;
import android.view.View;

/** Stub of https://developer.android.com/reference/android/widget/TextView: the declarations that the packages use, each with its anchor on that page. */
public class TextView extends View {
    private CharSequence text;

    // #TextView(android.content.Context)
    public TextView(Context context) {
        super(context);
    }

    // #setText(java.lang.CharSequence)
    public void setText(CharSequence text) {
        this.text = text;
    }

    // #getText()
    public CharSequence getText() {
        return text;
    }
}
