package androidx.test.platform.app;

/** Stub of https://developer.android.com/reference/androidx/test/platform/app/InstrumentationRegistry: the declarations that the packages use, each with its anchor on that page. */
public class InstrumentationRegistry {
    /** Stub of https://developer.android.com/reference/android/app/Instrumentation. */
    public static class Instrumentation {
        // #getContext()
        public android.content.Context getContext() {
            return new android.content.Context();
        }

        // #getTargetContext()
        public android.content.Context getTargetContext() {
            return new android.content.Context();
        }
    }

    // #getInstrumentation()
    public static Instrumentation getInstrumentation() {
        return new Instrumentation();
    }
}
