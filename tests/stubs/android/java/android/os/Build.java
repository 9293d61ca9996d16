package android.os;

/** Stub of https://developer.android.com/reference/android/os/Build: the declarations that the packages use, each with its anchor on that page. */
public class Build {
    /** Stub of https://developer.android.com/reference/android/os/Build.VERSION. */
    public static class VERSION {
        // #SDK_INT; a test may change it
        public static int SDK_INT = Integer.getInteger("stub.sdk", 36);
    }

    /** Stub of https://developer.android.com/reference/android/os/Build.VERSION_CODES. */
    public static class VERSION_CODES {
        // #O
        public static final int O = 26;
        // #P
        public static final int P = 28;
    }
}
