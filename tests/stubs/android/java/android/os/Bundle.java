package android.os;

/** Stub of https://developer.android.com/reference/android/os/Bundle: the declarations that the packages use, each with its anchor on that page. */
public class Bundle {

}
