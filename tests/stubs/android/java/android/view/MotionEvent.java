package android.view;

/** Stub of https://developer.android.com/reference/android/view/MotionEvent: the declarations that the packages use, each with its anchor on that page. */
public class MotionEvent {
    // #getX()
    public float getX() {
        return 0;
    }

    // #getY()
    public float getY() {
        return 0;
    }
}
