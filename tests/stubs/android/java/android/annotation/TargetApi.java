package android.annotation;

/** Stub of https://developer.android.com/reference/android/annotation/TargetApi. */
public @interface TargetApi {
    // #value()
    int value();
}
