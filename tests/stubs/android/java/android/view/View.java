package android.view;

/** Stub of https://developer.android.com/reference/android/view/View: the declarations that the packages use, each with its anchor on that page. */
public class View {
    /** Stub of https://developer.android.com/reference/android/view/View.OnClickListener. */
    public interface OnClickListener {
        // #onClick(android.view.View)
        void onClick(View v);
    }

    /** Stub of https://developer.android.com/reference/android/view/View.OnTouchListener. */
    public interface OnTouchListener {
        // #onTouch(android.view.View, android.view.MotionEvent)
        boolean onTouch(View v, MotionEvent event);
    }

    // #View(android.content.Context)
    public View(android.content.Context context) {}

    // #setOnClickListener(android.view.View.OnClickListener)
    public void setOnClickListener(OnClickListener l) {}

    // #setOnTouchListener(android.view.View.OnTouchListener)
    public void setOnTouchListener(OnTouchListener l) {}
}
