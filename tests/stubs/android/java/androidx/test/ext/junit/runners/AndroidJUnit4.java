package androidx.test.ext.junit.runners;

/** Stub of https://developer.android.com/reference/androidx/test/ext/junit/runners/AndroidJUnit4: the declarations that the packages use, each with its anchor on that page. */
public class AndroidJUnit4 {

}
